"""Members of tar archives as files: a manifest names them ``faces-00000.tar@1536+20480``, by their place in there.

A hundred thousand pictures are a hundred objects then: nothing lists them, a start asks for the state of each archive
once, and a picture is one request for a range of bytes. The archives are plain tar files after WebDataset's convention:
members of one sample follow each other and share the name before the first point.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xaibench.api import Location
from xaibench_datasets.file_ranges import FileRange, local_files

_CELL = re.compile(r"(.+\.tar)@([0-9]{1,15})\+([0-9]{1,15})")


@dataclass(frozen=True, slots=True)
class ShardMember:
    """``size`` bytes from ``start`` on of an archive."""

    shard: str
    start: int
    size: int

    @staticmethod
    def parse(cell: str) -> ShardMember | None:
        """The member that a cell of a manifest names; None where it names a file.

        >>> ShardMember.parse("a.tar@1536+20"), ShardMember.parse("a.png")
        (ShardMember(shard='a.tar', start=1536, size=20), None)
        """
        found = _CELL.fullmatch(cell)
        return ShardMember(found[1], int(found[2]), int(found[3])) if found else None

    def __str__(self) -> str:
        return f"{self.shard}@{self.start}+{self.size}"


@dataclass(frozen=True, slots=True)
class Shard:
    """An archive that is there, and what its file system told of it once: its size, if any, and times and digests."""

    files: Any
    path: str
    size: int | None
    times: str

    @staticmethod
    def of(file: Location) -> Shard:
        """Raises ``OSError`` and :class:`~xaibench.api.PlanError` where it cannot be looked at."""
        if isinstance(file, Path):
            state = file.stat()
            return Shard(local_files(), str(file), state.st_size, f"mtime={state.st_mtime_ns}")
        told = file.info() or {}
        return Shard(file.fs, file.path, told.get("size"), file.times_in(told))

    def refuses(self, member: ShardMember) -> str:
        """Why a member cannot lie in it; empty where it can."""
        if self.size is not None and member.start + member.size > self.size:
            return f"lies beyond the end of its archive of {self.size:,} bytes"
        return "is empty" if member.size == 0 else ""

    def range_of(self, member: ShardMember) -> FileRange:
        return FileRange(self.files, self.path, member.start, member.size, self.times)
