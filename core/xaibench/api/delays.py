"""What takes long is named while it lasts."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

FIRST = 10.0
"""Seconds until the first line."""
_NEXT = 60.0
_silent: ContextVar[bool] = ContextVar("silent", default=False)


class Delay:
    """What is being done: ``text`` may change while it lasts."""

    def __init__(self, text: str) -> None:
        self.text = text


@contextmanager
def name_delay(text: str) -> Iterator[Delay]:
    """Say on stderr what is being done where the block takes more than 10 s: ``still reading FILE (10 s)...``.

    The line comes again every minute. ``text`` follows "still". Within :func:`silent_delays` nothing is said.
    """
    delay, end = Delay(text), threading.Event()
    if _silent.get() or sys.stderr is None:
        yield delay
        return
    began = time.monotonic()

    def watch() -> None:
        wait = FIRST
        while not end.wait(wait):
            wait = _NEXT
            try:
                print(f"still {delay.text} ({time.monotonic() - began:.0f} s)...", file=sys.stderr, flush=True)
            except (OSError, ValueError):  # stderr is closed or full
                return

    threading.Thread(target=watch, name="xaibench-delay", daemon=True).start()
    try:
        yield delay
    finally:
        end.set()


@contextmanager
def silent_delays(silent: bool = True) -> Iterator[None]:
    """Where ``silent``, nothing is said of delays in the block."""
    token = _silent.set(silent or _silent.get())
    try:
        yield
    finally:
        _silent.reset(token)
