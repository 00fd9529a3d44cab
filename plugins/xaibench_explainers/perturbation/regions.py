"""What the explainers that switch regions off have in common: the regions, the scores, and painting an index on them.

Regions are the cells of a square grid, or segments of the picture (:class:`xaibench_perturbation.Coalitions`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Literal, Protocol

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from xaibench.contracts import ExplainRequest, Explanation, PassQuery, Programme
from xaibench_explainers.perturbation.on_segments import ONE_SEGMENT, known_count
from xaibench_perturbation import (
    CHUNK,
    Coalitions,
    ScoreKind,
    SegmentParameters,
    Switch,
    SwitchParameters,
    cell_labels,
    per_pixel,
    segments_of,
    switch_off,
    target_scores,
)

Upsampling = Literal["nearest", "bicubic"]
_ROUNDING = 4 * torch.finfo(torch.float32).eps


class RegionParameters(SwitchParameters, SegmentParameters):
    """Which regions are switched off, and what replaces them."""

    on: Literal["grid", "segments"] = Field("grid", description="regions: cells of a grid, or segments")
    cells: int = Field(8, ge=2, description="cells of the grid along a side")


@dataclass(frozen=True, slots=True)
class Regions:
    """``labels``: ``(H, W)`` int64; ``shape``: ``(cells, cells)`` of a grid, ``(S,)`` of segments."""

    labels: Tensor
    shape: tuple[int, ...]

    @property
    def count(self) -> int:
        return prod(self.shape)


@dataclass(frozen=True, slots=True)
class Probed:
    """What came of a design: ``members`` ``(N, S)`` float32 and ``scores`` ``(N,)`` float64, both on the CPU."""

    regions: Regions
    members: Tensor
    scores: Tensor
    details: Mapping[str, float]


class Design(Protocol):
    """Masks that are rendered in chunks."""

    def __len__(self) -> int: ...
    def render(self, start: int, stop: int) -> Tensor:
        """``(n, H, W)`` float32: 1 keeps a pixel, 0 switches it off."""


def most_regions(p: RegionParameters, query: PassQuery) -> tuple[int, bool]:
    """The number of regions of a picture, and whether it is exact: SLIC finds at most twice the segments wanted."""
    if p.on == "grid":
        return p.cells**2, True
    known = known_count(p, query.facts)
    return (2 * p.count, False) if known is None else (known, True)


def regions_of(request: ExplainRequest, p: RegionParameters) -> Programme[Regions | Explanation]:
    """The regions of a picture, or why they are of no use."""
    if p.on == "grid":
        height, width = request.picture.image.shape[1:]
        return Regions(cell_labels(p.cells, (height, width)), (p.cells, p.cells))
    labels = yield from segments_of(request.picture, p, request.artefacts)
    count = int(labels.max()) + 1
    if count == 1:
        return Explanation.none(ONE_SEGMENT)
    if p.segments == "slic" and count > 2 * p.count:  # the bound that passes() states
        return Explanation.none(f"SLIC found {count} segments, more than twice the {p.count} wanted")
    return Regions(labels, (count,))


def masked_scores(switch: Switch, design: Design, target: int, kind: ScoreKind) -> Programme[Tensor]:
    """``(N,)`` float32 scores of the masked pictures, ``CHUNK`` of them in memory at a time."""
    found = []
    for start in range(0, len(design), CHUNK):
        masks = design.render(start, start + CHUNK)
        found.append((yield from target_scores(switch(masks), target, kind)))
    return torch.cat(found)


def probe(
    request: ExplainRequest, p: RegionParameters, kind: ScoreKind, draw: Callable[[int], Tensor]
) -> Programme[Probed | Explanation]:
    """Score a design over the regions of a picture, or say why that tells nothing.

    ``draw(S)`` gives the ``(N, S)`` coalitions. ``fill=segment-mean`` is the mean colour of each region.
    """
    regions = yield from regions_of(request, p)
    if isinstance(regions, Explanation):
        return regions
    switch = yield from switch_off(request, p, regions.labels)
    if isinstance(switch, Explanation):
        return switch
    members = draw(regions.count)
    coalitions = Coalitions(members, regions.labels).to(request.detector.device)
    scores = yield from masked_scores(switch, coalitions, request.target, kind)
    reason = no_signal(scores)
    return Explanation.none(reason) if reason else Probed(regions, members, scores.double().cpu(), switch.details)


def no_signal(scores: Tensor) -> str:
    """Why ``(N,)`` float32 scores tell nothing: not finite, or equal but for rounding; empty where they do."""
    if not bool(scores.isfinite().all()):
        return "the detector's score of a changed picture is not finite"
    spread = float(scores.max()) - float(scores.min())
    if spread <= _ROUNDING * float(scores.abs().max()):
        return "no signal: the detector's score is the same whatever is switched off"
    return ""


def painted(
    weights: Tensor, regions: Regions, details: Mapping[str, float], upsampling: Upsampling = "nearest"
) -> Explanation:
    """``(S,)`` weights of regions as an explanation; ``bicubic`` interpolates a grid and lifts undershoots to 0."""
    weights = weights.float().cpu()
    if len(regions.shape) == 1:
        return Explanation(map=per_pixel(weights, regions.labels), segment_weights=weights, details=details)
    native = weights.view(regions.shape)
    saliency = per_pixel(weights, regions.labels)
    if upsampling == "bicubic":
        height, width = regions.labels.shape
        grid = F.interpolate(native[None, None], size=(height, width), mode="bicubic", align_corners=False)
        saliency = grid[0, 0].clamp(min=0)
    return Explanation(map=saliency, native_map=native, details=details)
