"""A range of bytes of a file that is read as a file of its own, such as a member of a tar archive."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from xaibench.api import RemotePath


@dataclass(frozen=True, slots=True, eq=False)
class FileRange(RemotePath):
    """``size`` bytes from ``start`` on of the file ``path``. Only these bytes are asked for.

    ``times`` are the times and digests of the whole file (:meth:`RemotePath.times_in`), which stand for those of its
    ranges.
    """

    start: int = 0
    size: int = 0
    times: str = ""

    def __str__(self) -> str:
        return f"{_address(self.fs, self.path)}@{self.start}+{self.size}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FileRange) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash((self.path, self.start))

    def info(self) -> dict[str, Any] | None:
        return {"name": str(self), "type": "file", "size": self.size}

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


@lru_cache(maxsize=1024)
def _address(files: Any, path: str) -> str:
    return str(files.unstrip_protocol(path))


@cache
def local_files() -> Any:
    """The files of this machine as a file system of fsspec."""
    import fsspec

    return fsspec.filesystem("file")
