"""Where a tree of FaceForensics++ holds its frames and masks. Names of folders count in any case."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from xaibench.api import PICTURE_SUFFIXES, Location, Problem, list_folder, relative_name
from xaibench_datasets.faceforensics_names import (
    ACTORS,
    DEEP_FAKE_DETECTION,
    LEVELS,
    METHODS,
    ORIGINALS,
    VideoName,
    form,
    is_video_file,
    video_name,
    without_suffix,
)

FRAMES = ("faces", "frames", "images")
_VIDEOS = "videos"
_MASKS = ("masks", "mask")
_NO_FRAMES = frozenset((*_MASKS, _VIDEOS, "landmarks", "models"))


@dataclass(frozen=True, slots=True)
class Part:
    """A folder of one kind of videos: the originals of one source, or the fakes of one ``method``."""

    folder: Location
    method: str | None
    actors: bool

    @property
    def form(self) -> str:
        """How its videos are named."""
        return form(self.method, self.actors)

    def names(self, folder: str) -> VideoName | None:
        """The video that a folder of frames of this part is named after, if it is named like one."""
        return video_name(folder, fake=self.method is not None)


@dataclass(frozen=True, slots=True)
class Place:
    """A folder that holds folders of frames. ``kind`` is its name in lower case; empty for the level's own folder."""

    part: Part
    level: Location
    folder: Location
    kind: str


def folders(folder: Location) -> list[Location]:
    """Folders in a folder that are not hidden, sorted; none where it does not exist."""
    if not folder.is_dir():
        return []
    return sorted(folder / name for name, is_folder in list_folder(folder) if is_folder and not name.startswith("."))


def child(folder: Location | None, *names: str) -> Location | None:
    """The first of the folders ``names`` in ``folder``; one of another case only where none has the very name."""
    inside = {f.name: f for f in folders(folder)} if folder else {}
    lower = {name.lower(): f for name, f in reversed(inside.items())}
    return next((f for name in names if (f := inside.get(name) or lower.get(name.lower()))), None)


def parts(root: Location) -> list[Part]:
    """Originals, then methods in the order of their publication. An older download has the levels of its originals
    directly in ``original_sequences/``."""
    originals, fakes = child(root, "original_sequences"), child(root, "manipulated_sequences")
    sources = [Part(f, None, name == ACTORS) for name in ORIGINALS if (f := child(originals, name))]
    if originals and any(child(originals, *names) for names in LEVELS.values()):
        sources.append(Part(originals, None, actors=False))
    return sources + [Part(f, m, m == DEEP_FAKE_DETECTION) for m in METHODS if (f := child(fakes, m))]


def other_methods(root: Location) -> list[Location]:
    """Folders of ``manipulated_sequences/`` that are no method of the download."""
    fakes = child(root, "manipulated_sequences")
    known = {method.lower() for method in METHODS}
    return [f for f in folders(fakes) if f.name.lower() not in known] if fakes else []


def places(part: Part, level: str) -> list[Place]:
    """The places of frames of a part at a level, the likeliest first: ``faces/``, ``frames/``, ``images/``, the only
    other folder, ``videos/``, and the level's own folder, as far as they hold a folder that is named like a video."""
    base = child(part.folder, *LEVELS[level])
    if base is None:
        return []
    inside = [f for f in folders(base) if not part.names(f.name)]
    known = [f for kind in FRAMES for f in inside if f.name.lower() == kind]
    others = _others(inside)
    videos = [f for f in inside if f.name.lower() == _VIDEOS]
    ordered = [*known, *(others if len(others) == 1 or known else []), *videos]
    listed = [Place(part, base, f, f.name.lower()) for f in ordered if _holds_videos(f, part)]
    return [*listed, *([Place(part, base, base, "")] if _holds_videos(base, part) else [])] or [
        Place(part, base, f, f.name.lower()) for f in (known or others)[:1] if len(others) <= 1 and folders(f)
    ]


def unclear_places(part: Part, level: str) -> list[Location]:
    """Several folders of unknown names, none of which is more likely than another to hold the frames."""
    base = child(part.folder, *LEVELS[level])
    others = _others(folders(base)) if base else []
    others = [f for f in others if _holds_videos(f, part)]
    return others if len(others) > 1 else []


def _others(inside: Sequence[Location]) -> list[Location]:
    return [f for f in inside if f.name.lower() not in _NO_FRAMES and f.name.lower() not in FRAMES]


def _holds_videos(folder: Location, part: Part) -> bool:
    return any(part.names(f.name) for f in folders(folder))


