"""Thumbnails of pictures that wait for others to be compared with them, in a file."""

from __future__ import annotations

import tempfile
from typing import IO

import numpy as np
from numpy.typing import NDArray

from xaibench.data.counterparts import GRID

_SHAPE = (GRID, GRID, 3)
_BYTES = GRID * GRID * 3


class ThumbnailFile:
    """Pixels ``(64, 64, 3)`` uint8 by sample id, 12 kB each, in a temporary file that nobody else sees.

    The fakes of a real picture may come a hundred thousand samples after it. Memory does not hold the thumbnails of so
    many, and to read a picture again takes longer than reading 12 kB. The place of one that is dropped is used again.
    """

    def __init__(self) -> None:
        self._file: IO[bytes] | None = None
        self._places: dict[str, int] = {}
        self._free: list[int] = []

    def __enter__(self) -> ThumbnailFile:
        return self

    def __exit__(self, *raised: object) -> None:
        self.clear()

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def keep(self, name: str, pixels: NDArray[np.uint8]) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="xaibench-thumbnails-")  # noqa: SIM115 - closed by clear
        place = self._places.get(name)
        if place is None:
            place = self._places[name] = self._free.pop() if self._free else len(self._places)
        self._file.seek(place * _BYTES)
        self._file.write(pixels.tobytes())

    def pixels(self, name: str) -> NDArray[np.uint8]:
        """Raises :class:`KeyError` for a sample without a thumbnail."""
        place = self._places[name]
        assert self._file is not None
        self._file.seek(place * _BYTES)
        return np.frombuffer(self._file.read(_BYTES), np.uint8).reshape(_SHAPE)

    def drop(self, name: str) -> None:
        """Forget a thumbnail, if there is one."""
        if (place := self._places.pop(name, None)) is not None:
            self._free.append(place)

    def clear(self) -> None:
        self._places.clear()
        self._free.clear()
        if self._file is not None:
            self._file.close()
            self._file = None
