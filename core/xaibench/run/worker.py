"""A worker process: ``python -m xaibench.run.worker``. It runs one call after another for its supervisor.

Calls come in on standard input and outcomes go out on what was standard output, as pickles with their length before
them. Whatever components print goes to standard error. The process ends when its input ends, which it does when the
supervisor ends.
"""

from __future__ import annotations

import os
import pickle
import queue
import struct
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from xaibench.api.errors import ignore_interrupts
from xaibench.api.output_streams import worker_streams

LENGTH = struct.Struct("<Q")


def write_message(file: IO[bytes], message: Any) -> None:
    """Write one message."""
    data = pickle.dumps(message)
    file.write(LENGTH.pack(len(data)))
    file.write(data)
    file.flush()


def read_message(file: IO[bytes]) -> Any:
    """Read one message. Raises ``EOFError`` where none comes any more."""
    head = file.read(LENGTH.size)
    if len(head) < LENGTH.size:
        raise EOFError
    (size,) = LENGTH.unpack(head)
    data = file.read(size)
    if len(data) < size:
        raise EOFError
    return pickle.loads(data)


def main() -> None:
    """Work until there is no more work."""
    calls, outcomes = _take_over_pipes()
    ignore_interrupts()
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    hello = read_message(calls)
    sys.path[:] = hello["path"]
    sys.argv = hello["argv"]
    waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(calls, waiting), name="receive-calls", daemon=True).start()

    from xaibench.run.tasks_here import use_board

    use_board(hello["board"])
    with suppress(OSError):  # both have mapped it: no file stays behind, however the two end
        Path(hello["board"]).unlink()
    while True:
        secrets, call, argument, for_later = pickle.loads(waiting.get())
        os.environ.update(secrets)
        try:
            answer = ("outcome", call(argument))
        except BaseException as error:
            answer = ("raised", _portable(error))
        write_message(outcomes, ("ready", None) if for_later else answer)


def _take_over_pipes() -> tuple[IO[bytes], IO[bytes]]:
    """The pipes of the supervisor, under other numbers than the standard ones, which components may write to."""
    calls, outcomes = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    worker_streams()
    return calls, outcomes


def _receive(calls: IO[bytes], waiting: queue.SimpleQueue[Any]) -> None:
    """Take calls as they come, and end the process when the supervisor has ended, even amid a call.

    No partial result remains: a worker writes no file of the run. The call is unpickled by the main thread, since that
    imports modules.
    """
    try:
        while True:
            waiting.put(read_message(calls))
    except BaseException:
        os._exit(1)


def _portable(error: BaseException) -> BaseException:
    """The error, or where it cannot be pickled one that says the same."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


if __name__ == "__main__":
    main()
