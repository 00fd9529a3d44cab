"""The official split files of FaceForensics++."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from xaibench.api import DatasetError, Location, Problem, location, relative_name

SPLITS = ("train", "val", "test")
_VIDEO = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Splits:
    """Official pairs of videos by split, and which split a video is in."""

    pairs: tuple[tuple[str, str], ...]
    split_of: Mapping[str, str]


def read_splits(root: Location, given: str, problems: list[Problem]) -> Splits:
    """The split files in the folder ``given``, else in ``splits/`` of the tree or in the tree.

    Raises :class:`DatasetError` where a file is broken, a video is in two splits, or ``given`` holds none of them.
    """
    places = [location(given)] if given else [root / "splits", root]
    folder = next((p for p in places if any((p / f"{s}.json").is_file() for s in SPLITS)), None)
    if folder is None and given:
        raise DatasetError(f"no train.json, val.json or test.json in {given}", "give the folder that holds them")
    if folder is None:
        problems.append(Problem("splits", "no split files: splits are unknown, groups follow the names of the fakes"))
        return Splits((), {})
    problems += [
        Problem(
            f"{given or relative_name(folder, root)}/{s}.json".removeprefix("./"),
            "does not exist: the videos that it would list have no split",
        )
        for s in SPLITS
        if not (folder / f"{s}.json").is_file()
    ]
    pairs = {s: _pairs(folder / f"{s}.json") for s in SPLITS if (folder / f"{s}.json").is_file()}
    split_of: dict[str, str] = {}
    for split, listed in pairs.items():
        for video in (v for pair in listed for v in pair):
            if split_of.setdefault(video, split) != split:
                both = f"{split_of[video]} and {split}"
                raise DatasetError(f"{folder}: video {video} is in {both}", "use the official files")
    return Splits(tuple(pair for listed in pairs.values() for pair in listed), split_of)


def _pairs(file: Location) -> list[tuple[str, str]]:
    try:
        listed = json.loads(file.read_text(encoding="utf-8"))
        return [(a, b) for a, b in listed if _VIDEO.fullmatch(a) and _VIDEO.fullmatch(b)]
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise DatasetError(f"{file} is no list of pairs of videos: {error}", "use the official split files") from None
