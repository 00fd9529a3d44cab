"""A range of bytes of a file that is read as a file of its own, such as a member of a tar archive."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xaibench.api import Location, RemotePath


@dataclass(frozen=True, slots=True, eq=False)
class FileRange(RemotePath):
    """``size`` bytes from ``start`` on of the file ``path``. ``told`` is what the file system said of the whole file.

    Only these bytes are asked for. The digests and times of the whole file stand for those of its ranges.
    """

    start: int = 0
    size: int = 0
    told: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.fs.unstrip_protocol(self.path)}@{self.start}+{self.size}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FileRange) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash((self.path, self.start))

    def info(self) -> dict[str, Any] | None:
        return {**self.told, "name": str(self), "type": "file", "size": self.size}

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


def file_range(file: Location, start: int, size: int, told: Mapping[str, Any]) -> FileRange:
    """A range of a file on this machine or elsewhere."""
    if isinstance(file, Path):
        import fsspec

        return FileRange(fsspec.filesystem("file"), str(file), start, size, told)
    return FileRange(file.fs, file.path, start, size, told)