def chosen_places(found: Mapping[Part, Sequence[Place]], root: Location, problems: list[Problem]) -> Iterator[Place]:
    """One place of each part: of the first kind that originals and fakes have in common, so that both are cropped
    alike, else the likeliest of its own. Places passed over are problems."""
    kind = _common_kind(found)
    for ranked in found.values():
        if not ranked:
            continue
        place = next((p for p in ranked if p.kind == kind), ranked[0])
        if kind is not None and place.kind != kind:
            problems.append(_odd_place(place, kind, root))
        for other in ranked:
            if other is not place:
                taken = relative_name(place.folder, root)
                problems.append(Problem(relative_name(other.folder, root), f"is passed over: {taken} is taken"))
        yield place


def _odd_place(place: Place, kind: str, root: Location) -> Problem:
    where = f"others lie in {kind}/" if kind else "others lie directly below the level"
    return Problem(
        relative_name(place.folder, root), f"is taken for this part alone, {where}: see that all are cropped alike"
    )


def _common_kind(found: Mapping[Part, Sequence[Place]]) -> str | None:
    real = [p.kind for part, ranked in found.items() for p in ranked if part.method is None]
    fake = {p.kind for part, ranked in found.items() for p in ranked if part.method is not None}
    return next((kind for kind in _by_likelihood(real) if kind in fake), None) or (real[0] if real else None)


def _by_likelihood(kinds: Sequence[str]) -> list[str]:
    order = [*FRAMES, *sorted(set(kinds) - {*FRAMES, _VIDEOS, ""}), _VIDEOS, ""]
    return [kind for kind in order if kind in kinds]


def video_files(folder: Location | None) -> list[str]:
    """Names of the video files in a folder, sorted."""
    if folder is None or not folder.is_dir():
        return []
    return sorted(name for name, is_folder in list_folder(folder) if not is_folder and is_video_file(name))


def videos_without_frames(place: Place) -> list[str]:
    """Video files beside the frames of which there is no folder of frames."""
    extracted = {without_suffix(f.name).lower() for f in folders(place.folder)}
    names = video_files(child(place.level, _VIDEOS))
    return [name for name in names if without_suffix(name).lower() not in extracted]


def mask_folders(place: Place) -> dict[str, Location]:
    """The folder of masks of each video, by its name in lower case.

    Masks lie in ``masks/`` of the level or of the method, or of another level, whose masks are the same. There they lie
    directly, or one or two folders below. Folders that are called as that of the frames, and as the level, come first.
    """
    nearest: dict[str, Location] = {}
    for folder in _mask_places(place):
        for video in folders(folder):
            if place.part.names(video.name):
                nearest.setdefault(without_suffix(video.name).lower(), video)
    return nearest


def _mask_places(place: Place) -> Iterator[Location]:
    for base in mask_roots(place):
        below = _other_folders(base, place.part)
        below += [inner for folder in below for inner in _other_folders(folder, place.part)]
        yield from sorted([base, *below], key=lambda folder: _mask_order(folder, base, place))


def _other_folders(folder: Location, part: Part) -> list[Location]:
    return [f for f in folders(folder) if not part.names(f.name)]


def _mask_order(folder: Location, base: Location, place: Place) -> tuple[bool, bool]:
    steps = relative_name(folder, base).lower().split("/")
    return place.kind not in steps, place.level.name.lower() not in steps


def mask_roots(place: Place) -> list[Location]:
    """The folders ``masks/``: of the level, of the method, of other levels."""
    levels = [f for names in LEVELS.values() if (f := child(place.part.folder, *names)) and f.name != place.level.name]
    return [f for base in (place.level, place.part.folder, *levels) if (f := child(base, *_MASKS))]


def mask_video_files(place: Place) -> int:
    """How many masks are video files."""
    inside = [f for base in mask_roots(place) for f in (base, *folders(base))]
    return sum(len(video_files(f)) for f in inside)


def contents(folder: Location) -> str:
    """What a folder holds, in one line: folders, and files by their kind.

    Six folders are named at most.
    """
    inside = folders(folder)
    names = [f"{f.name}/{_counts(f)}" for f in inside[:6]] + (["..."] if len(inside) > 6 else [])
    return ", ".join([*names, *([own] if (own := _files(folder)) else [])]) or "nothing"


def _counts(folder: Location) -> str:
    number = len(folders(folder))
    texts = [text for text in (f"{number} folder{'s' * (number != 1)}" if number else "", _files(folder)) if text]
    return f" ({', '.join(texts) or 'empty'})"


def _files(folder: Location) -> str:
    kinds: Counter[str] = Counter()
    for name, is_folder in list_folder(folder):
        if not is_folder and not name.startswith("."):
            picture = f".{name.rpartition('.')[2].lower()}" in PICTURE_SUFFIXES
            kinds["video" if is_video_file(name) else "picture" if picture else "other file"] += 1
    return ", ".join(f"{number} {kind}{'s' * (number != 1)}" for kind, number in sorted(kinds.items()))
