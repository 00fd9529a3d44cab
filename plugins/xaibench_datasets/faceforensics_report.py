"""What is said of a tree of FaceForensics++: what was looked for and where, and what of it is left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from xaibench.api import DatasetError, Location, Problem, relative_name
from xaibench_datasets.faceforensics_names import ACTORS, LEVELS, METHODS
from xaibench_datasets.faceforensics_tree import (
    FRAMES,
    Part,
    Place,
    child,
    contents,
    mask_roots,
    mask_video_files,
    other_methods,
    unclear_places,
    videos_without_frames,
)

Levels = Mapping[str, Mapping[Part, Sequence[Place]]]
"""The places of every part by level."""

_WITHOUT_MASKS = "FaceShifter"


def levels_with(places: Levels, label: str = "") -> list[str]:
    """Levels at which there are frames: of originals and fakes, or of one ``label`` alone."""
    wanted = {"real", "fake"} if not label else {label}
    return [
        level
        for level, by_part in places.items()
        if wanted <= {"fake" if part.method else "real" for part, ranked in by_part.items() if ranked}
    ]


def likeliest_level(places: Levels) -> str:
    """The first level with frames of both, else with frames of originals, else of fakes, else the first."""
    return [*levels_with(places), *levels_with(places, "real"), *levels_with(places, "fake"), *places][0]


def refuse_missing(root: Location, places: Levels, asked: str, real: bool, fake: bool) -> None:
    """Raise :class:`DatasetError` where frames of originals or of fakes are missing at the level ``asked`` for, or at
    each where none was."""
    if real and fake:
        return
    both, reals, fakes = levels_with(places), levels_with(places, "real"), levels_with(places, "fake")
    if reals and fakes and not both:
        raise DatasetError(
            f"no frames in {root} of originals and fakes at one level: originals have {', '.join(reals)} and fakes"
            f" {', '.join(fakes)}",
            "extract both at one level",
        )
    missing, base = ("fakes", "manipulated_sequences/METHOD") if real else ("originals", "original_sequences/youtube")
    names = [name for level in ([asked] if asked else LEVELS) for name in LEVELS[level]]
    top = base if real else f"{base}|{ACTORS}"
    looked = f"{top}/{'|'.join(names)}/{'|'.join((*FRAMES, 'videos'))}/VIDEO/FRAME.png"
    parts = [part for part in next(iter(places.values())) if bool(part.method) == real]
    others = [other for other in both if other != asked]
    hint = f", or say compression={others[0]}" if others else ""
    raise DatasetError(
        f"no frames in {root}: looked for {missing} in {looked}; {_there(root, names, parts, base)}",
        f"extract frames of the {missing} into {base}/{asked or 'c23'}/{FRAMES[0]}/VIDEO/ (videos are not read){hint}",
    )


def _there(root: Location, levels: Sequence[str], parts: Sequence[Part], base: str) -> str:
    """What is there instead; three folders at most."""
    if not parts:
        top = child(root, base.partition("/")[0])
        where, folder = (relative_name(top, root), top) if top else (str(root), root)
        return f"{where} holds {contents(folder)}"
    bases = [base for part in parts for base in _bases(part, levels)]
    return "; ".join(f"{relative_name(f, root)} holds {contents(f)}" for f in bases[:3])


def _bases(part: Part, levels: Sequence[str]) -> list[Location]:
    """The folders of levels that a part has, or else its own."""
    candidates = [child(part.folder, level) for level in levels]
    return [folder for folder in candidates if folder] or [part.folder]


def report_levels(level: str, places: Levels, asked: bool, problems: list[Problem]) -> None:
    """Say which level was chosen among several, unless it was asked for."""
    others = [other for other in levels_with(places) if other != level]
    if others and not asked:
        ways = " or ".join(f"compression={other}" for other in others)
        problems.append(Problem("compression", f"{level} is taken and {' and '.join(others)} left: {ways} chooses"))


def report_parts(root: Location, level: str, places: Levels, problems: list[Problem]) -> None:
    """Name folders that are no method, and parts without frames at the level."""
    for folder in other_methods(root):
        problems.append(Problem(relative_name(folder, root), f"is none of {', '.join(METHODS)}"))
    for part, ranked in places[level].items():
        if ranked:
            continue
        for folder in unclear_places(part, level):
            reason = f"is one of several folders and none is called {', '.join(FRAMES)}"
            problems.append(Problem(relative_name(folder, root), reason))
        base = child(part.folder, *LEVELS[level])
        there = f"{relative_name(base, root)} holds" if base else f"there is no {level}/, but"
        problems.append(
            Problem(relative_name(part.folder, root), f"has no frames: {there} {contents(base or part.folder)}")
        )


def report_videos(root: Location, place: Place, problems: list[Problem]) -> None:
    """Count the video files of which there are no frames."""
    names = videos_without_frames(place)
    if names:
        where = f"{relative_name(place.level, root)}/videos"
        number = f"{len(names)} video{'s' * (len(names) != 1)}"
        problems.append(Problem(where, f"{number} without a folder of frames, first {names[0]}"))


def report_masks(root: Location, places: Mapping[Place, int], problems: list[Problem]) -> None:
    """Name the methods without a mask, where others have some or their folder of masks is there.

    ``places`` are those of the methods, with the number of masks of each.
    """
    for place, number in places.items():
        there = mask_roots(place)
        if number or not (there or any(places.values())):
            continue
        own, level = relative_name(place.part.folder, root), place.level.name
        videos = mask_video_files(place)
        held = f"; {relative_name(there[0], root)} holds {contents(there[0])}" if there else ""
        mend = "; the masks are videos, which are not read: extract their frames" if videos else ""
        if place.part.method == _WITHOUT_MASKS and not there:
            mend = "; the official download has none"
        reason = (
            f"no mask of a frame taken: looked in {level}/masks/ and masks/ for [videos/]VIDEO/FRAME.png{held}{mend}"
        )
        problems.append(Problem(own, reason))
