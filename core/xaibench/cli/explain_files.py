"""The picture files that ``xaibench explain`` is given: names, folders, and those that cannot be read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING

from xaibench.api import PICTURE_SUFFIXES, NothingToEvaluate, UnreadablePicture, read_picture

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class PictureFile:
    """``name`` is unique among the files: the stem of the file, with a number where another has the same."""

    path: Path
    name: str


@dataclass(frozen=True, slots=True)
class UnreadableFile:
    """A file that is no picture, and why."""

    path: Path
    reason: str


def picture_files(paths: Sequence[Path]) -> list[PictureFile]:
    """The files of some paths in their order; of a folder those below it that are called like pictures, by name.

    Raises :class:`NothingToEvaluate` for a folder without a picture.
    """
    files = [file for path in paths for file in (_in_folder(path) if path.is_dir() else [path])]
    by_name = dict[str, PictureFile]()
    for file in dict.fromkeys(files):
        candidates = chain([file.stem], (f"{file.stem}-{number}" for number in count(2)))
        name = next(name for name in candidates if name not in by_name)
        by_name[name] = PictureFile(file, name)
    return list(by_name.values())


def _in_folder(folder: Path) -> list[Path]:
    found = sorted(f for f in folder.rglob("*") if f.suffix.lower() in PICTURE_SUFFIXES and f.is_file())
    if not found:
        raise NothingToEvaluate(f"{folder} holds no picture", f"pictures end in {', '.join(sorted(PICTURE_SUFFIXES))}")
    return found


def read_files(
    files: Sequence[PictureFile],
) -> tuple[list[tuple[PictureFile, NDArray[np.uint8]]], list[UnreadableFile]]:
    """The pictures of some files, and the files that are none."""
    pictures, broken = [], []
    for file in files:
        try:
            pictures.append((file, read_picture(file.path)))
        except UnreadablePicture as error:
            broken.append(UnreadableFile(file.path, error.what))
    return pictures, broken
