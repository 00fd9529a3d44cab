"""The FaceForensics++ tree, after frames were extracted and, for most detectors, faces cropped.

::

    original_sequences/youtube/c23/faces/VIDEO/FRAME.png
    original_sequences/actors/c23/faces/ACTOR__SCENE/FRAME.png
    manipulated_sequences/METHOD/c23/faces/TARGET_SOURCE/FRAME.png
    manipulated_sequences/DeepFakeDetection/c23/faces/TARGET_SOURCE__SCENE__CODE/FRAME.png
    manipulated_sequences/METHOD/c23/masks/TARGET_SOURCE/FRAME.png     or METHOD/masks/[videos/]TARGET_SOURCE/…
    splits/train.json  val.json  test.json                             lists of [video, video]

The level is ``raw`` (or ``c0``, its older name), ``c23`` or ``c40``. ``faces`` may be called ``frames``, ``images`` or
``videos``, or be any one folder, or be left out; a folder of frames may be called as its video, ``000_003.mp4``. A
fake's counterpart is the frame of the same name of the target (the first number). The statistical group of a picture is
the pair of videos that the split files list, shared by all methods and by the real pictures: the 140 test videos are 70
groups. Actors are people: their groups are the people that fakes join, or two crossed factors where these are too many
(:func:`xaibench.api.statistical_groups`). The level of compression is the further column ``compression`` of its
samples, as its folder is called.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from xaibench.api import (
    Location,
    Parameters,
    Problem,
    Sample,
    connected_components,
    relative_name,
    statistical_groups,
)
from xaibench_datasets.entries import Entry
from xaibench_datasets.faceforensics_names import LEVELS, METHODS, VideoName
from xaibench_datasets.faceforensics_report import (
    likeliest_level,
    refuse_missing,
    report_levels,
    report_masks,
    report_parts,
    report_videos,
)
from xaibench_datasets.faceforensics_splits import Splits, read_splits
from xaibench_datasets.faceforensics_tree import (
    Place,
    chosen_places,
    folders,
    mask_folders,
    parts,
    places,
)
from xaibench_datasets.files import ListedDataset, Listing, existing_folder, listing, pictures_below

__all__ = ["METHODS", "FaceForensicsDataset", "FaceForensicsParameters", "spread"]

_MASK = "_mask"


class FaceForensicsParameters(Parameters):
    """Where the tree is and what of it to take."""

    path: str = Field("", description="the folder that holds original_sequences/ and manipulated_sequences/")
    compression: Literal["auto", "raw", "c0", "c23", "c40"] = Field(
        "auto", description="raw (or c0), c23 or c40; auto: the first of c23, raw and c40 of which there are frames"
    )
    frames: int = Field(10, ge=1, description="pictures taken from each video, evenly spread over all of it")
    splits: str = Field("", description="folder of train.json, val.json and test.json; default: splits/ in the tree")


@dataclass(frozen=True, slots=True)
class _Video:
    """A folder of frames: names and files in the order of the video, and the masks that lie among them."""

    name: VideoName
    place: Place
    folder: Location
    frames: Mapping[str, Location]
    masks: Mapping[str, Location]

    @property
    def method(self) -> str | None:
        return self.place.part.method


@dataclass(frozen=True, slots=True)
class _Choice:
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
        problems = list[Problem]()
        videos = self._videos(root, problems)
        splits = read_splits(root, self.parameters.splits, problems)
        if splits.split_of and any(video.name.actors for video in videos):
            problems.append(Problem("splits", "the official ones list no actors, whose split is unknown"))
        choices = list(_choose(videos, self.parameters.frames, root, problems))
        groups = _groups(choices, splits)
        entries = [
            _entry(choice, frame, *groups[choice.video.name], splits.split_of.get(choice.video.name.target))
            for choice in choices
            for frame in choice.frames
        ]
        return listing(entries, problems, root, root)

    def _videos(self, root: Location, problems: list[Problem]) -> list[_Video]:
        """The videos of the chosen level."""
        of_levels = {level: {part: places(part, level) for part in parts(root)} for level in LEVELS}
        asked = {"auto": "", "c0": "raw"}.get(self.parameters.compression, self.parameters.compression)
        level = asked or likeliest_level(of_levels)
        report_levels(level, of_levels, bool(asked), problems)
        report_parts(root, level, of_levels, problems)
        videos = [
            v for place in chosen_places(of_levels[level], root, problems) for v in _listed(place, root, problems)
        ]
        videos = list(_first_of_each_name(videos, root, problems))
        refuse_missing(root, of_levels, asked, any(not v.method for v in videos), any(v.method for v in videos))
        return videos


def spread(count: int, wanted: int) -> list[int]:
    """``wanted`` indices from the first to the last of ``count``, evenly spread; all where there are fewer.

    >>> spread(100, 4), spread(3, 10), spread(9, 1)
    ([0, 33, 66, 99], [0, 1, 2], [4])
    """
    if wanted >= count:
        return list(range(count))
    return [round(i * (count - 1) / (wanted - 1)) for i in range(wanted)] if wanted > 1 else [(count - 1) // 2]


def _entry(choice: _Choice, frame: str, group: str, cross: str | None, split: str | None) -> Entry:
    video, mask = choice.video, choice.masks.get(frame)
    sample = Sample(
        id=f"{video.method or 'real'}/{video.name.name}/{frame}",
        label="fake" if video.method else "real",
        group=group,
        cross_group=cross,
        method=video.method,
        pair=f"real/{video.name.original}/{frame}" if choice.paired else None,
        split=split,
        has_mask=mask is not None,
        columns=(("compression", video.place.level.name),),
    )
    return Entry(sample, video.frames[frame], mask)


def _choose(videos: Sequence[_Video], wanted: int, root: Location, problems: list[Problem]) -> Iterator[_Choice]:
    reals = {video.name.name: video for video in videos if not video.method}
    own = {name: set(_pick(list(video.frames), wanted)) for name, video in reals.items()}
    masks = {video.place: mask_folders(video.place) for video in videos if video.method}
    number = dict.fromkeys(masks, 0)
    for video in (video for video in videos if video.method):
        real = reals.get(video.name.original)
        common = [name for name in video.frames if real and name in real.frames]
        frames = _pick(common or list(video.frames), wanted)
        if common:
            own[video.name.original].update(frames)
        masks_of_video = _masks(video, masks[video.place], frames, root, problems)
        number[video.place] += len(masks_of_video)
        yield _Choice(video, tuple(frames), masks_of_video, paired=bool(common))
    for name, video in reals.items():
        yield _Choice(video, tuple(own[name]), {}, paired=False)
    report_masks(root, number, problems)


def _pick(names: Sequence[str], wanted: int) -> list[str]:
    return [names[i] for i in spread(len(names), wanted)]


def _groups(choices: Sequence[_Choice], splits: Splits) -> dict[VideoName, tuple[str, str | None]]:
    """Group and second factor of every video.

    Videos of youtube, and actors in pairs, are connected components. Where fakes join more than two actors, the rule of
    :mod:`xaibench.api.groups` tells from the pictures of actors whether they are crossed factors.
    """
    names = dict.fromkeys(choice.video.name for choice in choices)
    component = connected_components([*splits.pairs, *((n.target, n.source or n.target) for n in names)])
    group: dict[VideoName, tuple[str, str | None]] = {name: (component[name.target], None) for name in names}
    pictures = [c.video.name for c in choices if c.video.name.actors for _ in c.frames]
    if _more_than_pairs(component, pictures):
        groups = statistical_groups([n.target for n in pictures], [n.source for n in pictures])
        group |= dict(zip(pictures, zip(groups.group, groups.cross_group, strict=True), strict=True))
    return group


def _more_than_pairs(component: Mapping[str, str], names: Iterable[VideoName]) -> bool:
    people = {person for name in names for person in (name.target, name.source) if person}
    joined = [component[person] for person in people]
    return any(joined.count(name) > 2 for name in joined)


def _listed(place: Place, root: Location, problems: list[Problem]) -> Iterator[_Video]:
    """The videos of a place, sorted by name, without those that hold no picture."""
    report_videos(root, place, problems)
    for folder in folders(place.folder):
        where, name = relative_name(folder, root), place.part.names(folder.name)
        if name is None:
            if place.kind:
                problems.append(Problem(where, f"is not named {place.part.form}"))
            continue
        frames = dict(sorted(pictures_below(folder, root, problems), key=lambda f: _frame_order(f[0])))
        masks = {
            f.removesuffix(_MASK): file for f, file in frames.items() if f.removesuffix(_MASK) in frames.keys() - {f}
        }
        frames = {f: file for f, file in frames.items() if not (f.endswith(_MASK) and f.removesuffix(_MASK) in masks)}
        if masks and not place.part.method:
            problems.append(Problem(where, "masks of an original are passed over"))
        if frames:
            yield _Video(name, place, folder, frames, masks)
        else:
            problems.append(Problem(where, "holds no pictures"))


def _first_of_each_name(videos: Iterable[_Video], root: Location, problems: list[Problem]) -> Iterator[_Video]:
    """Videos without those that are there twice: as 000 and 000.mp4, or in youtube/ and beside it."""
    seen = dict[tuple[str | None, str], str]()
    for video in videos:
        where, key = relative_name(video.folder, root), (video.method, video.name.name)
        if key in seen:
            problems.append(Problem(where, f"is there twice: {seen[key]} is read"))
        else:
            seen[key] = where
            yield video


def _frame_order(name: str) -> tuple[list[int], str]:
    """Frames by number, so that 10 follows 9 whether or not numbers are padded."""
    return [int(digits) for digits in re.findall(r"\d+", name)], name


def _masks(
    video: _Video, folders_of: Mapping[str, Location], frames: Sequence[str], root: Location, problems: list[Problem]
) -> dict[str, Location]:
    """Masks of the ``frames`` of a video, from its folder of masks, else from among its frames."""
    folder = folders_of.get(video.name.name.lower())
    if folder is None:
        return {frame: video.masks[frame] for frame in frames if frame in video.masks}
    named = {name.removesuffix(_MASK): file for name, file in pictures_below(folder, root, [])}
    masks = {frame: named[frame] for frame in frames if frame in named}
    if not masks:
        held = f", first mask {next(iter(named))}" if named else ""
        reason = f"holds no mask of a frame taken (first frame {frames[0]}{held})"
        problems.append(Problem(relative_name(folder, root), reason))
    return masks
