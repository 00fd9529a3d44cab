"""Workers that end with the process that began them."""

from __future__ import annotations

import os
import threading
import time

_LOOK = 1.0  # seconds between two looks
_BEGUN = threading.Event()


def end_with_parent(parent: int) -> None:
    """End this process once ``parent``, the number of the process that began it, has ended; within a second.

    Pools of processes wait for their next task for ever where their owner was killed. A second call does nothing.
    """
    if not _BEGUN.is_set():
        _BEGUN.set()
        threading.Thread(target=_end_after, args=(parent,), name="watch-parent", daemon=True).start()


def _end_after(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK)
    os._exit(1)
