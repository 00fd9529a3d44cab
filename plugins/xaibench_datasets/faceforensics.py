"""The FaceForensics++ tree, after frames were extracted and faces cropped.

::

    original_sequences/youtube/c23/faces/VIDEO/FRAME.png
    manipulated_sequences/METHOD/c23/faces/TARGET_SOURCE/FRAME.png
    manipulated_sequences/METHOD/c23/masks/TARGET_SOURCE/FRAME.png     or METHOD/masks/[c23/]TARGET_SOURCE/…
    splits/train.json  val.json  test.json                             lists of [video, video]

``faces`` may be called ``frames`` or ``images``, or be any one folder. A fake's counterpart is the frame of the same
name of the target (the first number). The statistical group of a picture is the pair of videos that the split files
list, shared by all methods and by the real pictures: the 140 test videos are 70 groups. The level of compression is the
further column ``compression`` of its samples.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from xaibench.api import (
    DatasetError,
    Location,
    Parameters,
    Problem,
    Sample,
    connected_components,
    list_folder,
    location,
    relative_name,
)
from xaibench_datasets.files import Entry, ListedDataset, Listing, existing_folder, listing, pictures_below

METHODS = ("Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures")
SPLITS = ("train", "val", "test")
_FRAME_FOLDERS = ("faces", "frames", "images")
_NO_FRAMES = frozenset(("masks", "videos", "landmarks"))
_VIDEO = re.compile(r"\d+")
_FAKE_VIDEO = re.compile(r"(\d+)_(\d+)")


class FaceForensicsParameters(Parameters):
    """Where the tree is and what of it to take."""

    path: str = Field("", description="the folder that holds original_sequences/ and manipulated_sequences/")
    compression: Literal["c0", "c23", "c40"] = Field("c23", description="c0 (raw), c23 or c40")
    frames: int = Field(10, ge=1, description="pictures taken from each video, evenly spread over all of it")
    splits: str = Field("", description="folder of train.json, val.json and test.json; default: splits/ in the tree")


@dataclass(frozen=True, slots=True)
class _Splits:
    """Official pairs of videos by split, and which split a video is in."""

    pairs: tuple[tuple[str, str], ...]
    split_of: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Video:
    """A folder of frames: names and files in the order of the video. ``method`` is None for originals."""

    name: str
    method: str | None
    frames: Mapping[str, Location]

    @property
    def target(self) -> str:
        return self.name.partition("_")[0]


@dataclass(frozen=True, slots=True)
class _Chosen:
    """The frames taken of a video, its masks by frame, and whether its target has the same frames."""

    video: _Video
    frames: tuple[str, ...]
    masks: Mapping[str, Location]
    paired: bool


class FaceForensicsDataset(ListedDataset):
    """Dataset ``faceforensics``. Its samples are called ``real/VIDEO/FRAME`` and ``METHOD/TARGET_SOURCE/FRAME``.

    Of each video ``frames`` pictures are taken, evenly spread from its first to its last. Of a fake, only frames that
    its target has too are chosen from, where there are any. A real video lists the counterparts of its fakes besides
    its own: where all have the same length these are the same frames.
    """

    Parameters = FaceForensicsParameters
    both_labels = True

    def __init__(self, parameters: FaceForensicsParameters) -> None:
        self.parameters = parameters

    def _list(self) -> Listing:
        root = existing_folder(self.parameters.path, "faceforensics")
        level, problems = self.parameters.compression, list[Problem]()
        reals = list(_videos(root, "original_sequences/youtube", level, None, problems))
        fakes = [v for m in METHODS for v in _videos(root, f"manipulated_sequences/{m}", level, m, problems)]
        _report_other_methods(root, problems)
        _refuse_missing(root, level, reals, fakes)
        splits = _read_splits(root, self.parameters.splits, problems)
        group = connected_components([*splits.pairs, *_edges(reals, fakes)])
        entries = [
            _entry(chosen, frame, group[chosen.video.target], splits.split_of.get(chosen.video.target), level)
            for chosen in _choose(root, level, reals, fakes, self.parameters.frames)
            for frame in chosen.frames
        ]
        return listing(entries, problems, root, root)


def spread(count: int, wanted: int) -> list[int]:
    """``wanted`` indices from the first to the last of ``count``, evenly spread; all where there are fewer.

    >>> spread(100, 4), spread(3, 10), spread(9, 1)
    ([0, 33, 66, 99], [0, 1, 2], [4])
    """
    if wanted >= count:
        return list(range(count))
    return [round(i * (count - 1) / (wanted - 1)) for i in range(wanted)] if wanted > 1 else [(count - 1) // 2]


def _entry(chosen: _Chosen, frame: str, group: str, split: str | None, level: str) -> Entry:
    video, mask = chosen.video, chosen.masks.get(frame)
    sample = Sample(
        id=f"{video.method or 'real'}/{video.name}/{frame}",
        label="fake" if video.method else "real",
        group=group,
        method=video.method,
        pair=f"real/{video.target}/{frame}" if chosen.paired else None,
        split=split,
        has_mask=mask is not None,
        columns=(("compression", level),),
    )
    return Entry(sample, video.frames[frame], mask)


def _choose(
    root: Location, level: str, reals: Sequence[_Video], fakes: Sequence[_Video], wanted: int
) -> Iterator[_Chosen]:
    own = {video.name: set(_pick(list(video.frames), wanted)) for video in reals}
    frames_of = {video.name: video.frames for video in reals}
    for video in fakes:
        common = [name for name in video.frames if name in frames_of.get(video.target, {})]
        frames = _pick(common or list(video.frames), wanted)
        if common:
            own[video.target].update(frames)
        yield _Chosen(video, tuple(frames), _masks(root, level, video), paired=bool(common))
    for video in reals:
        yield _Chosen(video, tuple(own[video.name]), {}, paired=False)


def _pick(names: Sequence[str], wanted: int) -> list[str]:
    return [names[i] for i in spread(len(names), wanted)]


def _edges(reals: Sequence[_Video], fakes: Sequence[_Video]) -> Iterator[tuple[str, str]]:
    """Edges between the videos that a fake was made from; every real video is a node."""
    yield from ((video.name, video.name) for video in reals)
    for video in fakes:
        target, _, source = video.name.partition("_")
        yield target, source


def _videos(root: Location, base: str, level: str, method: str | None, problems: list[Problem]) -> Iterator[_Video]:
    """The videos of one sequence folder, sorted by name, without those that hold no picture."""
    place = _frames_in(root / base / level, f"{base}/{level}", problems)
    for folder in _folders(place) if place else ():
        name = relative_name(folder, root)
        if not (_VIDEO if method is None else _FAKE_VIDEO).fullmatch(folder.name):
            problems.append(Problem(name, "is not named VIDEO" if method is None else "is not named TARGET_SOURCE"))
            continue
        frames = dict(sorted(pictures_below(folder, root, problems), key=lambda f: _frame_order(f[0])))
        if frames:
            yield _Video(folder.name, method, frames)
        else:
            problems.append(Problem(name, "holds no pictures"))


def _frames_in(folder: Location, name: str, problems: list[Problem]) -> Location | None:
    candidates = [f for f in _folders(folder) if f.name not in _NO_FRAMES]
    known = [f for wanted in _FRAME_FOLDERS for f in candidates if f.name == wanted]
    if known:
        return known[0]
    if len(candidates) > 1:
        problems.append(Problem(name, f"holds several folders and none called {', '.join(_FRAME_FOLDERS)}"))
    return candidates[0] if len(candidates) == 1 else None


def _folders(folder: Location) -> list[Location]:
    if not folder.is_dir():
        return []
    return sorted(folder / name for name, is_folder in list_folder(folder) if is_folder and not name.startswith("."))


def _frame_order(name: str) -> tuple[list[int], str]:
    """Frames by number, so that 10 follows 9 whether or not numbers are padded."""
    return [int(digits) for digits in re.findall(r"\d+", name)], name


def _masks(root: Location, level: str, video: _Video) -> dict[str, Location]:
    base = root / "manipulated_sequences" / str(video.method)
    places = [base / level / "masks", base / "masks" / level, base / "masks"]
    places += [base / "masks" / name for name in _FRAME_FOLDERS]
    folder = next((p / video.name for p in places if (p / video.name).is_dir()), None)
    return dict(pictures_below(folder, root, [])) if folder else {}


def _refuse_missing(root: Location, level: str, reals: Sequence[_Video], fakes: Sequence[_Video]) -> None:
    if reals and fakes:
        return
    base = "manipulated_sequences/METHOD" if reals else "original_sequences/youtube"
    tops = [root / "original_sequences" / "youtube", *(root / "manipulated_sequences" / m for m in METHODS)]
    others = sorted({f.name for top in tops for f in _folders(top)} & {"c0", "c23", "c40"} - {level})
    hint = f", or say compression={others[0]}" if others else ""
    where = f"{base}/{level}/{_FRAME_FOLDERS[0]}/"
    raise DatasetError(f"no frames in {root}: {where} is missing or empty", f"extract frames into it{hint}")


def _report_other_methods(root: Location, problems: list[Problem]) -> None:
    for folder in _folders(root / "manipulated_sequences"):
        if folder.name not in METHODS:
            problems.append(Problem(f"manipulated_sequences/{folder.name}", f"is none of {', '.join(METHODS)}"))


def _read_splits(root: Location, given: str, problems: list[Problem]) -> _Splits:
    places = [location(given)] if given else [root / "splits", root]
    folder = next((p for p in places if any((p / f"{s}.json").is_file() for s in SPLITS)), None)
    if folder is None and given:
        raise DatasetError(f"no train.json, val.json or test.json in {given}", "give the folder that holds them")
    if folder is None:
        problems.append(Problem("splits", "no split files: splits are unknown, groups follow the names of the fakes"))
        return _Splits((), {})
    pairs = {s: _pairs(folder / f"{s}.json") for s in SPLITS if (folder / f"{s}.json").is_file()}
    split_of: dict[str, str] = {}
    for split, listed in pairs.items():
        for video in (v for pair in listed for v in pair):
            if split_of.setdefault(video, split) != split:
                both = f"{split_of[video]} and {split}"
                raise DatasetError(f"{folder}: video {video} is in {both}", "use the official files")
    return _Splits(tuple(pair for listed in pairs.values() for pair in listed), split_of)


def _pairs(file: Location) -> list[tuple[str, str]]:
    try:
        listed = json.loads(file.read_text(encoding="utf-8"))
        return [(a, b) for a, b in listed if _VIDEO.fullmatch(a) and _VIDEO.fullmatch(b)]
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise DatasetError(f"{file} is no list of pairs of videos: {error}", "use the official split files") from None
