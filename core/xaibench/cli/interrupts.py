"""Ctrl-C, from before the first heavy import to the end of the process."""

from __future__ import annotations

import os
import signal
import sys
import time
from types import FrameType

EXIT_CODE = 130
_ONE_PRESS = 0.2  # seconds: ``timeout`` sends the same interrupt to the process and to its group


class Interrupts:
    """The handler of SIGINT of the program. Like Python's own it raises ``KeyboardInterrupt``, and it remembers that.

    What comes up then need not be that exception: one within the start of a C extension becomes an ``ImportError``, and
    code that catches all exceptions tells of it as of a fault. So ``came`` says what ended the program.
    """

    def __init__(self) -> None:
        self.came = False
        self._before: object = None
        self._last = 0.0
        self._ends = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self._ends:
            os._exit(EXIT_CODE)
        now = time.monotonic()
        if self.came and now - self._last < _ONE_PRESS:
            return
        self.came, self._last = True, now
        raise KeyboardInterrupt

    def listen(self) -> None:
        """Handle SIGINT from now on, where Python would: not where it is ignored, nor in another thread."""
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._before = signal.default_int_handler
            try:
                signal.signal(signal.SIGINT, self)
            except ValueError:  # not the main thread
                self._before = None

    def end(self) -> None:
        """From now on an interrupt ends the process at once: its answer is given, or it is told of one already."""
        self._ends = True

    def ignore(self) -> None:
        """Ignore SIGINT: while the interpreter takes itself down there is nothing left to stop."""
        if signal.getsignal(signal.SIGINT) is self:
            signal.signal(signal.SIGINT, signal.SIG_IGN)

    def stop(self) -> None:
        """Leave SIGINT to Python again."""
        if self._before is not None and signal.getsignal(signal.SIGINT) is self:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def say_interrupted() -> None:
    """One line on stderr, where that can still be written."""
    try:
        print("xaibench: interrupted", file=sys.stderr, flush=True)
    except OSError:
        return
