"""The zip archives of PyTorch, read with limits and written anew.

The parsers of torch are written for files that their reader trusts. What they get here are archives that this module
wrote, out of members that were looked at before: no second reading of a hostile file that could find other members.
"""

from __future__ import annotations

import pickletools
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import IO

from xaibench.api import ModelError

_MEMBERS = 200_000
_UNPACKED = 64 << 20  # bytes that any archive may unpack to
_FACTOR = 20  # times its own size that a larger one may unpack to
_CHUNK = 1 << 20
_MAGIC = b"PK\x03\x04"
# Opcodes that name a class or function by text on the stack or by number: torch writes none of them.
_INDIRECT = ("STACK_GLOBAL", "INST", "OBJ", "EXT1", "EXT2", "EXT4", "PERSID", "NEWOBJ_EX")


def is_archive(path: Path) -> bool:
    """Whether a file begins as a zip archive does."""
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def member_names(path: Path) -> list[str]:
    """The names of an archive's members below their common folder. Raises :class:`ModelError` for a broken one."""
    with _opened(path, str(path)) as archive:
        return [name.partition("/")[2] for name in archive.namelist()]


@contextmanager
def _opened(source: Path | IO[bytes], where: str) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(source) as archive:
            yield archive
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError, RuntimeError):
        raise ModelError(f"{where}: is no PyTorch file, or is cut off", "export or copy it again") from None


def read_archive(source: Path | IO[bytes], where: str) -> dict[str, bytes]:
    """Every member of an archive by its name below the folder that torch puts all of them in.

    Raises :class:`ModelError` for a file that is cut off, unpacks to far more than its size, or has two members of one
    name, upper and lower case being the same, as torch's own reader takes them.
    """
    with _opened(source, where) as archive:
        infos = [info for info in archive.infolist() if not info.is_dir()]
        _check_sizes(infos, where)
        _check_names(infos, where)
        return {info.filename.partition("/")[2]: _content(archive, info) for info in infos}


def _check_sizes(infos: list[zipfile.ZipInfo], where: str) -> None:
    packed, unpacked = sum(i.compress_size for i in infos), sum(i.file_size for i in infos)
    if len(infos) > _MEMBERS or unpacked > max(_UNPACKED, _FACTOR * packed):
        raise ModelError(
            f"{where}: holds {len(infos):,} members that unpack from {packed:,} to {unpacked:,} bytes",
            "no exported model does; export it again",
        )


def _check_names(infos: list[zipfile.ZipInfo], where: str) -> None:
    names = [info.filename for info in infos]
    if len({name.partition("/")[0] for name in names}) > 1:
        raise ModelError(f"{where}: its members lie in several folders", "export it again with this torch")
    if len({name.lower() for name in names}) < len(names):
        raise ModelError(f"{where}: has two members of one name", "export it again")


def _content(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """A member's bytes, taken in steps: a member may unpack to more than its entry says."""
    chunks, left = [], info.file_size
    with archive.open(info) as member:
        while left > 0 and (chunk := member.read(min(_CHUNK, left))):
            chunks.append(chunk)
            left -= len(chunk)
    if left:
        raise EOFError
    return b"".join(chunks)


def write_archive(members: Mapping[str, bytes]) -> BytesIO:
    """An archive of these members, as torch's loaders take it."""
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(f"archive/{name}"), content)
    buffer.seek(0)
    return buffer


def pickled_globals(content: bytes, where: str) -> Iterator[str]:
    """The classes and functions, ``module.name``, that a pickle names; nothing of it is run.

    Raises :class:`ModelError` for a pickle that is broken or names them in a way that torch never writes.
    """
    try:
        for opcode, argument, _ in pickletools.genops(content):
            if opcode.name in _INDIRECT:
                raise ModelError(f"{where}: holds pickled objects ({opcode.name}), which are never loaded", _MEND)
            if opcode.name == "GLOBAL":
                yield str(argument).replace(" ", ".", 1)
    except (ValueError, IndexError, EOFError, UnicodeError, OverflowError):
        raise ModelError(f"{where}: holds a broken pickle", "export it again") from None


_MEND = "export it again with tensors alone as inputs"
