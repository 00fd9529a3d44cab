"""A worker process as its supervisor sees it: started, given calls, watched, and ended."""

from __future__ import annotations

import math
import os
import pickle
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from xaibench.api import Lost, printable
from xaibench.api.safe_text import SECRET_PREFIX, redact
from xaibench.detector.worker_gpu import WORKER
from xaibench.run.board import Board, Doing
from xaibench.run.worker import read_message, write_message

POLL = 0.25
"""Seconds between two looks at what the workers are doing."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back from a worker.

    ``kind`` is ``outcome`` (of its call), ``raised`` (the exception of its call), ``ended``, or ``ready`` for a call
    that only gets the process ready.
    ``process`` is the process that gave it, which may be another one than the worker's present one.
    """

    worker: WorkerProcess
    process: Any
    kind: str
    value: Any = None

    @property
    def is_stale(self) -> bool:
        return self.worker.process is not self.process


class WorkerProcess:
    """One worker process, which is started by its first call.

    Its answers come in the queue ``answers``. A process that has ended is started again by the next call. ``number``
    counts the workers of an executor, and chooses a worker's GPU where there are several.
    """

    def __init__(self, answers: queue.SimpleQueue[Answer], number: int = 0) -> None:
        self.answers, self.number = answers, number
        self.process: subprocess.Popen[bytes] | None = None
        self._board: Board | None = None
        self._seen, self._since = -1, 0.0

    def submit(self, call: Callable[[Any], Any], argument: Any, *, for_later: bool = False) -> None:
        """Begin a call of a function of a module. The process has to be idle, or getting ready.

        ``for_later``: nobody waits for what it gives; it gets the process ready.
        """
        # Secrets given after the process began reach it with the call. What cannot be sent is refused to the caller.
        secrets = {name: value for name, value in os.environ.items() if name.startswith(SECRET_PREFIX)}
        message = pickle.dumps((secrets, call, argument, for_later))
        if self.process is None or self.process.poll() is not None:
            self.start()
        self._since = time.monotonic()
        try:
            self._send(message)
        except OSError:  # it died while it was idle
            self.start()
            self._send(message)

    def start(self) -> None:
        """Start the process. It knows nothing of the script that runs the driver."""
        self.end()
        number, path = tempfile.mkstemp(prefix="xaibench-worker-")
        os.close(number)
        self._board = Board(path)
        self.process = process = subprocess.Popen(
            [sys.executable, "-m", "xaibench.run.worker"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": _search_path(), WORKER: str(self.number)},
        )  # fmt: skip
        self._send({"path": sys.path, "argv": [sys.argv[0] if sys.argv else ""], "board": path})
        threading.Thread(target=self._receive, args=(process, path), name="worker-answers", daemon=True).start()
        threading.Thread(target=_pass_on, args=(process.stderr,), name="worker-prints", daemon=True).start()

    def _send(self, message: Any) -> None:
        assert self.process is not None and self.process.stdin is not None
        write_message(self.process.stdin, message)

    def _receive(self, process: subprocess.Popen[bytes], path: str) -> None:
        assert process.stdout is not None
        try:
            while True:
                kind, value = read_message(process.stdout)
                self.answers.put(Answer(self, process, kind, value))
        except Exception:  # its end, or an answer that is none
            process.kill()
            process.wait()
            Path(path).unlink(missing_ok=True)
            process.stdout.close()
            self.answers.put(Answer(self, process, "ended"))

    def doing(self) -> Doing:
        """What the process says that it does."""
        return self._board.read() if self._board is not None else Doing()

    @property
    def has_ended(self) -> bool:
        """Whether the process has ended. Its pipe may still be open in processes that it started."""
        return self.process is not None and self.process.poll() is not None

    def is_late(self) -> bool:
        """Whether the component that runs has taken longer than it may."""
        doing = self.doing()
        if doing.number != self._seen:
            self._seen, self._since = doing.number, time.monotonic()
        return doing.seconds < math.inf and time.monotonic() - self._since > doing.seconds + POLL

    def lost(self, hung: bool) -> Lost:
        """The outcome of the call in a process that has ended."""
        doing = self.doing()
        at = f" at {doing.sample}" if doing.sample else ""
        if hung:
            what = f"{doing.component} did not come back{at} within the time that it may take (--time-limit)"
        else:
            code = self.process.returncode if self.process else None
            how = f"by signal {-code}" if code is not None and code < 0 else f"with exit code {code}"
            what = f"the worker process ended {how}" + (f" while {doing.component} ran{at}" if doing.component else "")
        return Lost(what, doing.component, doing.sample, hung)

    def end(self) -> None:
        """End the process, whatever it is doing."""
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            with suppress(OSError):
                process.stdin.close()  # type: ignore[union-attr]
        if self._board is not None:
            self._board.close()
            self._board = None


def _pass_on(prints: IO[bytes]) -> None:
    """Print on standard error what the process prints, native code included, without control characters."""
    with prints:
        for line in prints:
            with suppress(Exception):  # a closed stream of ours is no reason to let the process wait
                print(printable(redact(line.decode(errors="replace"))), end="", file=sys.stderr)


def _search_path() -> str:
    """Where the process finds xaibench before it has the search path of this one."""
    own = str(Path(__file__).parents[2])
    return os.pathsep.join(filter(None, [own, os.environ.get("PYTHONPATH", "")]))
