"""Which regions of a picture are attacked: those that a map puts first, and random ones of the same area."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from xaibench.api import Artefacts, Picture, Product, Programme, Streams
from xaibench_perturbation import Segments, is_constant, per_segment_mean

Segmentation = Literal["slic-50", "slic-80", "slic-100", "grid-7"]
CELLS: Mapping[Segmentation, int] = {"slic-50": 75, "slic-80": 120, "slic-100": 150, "grid-7": 64}
"""Most segments of each segmentation: SLIC gives about as many as it is asked for, a shifted grid one more a side."""
EVEN = "the map is constant: it puts no segment first"
AREA_BIN = 1.05
"""Areas within 5 % share their random regions, so that these are attacked once for all explainers."""


def segmentation_of(
    picture: Picture, segmentation: Segmentation, artefacts: Artefacts, streams: Streams
) -> Programme[Tensor]:
    """``(H, W)`` int64 labels, 0 to S - 1, on the CPU.

    ``grid-7`` is a grid of cells a seventh of each side, shifted by an offset drawn from ``streams``: a segmentation
    that no explainer used.
    """
    if segmentation == "grid-7":
        return shifted_grid(picture.image.shape[1], picture.image.shape[2], 7, streams)
    made: Product = yield from artefacts.get(Segments("slic", int(segmentation.partition("-")[2])), picture)
    return made.tensors["labels"]


def shifted_grid(height: int, width: int, cells: int, streams: Streams) -> Tensor:
    """``(H, W)`` int64: ``cells`` a side, moved by an offset of less than a cell; cut cells at the border are cells."""
    generator = streams.torch(f"offset of grid-{cells}")
    lines = []
    for side in (height, width):
        step = math.ceil(side / cells)
        offset = int(torch.randint(step, (1,), generator=generator))
        lines.append((torch.arange(side) + offset) // step)
    labels = lines[0][:, None] * (int(lines[1].max()) + 1) + lines[1][None]
    dense: Tensor = torch.unique(labels, return_inverse=True)[1]
    return dense


def ranked_segments(saliency: Tensor, labels: Tensor) -> Tensor:
    """Segments by mean saliency, highest first, ``(S,)`` int64; equal ones by number (Tsigos et al. 2024)."""
    return torch.argsort(per_segment_mean(saliency.cpu(), labels), descending=True, stable=True)


def first_segments(saliency: Tensor, labels: Tensor, k: int) -> Tensor | str:
    """The k segments that a map puts first, ``(k,)`` int64, or why it puts none first."""
    order = ranked_segments(saliency, labels)
    if k >= len(order):
        return too_few(len(order), k)
    return EVEN if is_constant(saliency) else order[:k]


def too_many(labels: Tensor, segmentation: Segmentation) -> str:
    """Why every segment cannot be attacked by itself; empty where it can."""
    pieces = int(labels.max()) + 1
    return f"{segmentation} cut the picture into {pieces} pieces, too many to attack" * (pieces > CELLS[segmentation])


def too_few(segments: int, wanted: int) -> str:
    """Why there is no choice of segments."""
    return f"the picture is cut into {segments}, so {wanted} of them are no choice"


def region_of(labels: Tensor, segments: Tensor) -> Tensor:
    """``(H, W)`` bool: the pixels of these segments."""
    return torch.isin(labels, segments)


def area_bin(pixels: int) -> int:
    """A number of pixels within 2.5 % that stands for areas near ``pixels``."""
    return round(AREA_BIN ** round(math.log(pixels, AREA_BIN)))


def random_regions(labels: Tensor, pixels: int, draws: int, streams: Streams) -> list[Tensor]:
    """``draws`` regions of about ``pixels`` pixels, ``(H, W)`` bool each: random segments, the last one cut to fit.

    They depend on segmentation and area alone, never on the map that they stand beside. The last segment is cut along
    its rows, at the end where it touches what is chosen already or not, as it comes.
    """
    areas = torch.bincount(labels.flatten())
    regions = []
    for draw in range(draws):
        order = torch.randperm(len(areas), generator=streams.torch(f"region {len(areas)} {pixels} {draw}"))
        whole = int((areas[order].cumsum(0) <= pixels).sum())
        region = region_of(labels, order[:whole])
        missing = pixels - int(region.sum())
        if missing > 0 and whole < len(order):
            last = (labels.flatten() == order[whole]).nonzero()[:missing, 0]
            region.view(-1)[last] = True
        regions.append(region)
    return regions
