"""A folder of pictures: ``real/``, ``fake/METHOD/``, ``masks/METHOD/``, ``landmarks/``.

A picture's *name* is its path below ``real/`` or ``fake/METHOD/`` without suffix. Fakes directly under ``fake/``
are of the method ``fake``. A fake's counterpart is the real picture of the same name: say ``pairs=false`` where equal
names mean nothing, or give ``pair_pattern``. A mask has the name of its fake, under ``masks/METHOD/`` (or ``masks/``
for fakes directly under ``fake/``); masks of real pictures, which should mark nothing, lie under ``masks/real/``.
Landmarks are ``landmarks/METHOD/NAME.csv`` (``real`` is the method of real pictures); with pairs,
``landmarks/NAME.csv`` serves the real picture and the fakes made from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from pydantic import Field

from xaibench.api import Location, Parameters, Problem, Sample, connected_components, relative_name
from xaibench_datasets.entries import Entry
from xaibench_datasets.files import (
    ListedDataset,
    Listing,
    Pattern,
    existing_folder,
    landmarks_below,
    listing,
    part_of,
    pictures_below,
)
from xaibench_datasets.label_names import label_doubt

_LOOSE = "fake"


class FolderParameters(Parameters):
    """Where the pictures are and what their names mean."""

    path: str = Field("", description="the folder that holds real/ and fake/")
    pairs: bool = Field(True, description="a real and a fake picture of the same name are counterparts")
    pair_pattern: Pattern = Field(
        "", description="regular expression; what it finds in a fake's name (brackets joined) names the counterpart"
    )
    group_pattern: Pattern = Field(
        "", description="regular expression; pictures in whose names it finds the same (a video) are one group"
    )


@dataclass(frozen=True, slots=True)
class _Found:
    """A picture found: ``method`` is None when real; ``key`` is the name of the real picture it would pair with."""

    method: str | None
    name: str
    file: Location
    key: str

    @property
    def id(self) -> str:
        return f"real/{self.name}" if self.method is None else f"fake/{self.method}/{self.name}"


class FolderDataset(ListedDataset):
    """Dataset ``folder``. Its samples are called ``real/NAME`` and ``fake/METHOD/NAME``.

    The statistical group is the name of the counterpart, so that pictures made from one another share it; with
    ``group_pattern`` all that share what it finds. Without pairs and pattern every picture is a group of its own.
    """

    Parameters = FolderParameters

    def __init__(self, parameters: FolderParameters) -> None:
        self.parameters = parameters

    def _list(self) -> Listing:
        root = existing_folder(self.parameters.path, "folder")
        problems: list[Problem] = []
        found = list(_find(root, self.parameters, problems))
        groups = _groups(found, self.parameters)
        masks = _masks(root, {f.method or "real" for f in found})
        reals = {f.name for f in found if f.method is None}
        landmarks = landmarks_below(root / "landmarks")
        entries = [self._entry(f, groups[f.id], masks, landmarks, reals) for f in found]
        pictures = {(f.method or "real", f.name) for f in found}
        problems += [
            Problem(relative_name(m, root), "mask of no picture") for k, m in masks.items() if k not in pictures
        ]
        return listing(entries, problems, root, root)

    def _entry(
        self,
        found: _Found,
        group: str,
        masks: Mapping[tuple[str, str], Location],
        landmarks: Mapping[str, Location],
        reals: set[str],
    ) -> Entry:
        paired = self.parameters.pairs and found.method is not None and found.key in reals
        mask = masks.get((found.method or "real", found.name))
        points = _landmarks(landmarks, found, shared=self.parameters.pairs and (found.method is None or paired))
        sample = Sample(
            id=found.id,
            label="real" if found.method is None else "fake",
            group=group,
            method=found.method,
            pair=f"real/{found.key}" if paired else None,
            has_mask=mask is not None,
            has_landmarks=points is not None,
            doubt=label_doubt(_own_folders(found), "real" if found.method is None else "fake"),
        )
        return Entry(sample, found.file, mask, points)


def _own_folders(found: _Found) -> list[str]:
    """The folders below ``real/`` or ``fake/``, which are the label themselves."""
    return [*([found.method] if found.method not in (None, _LOOSE) else []), *found.name.split("/")[:-1]]


def _find(root: Location, parameters: FolderParameters, problems: list[Problem]) -> Iterator[_Found]:
    for name, file in pictures_below(root / "real", root, problems):
        yield _Found(None, name, file, name)
    taken: dict[tuple[str, str], Location] = {}
    for path, file in pictures_below(root / "fake", root, problems):
        method, slash, name = path.partition("/")
        method, name = (method, name) if slash else (_LOOSE, path)
        if (method, name) in taken:
            other = relative_name(taken[method, name], root)
            problems.append(Problem(relative_name(file, root), f"has the same name as {other}"))
            continue
        taken[method, name] = file
        key = part_of(name, parameters.pair_pattern, "pair_pattern") if parameters.pair_pattern else name
        yield _Found(method, name, file, key)


def _groups(found: Iterable[_Found], parameters: FolderParameters) -> dict[str, str]:
    """The group of every sample id: what the pattern finds in its own name, joined over counterparts."""

    def own(name: str) -> str:
        return part_of(name, parameters.group_pattern, "group_pattern") if parameters.group_pattern else name

    found = list(found)
    if not parameters.pairs:
        return {f.id: own(f.name) if parameters.group_pattern else f.id for f in found}
    reals = {f.name for f in found if f.method is None}
    edges = {f.id: (own(f.name) if parameters.group_pattern else f.key, own(f.key) if f.key in reals else None)
             for f in found}  # fmt: skip
    component = connected_components((a, b or a) for a, b in edges.values())
    return {sample: component[a] for sample, (a, _) in edges.items()}


def _masks(root: Location, methods: set[str]) -> dict[tuple[str, str], Location]:
    """Masks by (method, name)."""
    masks: dict[tuple[str, str], Location] = {}
    for path, file in pictures_below(root / "masks", root, []):
        method, slash, name = path.partition("/")
        masks[(method, name) if slash and method in methods else (_LOOSE, path)] = file
    return masks


def _landmarks(files: Mapping[str, Location], found: _Found, shared: bool) -> Location | None:
    own = files.get(f"{found.method or 'real'}/{found.name}.csv")
    return own or (files.get(f"{found.key}.csv") if shared else None)
