"""Workers of a pool that end with the driver, also where no task has come to them yet."""

from __future__ import annotations

import os
import socket
import threading
import time
from pathlib import Path

_LOOK = 0.5  # seconds between two looks


def end_with_driver(driver: int, host: str) -> None:
    """Watch the process ``driver`` of ``host`` from a worker that it began, and end this process after it.

    The initializer of a pool. A worker that begins while its driver dies ends at once. One that another process began,
    as MPI's launcher does, and a thread of the driver are left alone.
    """
    if host != socket.gethostname() or os.getpid() == driver:
        return
    if os.getppid() == driver or not _is_running(driver):
        threading.Thread(target=_end_after, args=(driver,), name="watch-driver", daemon=True).start()


def _end_after(driver: int) -> None:
    while os.getppid() == driver:
        time.sleep(_LOOK)
    os._exit(1)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    try:
        state = (
            Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0]
        )
    except OSError:  # no Linux
        return True
    return state != "Z"  # one whose parent has not yet asked for its end
