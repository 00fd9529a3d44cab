"""What a worker is doing now, on a page of memory that its supervisor reads while the worker computes.

The supervisor learns of a component that never comes back, and of the one that ran when the worker died. Nothing is
sent: a worker that hangs sends nothing.
"""

from __future__ import annotations

import json
import math
import mmap
import struct
import time
from dataclasses import dataclass, field
from pathlib import Path

_HEAD = struct.Struct("<QdH")  # number, seconds left, bytes of the text
_SIZE = 1024


@dataclass(frozen=True, slots=True)
class Doing:
    """What a worker says that it does.

    Parameters
    ----------
    number: how often it has said something; the same number means that nothing has happened since.
    seconds: how long the present step may take; infinite where there is no limit.
    component, sample: what runs, and on which sample; empty where that is not known.
    """

    number: int = 0
    seconds: float = math.inf
    component: str = ""
    sample: str = ""


class Board:
    """The page of one worker: a file that both processes map. ``Board()`` is a page that nobody reads."""

    def __init__(self, path: str | Path | None = None) -> None:
        self._number = 0
        self._text = b""
        self._steps: list[tuple[bytes, float]] = []  # text and deadline of each step that has not ended
        if path is None:
            self._page: mmap.mmap | bytearray = bytearray(_SIZE)
            return
        with open(path, "r+b") as file:
            file.truncate(_SIZE)
            self._page = mmap.mmap(file.fileno(), _SIZE)

    def component(self, name: str, sample: str = "") -> None:
        """Say which component runs from now on, without a limit of its own."""
        self._text = _text(name, sample)
        self._write()

    def step(self, name: str, sample: str, seconds: float) -> None:
        """Say that code of a component begins, and how many seconds it may take until :meth:`done`. A step may be part
        of another one."""
        deadline = time.monotonic() + seconds
        self._steps.append((self._text, min(deadline, self._steps[-1][1]) if self._steps else deadline))
        self._text = _text(name, sample)
        self._write()

    def done(self) -> None:
        """Say that the step has ended."""
        self._text, _ = self._steps.pop()
        self._write()

    def _write(self) -> None:
        self._number += 1
        seconds = max(0.0, self._steps[-1][1] - time.monotonic()) if self._steps else math.inf
        head = _HEAD.pack(self._number, seconds, len(self._text))
        self._page[: _HEAD.size + len(self._text)] = head + self._text

    def read(self) -> Doing:
        """What the page says. A text that is read while it is written is not understood, and left out."""
        number, seconds, size = _HEAD.unpack(self._page[: _HEAD.size])
        try:
            component, sample = json.loads(bytes(self._page[_HEAD.size : _HEAD.size + size]))
        except ValueError:
            component = sample = ""
        return Doing(number, seconds if number else math.inf, component, sample)

    def close(self) -> None:
        """Release the page."""
        if isinstance(self._page, mmap.mmap):
            self._page.close()


@dataclass(frozen=True, slots=True)
class Supervision:
    """How components of third parties are looked after in this process.

    Parameters
    ----------
    board: where this process says what it is doing.
    seconds: what one map or one score may take; None: an hour for third parties, any time for built-in components.
    """

    board: Board = field(default_factory=Board)
    seconds: float | None = None


def _text(component: str, sample: str) -> bytes:
    return json.dumps([component[:300], sample[:300]]).encode()[: _SIZE - _HEAD.size]
