"""Regions of matched area at random places, and the pictures that they are put on."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import torch
from torch import Tensor

from xaibench.api import Sample, Streams


@dataclass(frozen=True, slots=True)
class Extent:
    """The size of a region: ``area`` as a share of the picture, in (0, 1], and ``aspect``, height over width in
    pixels."""

    area: float
    aspect: float


# ---- how large ------------------------------------------------------------------------------------------------------


def extent_of(mask: Tensor) -> Extent | None:
    """Area of an ``(H, W)`` bool mask and aspect of its bounding box; None where nothing is marked."""
    rows, columns = mask.any(dim=1).nonzero().flatten(), mask.any(dim=0).nonzero().flatten()
    if not len(rows):
        return None
    height, width = (int(at[-1] - at[0]) + 1 for at in (rows, columns))
    return Extent(int(mask.sum()) / mask.numel(), height / width)


def mean_extent(extents: Sequence[Extent]) -> Extent:
    """The mean area and the geometric mean of the aspects, whatever the order of ``extents``."""
    return Extent(fmean(e.area for e in extents), math.exp(fmean(math.log(e.aspect) for e in extents)))


def extents_of(
    chosen: Sequence[Sample], samples: Iterable[Sample], mask_of: Callable[[str], Tensor | None], area: float
) -> dict[str, Extent]:
    """The extent of the regions on each chosen picture, by the id of its sample.

    A fake takes that of its own mask, a real picture that of the mask of a fake that was made from it (of several the
    one of least id). Where there is none, it takes the mean of these masks; where no picture has a mask, a square of
    ``area``. ``mask_of`` decodes the mask of a sample by its id.
    """
    fake_of: dict[str, str] = {}
    for s in sorted(samples, key=lambda s: s.id):
        if s.label == "fake" and s.has_mask and s.pair:
            fake_of.setdefault(s.pair, s.id)
    sources = {s.id: fake_of.get(s.id) if s.label == "real" else s.id if s.has_mask else None for s in chosen}
    masks = {i: mask_of(i) for i in sorted({i for i in sources.values() if i is not None})}
    known = {i: e for i, m in masks.items() if m is not None and (e := extent_of(m)) is not None}
    otherwise = mean_extent(list(known.values())) if known else Extent(area, 1.0)
    return {s: known.get(source or "", otherwise) for s, source in sources.items()}


def region_size(extent: Extent, size: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of a rectangle of the extent within ``size`` pixels.

    ``h = round(sqrt(a r))`` rows for ``a`` pixels and aspect ``r``, as many as the picture has at most and at least
    what its width asks for; ``round(a / h)`` columns. So the area is that of the extent to within half a column.
    """
    height, width = size
    pixels = max(1, round(extent.area * height * width))
    rows = max(round(math.sqrt(pixels * extent.aspect)), math.ceil(pixels / width))
    rows = min(rows, height, pixels)
    return rows, min(width, round(pixels / rows))


# ---- where ----------------------------------------------------------------------------------------------------------


def random_regions(extent: Extent, size: tuple[int, int], count: int, streams: Streams) -> Tensor:
    """``(count, H, W)`` bool, True in a rectangle that lies anywhere within the picture, all places equally likely.

    Region i depends on ``streams`` and i alone: a larger count adds regions and moves none.
    """
    regions = torch.zeros((count, *size), dtype=torch.bool)
    rows, columns = region_size(extent, size)
    for i, region in enumerate(regions):
        down, across = streams.numpy(f"region {i}").random(2)
        top, left = int(down * (size[0] - rows + 1)), int(across * (size[1] - columns + 1))
        region[top : top + rows, left : left + columns] = True
    return regions


# ---- on which pictures ----------------------------------------------------------------------------------------------


def balanced_samples(samples: Iterable[Sample], most: int, streams: Streams) -> list[Sample]:
    """At most ``most`` of the samples, drawn at random, sorted by id; the order of ``samples`` changes nothing.

    Real and fake pictures are as many as each other, as far as there are enough. Of each label the groups take turns,
    and within a group the manipulation methods.
    """
    drawn = {s.id: streams.seed(f"picture {s.id}") for s in samples}
    real, fake = (_in_turn([s for s in samples if s.label == label], drawn, streams) for label in ("real", "fake"))
    reals = min(len(real), max(most - most // 2, most - len(fake)))
    return sorted([*real[:reals], *fake[: most - reals]], key=lambda s: s.id)


def _in_turn(samples: Sequence[Sample], drawn: Mapping[str, int], streams: Streams) -> list[Sample]:
    """The samples in random order, the groups in turn and the methods of each group in turn."""
    groups: dict[str, list[Sample]] = defaultdict(list)
    for s in sorted(samples, key=lambda s: (drawn[s.id], s.id)):
        groups[s.group].append(s)
    places = []
    for name, members in groups.items():
        own, seen = streams.seed(f"group {name}"), Counter[str | None]()
        turns = []
        for s in members:
            turns.append((seen[s.method], drawn[s.id], s))
            seen[s.method] += 1
        in_turn = sorted(turns, key=lambda t: t[:2])
        places += [(turn, own, name, s) for turn, (_, _, s) in enumerate(in_turn)]
    return [s for *_, s in sorted(places, key=lambda p: p[:3])]
