"""What the explainers that switch regions off have in common: the regions, the scores, and painting weights on them.

Regions are the cells of a square grid, or segments of the picture (:class:`xaibench_perturbation.Coalitions`).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Literal, Protocol

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from xaibench.api import ExplainRequest, Explanation, Facts, Programme
from xaibench_perturbation import (
    CHUNK,
    Coalitions,
    ScoreKind,
    SegmentParameters,
    Switch,
    SwitchParameters,
    cell_labels,
    grid_segments,
    per_pixel,
    segments_of,
    switch_off,
    target_scores,
)

Upsampling = Literal["nearest", "bicubic"]
_ROUNDING = 4 * torch.finfo(torch.float32).eps


class SegmentSwitchParameters(SegmentParameters, SwitchParameters):
    """How a picture is cut into segments and what replaces a segment that is off."""


class RegionParameters(SegmentSwitchParameters):
    """Which regions are switched off, and what replaces them."""

    on: Literal["grid", "segments"] = Field("grid", description="regions: cells of a grid, or segments")
    cells: int = Field(8, ge=2, description="cells of the grid along a side")


class Design(Protocol):
    """Masks that are rendered in chunks."""

    def __len__(self) -> int: ...
    def render(self, start: int, stop: int) -> Tensor:
        """``(n, H, W)`` float32: 1 keeps a pixel, 0 switches it off."""


@dataclass(frozen=True, slots=True)
class Regions:
    """A picture whose regions can be switched off.

    ``labels``: ``(H, W)`` int64, CPU; ``shape``: ``(cells, cells)`` of a grid, ``(S,)`` of segments.
    """

    labels: Tensor
    shape: tuple[int, ...]
    switch: Switch

    @property
    def count(self) -> int:
        return prod(self.shape)

    def scores(self, request: ExplainRequest, members: Tensor, kind: ScoreKind) -> Programme[Tensor | Explanation]:
        """Scores of the target for ``(N, S)`` coalitions, ``(N,)`` float64, CPU, or why they tell nothing."""
        design = Coalitions(members, self.labels).to(request.detector.device)
        scores = yield from masked_scores(self.switch, design, request.target, kind)
        reason = no_signal(scores)
        return Explanation.none(reason) if reason else scores.cpu().double()


def regions_of(request: ExplainRequest, p: SegmentSwitchParameters) -> Programme[Regions | Explanation]:
    """The regions of a picture and their switch, or an explanation that says why there is none.

    ``fill=segment-mean`` is the mean colour of each region.
    """
    labels, shape = yield from _cut(request, p)
    if shape == (1,):
        return Explanation.none("the picture is a single segment: there is nothing to compare")
    switch = yield from switch_off(request, p, labels)
    return switch if isinstance(switch, Explanation) else Regions(labels, shape, switch)


def _cut(request: ExplainRequest, p: SegmentSwitchParameters) -> Programme[tuple[Tensor, tuple[int, ...]]]:
    if isinstance(p, RegionParameters) and p.on == "grid":
        height, width = request.picture.image.shape[1:]
        return cell_labels(p.cells, (height, width)), (p.cells, p.cells)
    labels = yield from segments_of(request.picture, p, request.artefacts)
    return labels, (int(labels.max()) + 1,)


def known_count(p: SegmentSwitchParameters, facts: Facts) -> int | None:
    """Regions of every picture, as far as the parameters tell: SLIC finds its own number in each."""
    if isinstance(p, RegionParameters) and p.on == "grid":
        return p.cells**2
    height, width = facts.input_size
    return int(grid_segments(height, width, p.count).max()) + 1 if p.segments == "grid" else None


def every_coalition(count: int) -> Tensor:
    """All ``2 ** count`` coalitions, ``(2 ** count, count)`` float32; row i is i in binary, least significant first."""
    return (torch.arange(2**count)[:, None] >> torch.arange(count) & 1).float()


def masked_scores(switch: Switch, design: Design, target: int, kind: ScoreKind) -> Programme[Tensor]:
    """``(N,)`` float32 scores of the masked pictures, ``CHUNK`` of them in memory at a time."""
    found = []
    for start in range(0, len(design), CHUNK):
        masks = design.render(start, start + CHUNK)
        found.append((yield from target_scores(switch(masks), target, kind)))
    return torch.cat(found)


def no_signal(scores: Tensor) -> str:
    """Why ``(N,)`` scores of changed pictures tell nothing; empty where they do.

    They are not finite, or do not react: they differ by at most four float32 roundings of the largest magnitude. What
    would be drawn of such scores is the design's own noise.
    """
    scores = scores.cpu()
    if not bool(scores.isfinite().all()):
        return "the detector's score of a changed picture is not finite"
    spread = float(scores.max()) - float(scores.min())
    if spread <= _ROUNDING * float(scores.abs().max()):
        return "no signal: the detector's score is the same whatever is switched off"
    return ""


def painted(weights: Tensor, regions: Regions, upsampling: Upsampling = "nearest", **details: float) -> Explanation:
    """``(S,)`` weights of regions as an explanation; ``bicubic`` interpolates a grid and lifts undershoots to 0.

    ``details`` come beside those of the switch.
    """
    weights, told = weights.float().cpu(), {**regions.switch.details, **details}
    saliency = per_pixel(weights, regions.labels)
    if len(regions.shape) == 1:
        return Explanation(map=saliency, segment_weights=weights, details=told)
    native = weights.view(regions.shape)
    if upsampling == "bicubic":
        height, width = regions.labels.shape
        grid = F.interpolate(native[None, None], size=(height, width), mode="bicubic", align_corners=False)
        saliency = grid[0, 0].clamp(min=0)
    return Explanation(map=saliency, native_map=native, details=told)
