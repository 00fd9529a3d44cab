"""What explainers that switch whole segments on and off share: the segments, the switch, the scores of a design."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from xaibench.contracts import ExplainRequest, Explanation, Facts, Programme
from xaibench_perturbation import (
    CHUNK,
    Coalitions,
    ScoreKind,
    SegmentParameters,
    Switch,
    SwitchParameters,
    grid_segments,
    segments_of,
    switch_off,
    target_scores,
)

_ROUNDING = 4 * torch.finfo(torch.float32).eps
ONE_SEGMENT = "the picture is a single segment: there is nothing to compare"


class SegmentSwitchParameters(SegmentParameters, SwitchParameters):
    """How a picture is cut into segments and what replaces a segment that is off."""


@dataclass(frozen=True, slots=True)
class Segmented:
    """A picture whose segments can be switched off. ``labels``: ``(H, W)`` int64 from 0 to ``count`` - 1, CPU."""

    labels: Tensor
    count: int
    switch: Switch

    def scores(self, request: ExplainRequest, members: Tensor, output: ScoreKind) -> Programme[Tensor]:
        """Scores of the target for ``(N, S)`` coalitions, ``CHUNK`` pictures at a time: ``(N,)`` float64, CPU."""
        design = Coalitions(members, self.labels).to(request.detector.device)
        parts = []
        for start in range(0, len(design), CHUNK):
            images = self.switch(design.render(start, start + CHUNK))
            scores = yield from target_scores(images, request.target, output)
            parts.append(scores)
        return torch.cat(parts).cpu().double()


def segmented(request: ExplainRequest, parameters: SegmentSwitchParameters) -> Programme[Segmented | Explanation]:
    """The segments of a picture and their switch, or an explanation that says why there is none."""
    labels = yield from segments_of(request.picture, parameters, request.artefacts)
    count = int(labels.max()) + 1
    if count == 1:
        return Explanation.none(ONE_SEGMENT)
    switch = yield from switch_off(request, parameters, labels)
    return switch if isinstance(switch, Explanation) else Segmented(labels, count, switch)


def known_count(parameters: SegmentParameters, facts: Facts) -> int | None:
    """Segments of every picture, as far as the parameters tell: SLIC finds its own number in each."""
    if parameters.segments != "grid":
        return None
    height, width = facts.input_size
    return int(grid_segments(height, width, parameters.count).max()) + 1


def every_coalition(count: int) -> Tensor:
    """All ``2 ** count`` coalitions, ``(2 ** count, count)`` float32; row i is i in binary, least significant first."""
    return (torch.arange(2**count)[:, None] >> torch.arange(count) & 1).float()


def unusable(scores: Tensor) -> str:
    """Why ``(N,)`` scores say nothing: not finite, or equal but for float32's rounding; empty where they do."""
    if not scores.isfinite().all():
        return "the score of a changed picture is not finite"
    spread, size = float(scores.max() - scores.min()), float(scores.abs().max())
    return "" if spread > _ROUNDING * size else "the score is the same whatever is switched off"
