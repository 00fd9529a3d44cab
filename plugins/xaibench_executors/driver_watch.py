"""Workers of a pool that end with the driver, also where no task has come to them yet."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from xaibench.api import end_with_parent


def end_with_driver(driver: int, host: str) -> None:
    """End this worker with the process ``driver`` of ``host``, where that began it. The initializer of a pool.

    A worker that begins while its driver dies has another parent already, and ends at once. One that another process
    began, as MPI's launcher does, and a thread of the driver are left alone.
    """
    if host != socket.gethostname() or os.getpid() == driver:
        return
    if os.getppid() == driver or not _is_running(driver):
        end_with_parent(driver)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    try:
        told = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:  # no Linux
        return True
    return told.rpartition(")")[2].split()[0] != "Z"  # it has ended, and its parent has not asked for its end yet
