"""Runs commands in a worker process, which is replaced where it crashes, hangs or holds much memory."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

DOCUMENTED = frozenset(range(6))
SECONDS = 30.0
MEGABYTES = 4000.0
_LONGEST = 1500  # characters of a line
_WORKER = Path(__file__).with_name("worker.py")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended. ``fault`` says what is wrong with that, empty where nothing is."""

    code: int | str
    seconds: float
    peak: float
    out: str
    err: str

    @property
    def fault(self) -> str:
        lines = self.err.strip().splitlines()
        longest = max(map(len, lines), default=0)
        refused = self.code in (2, 3)
        checks = {
            f"exit {self.code}: {' | '.join(lines[-3:])[-400:]}": self.code not in DOCUMENTED,
            f"a traceback: {self.err[-400:]}": "Traceback (most recent call last)" in self.err,
            f"took {self.seconds:.0f} s": self.seconds > SECONDS,
            f"held {self.peak:.0f} MB": self.peak > MEGABYTES,
            f"exit {self.code} and not a word": refused and not lines and not self.out,
            f"a line of {longest} characters": refused and longest > _LONGEST,
        }
        return next((fault for fault, holds in checks.items() if holds), "")


class Worker:
    """A process that runs commands; a context."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None
        self._answers = -1

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def run(self, argv: Sequence[str], folder: Path) -> Outcome:
        if self._process is None:
            self._begin()
        assert self._process is not None and self._process.stdin is not None
        out, err = self._folder / "stdout", self._folder / "stderr"
        task = {"argv": list(argv), "folder": str(folder), "out": str(out), "err": str(err)}
        self._process.stdin.write(json.dumps(task) + "\n")
        self._process.stdin.flush()
        answer = self._answer(SECONDS + 10)
        texts = [f.read_text(errors="replace") if f.exists() else "" for f in (out, err)]
        if answer is None:
            self._process.kill()
            code = self._process.wait()
            self._end()
            ending = (
                "none: it hung" if code == -9 else f"none: signal {-code}" if code < 0 else f"none: ended by {code}"
            )
            return Outcome(ending, SECONDS, 0, *texts)
        peak = float(answer["peak"])
        if peak > MEGABYTES / 2:  # the peak of a process never sinks: the next command begins anew
            self._end()
        return Outcome(answer["code"], float(answer["seconds"]), peak, *texts)

    def _answer(self, seconds: float) -> dict[str, float] | None:
        line = b""
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([self._answers], [], [], seconds)
            piece = os.read(self._answers, 65536) if ready else b""
            if not piece:
                return None
            line += piece
        return dict(json.loads(line))

    def _begin(self) -> None:
        self._answers, theirs = os.pipe()
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "NO_COLOR": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
        self._process = subprocess.Popen(
            [sys.executable, str(_WORKER), str(theirs)], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            text=True, pass_fds=(theirs,), env=environment,
        )  # fmt: skip
        os.close(theirs)

    def _end(self) -> None:
        if self._process is None:
            return
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._answers)
        self._process = None
