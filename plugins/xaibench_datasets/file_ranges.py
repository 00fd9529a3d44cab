"""A range of bytes of a file that is read as a file of its own, such as a member of a tar archive."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from xaibench.api import Location, RemotePath


@dataclass(frozen=True, slots=True, eq=False)
class FileRange(RemotePath):
    """``size`` bytes from ``start`` on of the file ``path``. ``told`` is what the file system said of the whole file.

    Only these bytes are asked for. The digests and times of the whole file, as text ``times``, stand for those of its
    ranges.
    """

    start: int = 0
    size: int = 0
    told: Mapping[str, Any] = field(default_factory=dict)
    times: str = ""

    def __str__(self) -> str:
        return f"{_address(self.fs, self.path)}@{self.start}+{self.size}"

    def part(self, start: int, size: int) -> FileRange:
        """``size`` bytes from ``start`` on of the whole file."""
        return FileRange(self.fs, self.path, start, size, self.told, self.times)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FileRange) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash((self.path, self.start))

    def info(self) -> dict[str, Any] | None:
        return {**self.told, "name": str(self), "type": "file", "size": self.size}

    def state(self) -> str | None:
        return f"{self.size} {self.times}" if self.times else None

    def read_bytes(self) -> bytes:
        return self.content(self.start, self.start + self.size)


@dataclass(frozen=True, slots=True, eq=False)
class FetchedFile(RemotePath):
    """A file, or a range of one, whose ``content`` was fetched before it is read."""

    content_read: bytes = b""
    label: str = ""

    def __str__(self) -> str:
        return self.label

    def info(self) -> dict[str, Any] | None:
        return {"name": self.label, "type": "file", "size": len(self.content_read)}

    def read_bytes(self) -> bytes:
        return self.content_read


def whole_file(file: Location, told: Mapping[str, Any]) -> FileRange:
    """A file on this machine or elsewhere, of which :meth:`FileRange.part` gives ranges."""
    files, path = (_local_files(), str(file)) if isinstance(file, Path) else (file.fs, file.path)
    return FileRange(files, path, told=told, times=RemotePath.times_in(told))


@lru_cache(maxsize=1024)
def _address(files: Any, path: str) -> str:
    return str(files.unstrip_protocol(path))


@cache
def _local_files() -> Any:
    import fsspec

    return fsspec.filesystem("file")
