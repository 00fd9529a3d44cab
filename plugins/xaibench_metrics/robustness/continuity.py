"""Continuity: how far a map moves while the picture slides sideways."""

from __future__ import annotations

from dataclasses import replace

import torch
from pydantic import Field
from torch import Tensor

from xaibench.api import MapCase, Parameters, Passes, PassQuery, Programme, Score, Scores, ScoreSpec, View
from xaibench_metrics.robustness.sensitivity import STILL, ZERO
from xaibench_metrics.robustness.views import clean_map, distance, maps_of, shown

CONTINUITY = ScoreSpec(
    name="continuity",
    better="lower",
    low=0,
    why_not=STILL,
    description="largest change of the map under sideways shifts, over the change of the picture",
)


class ContinuityParameters(Parameters):
    """Parameters of ``continuity``."""

    steps: int = Field(8, ge=2, description="shifts from the left to the right, a map each")
    reach: float = Field(0.25, gt=0, le=1, description="largest shift, as a share of the width (Quantus: 1)")


def shift_offsets(width: int, steps: int, reach: float) -> tuple[int, ...]:
    """``-R + k d`` for k = 1 ... steps, ``R = round(reach * width)``, ``d = max(1, (2 R + 1) // steps)``; without 0
    and what lies beyond R. Never empty; at most ``steps``.

    With reach 1 and steps 28 these are Quantus's shifts, but for its shift by 0, which always contributes 0.
    """
    farthest = max(1, round(reach * width))
    step = max(1, (2 * farthest + 1) // steps)
    offsets = (k * step - farthest for k in range(1, steps + 1))
    return tuple(o for o in offsets if o != 0 and abs(o) <= farthest)


def shifted(image: Tensor, offset: int) -> Tensor:
    """``(..., H, W)`` moved ``offset`` pixels to the right (to the left if negative); the smallest value moves in."""
    width = image.shape[-1]
    kept = width - min(abs(offset), width)
    moved = image.amin().expand_as(image).clone() if image.dtype != torch.bool else torch.zeros_like(image)
    if offset >= 0:
        moved[..., width - kept :] = image[..., :kept]
    else:
        moved[..., :kept] = image[..., width - kept :]
    return moved


def shift_view(offset: int) -> View:
    """The picture, its mask and its landmarks moved sideways."""

    def apply(
        image: Tensor, mask: Tensor | None, landmarks: Tensor | None
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        points = None if landmarks is None else landmarks + landmarks.new_tensor([offset, 0])
        return shifted(image, offset), None if mask is None else shifted(mask, offset), points

    return View(f"shift x {offset:+d} fill minimum", apply)


def continuity(clean: Tensor, other: Tensor, picture: Tensor, moved: Tensor) -> float:
    """``|| |a| / max|a| - |a'| / max|a'| ||_1 / ||x - x'||_2`` for maps that are not zero and pictures that differ."""
    a, b = (m.double().abs() / m.double().abs().max() for m in (clean, other))
    return float((a - b).abs().sum()) / distance(picture, moved)


class Continuity:
    """Explanation continuity (Montavon, Samek, Mueller 2018) under sideways shifts, by the formula of Quantus 0.6.0.

    ``max_s ||a - a_s||_1 / ||x - x_s||_2`` over shifts s of the picture, what slides in filled with the picture's
    smallest value; every map is taken absolute and divided by its own largest value. In [0, inf), lower = steadier. It
    grows with the number of pixels, so compare detectors of one input size; and it does not undo the shift, so an
    explainer that follows the picture perfectly does not score 0, one that ignores it does. ``undefined`` where a map
    is zero or missing, or no shift changes the picture.

    Departures: shifts up to a quarter of the width (Quantus slides the picture out of sight), 8 of them (28), the shift
    by 0 left out, no 1e-9 in the divisor. Quantus 0.5.3 computed something else.
    """

    Parameters = ContinuityParameters
    scores = (CONTINUITY,)

    def __init__(self, parameters: ContinuityParameters) -> None:
        self.parameters = parameters

    def score(self, case: MapCase) -> Programme[Scores]:
        clean, image, found = clean_map(case), case.picture.image, []
        if not clean.any():
            return Scores.undefined(self.scores, ZERO)
        views = [shift_view(offset) for offset in self._offsets(image.shape[-1])]
        changed = [(view, moved) for view in views if not torch.equal(moved := shown(case, view), image)]
        maps = yield from maps_of(case, [view for view, _ in changed])
        for (_, moved), other in zip(changed, maps, strict=True):
            if isinstance(other, str):
                return Scores.undefined(self.scores, f"no map of the shifted picture: {other}")
            if not other.any():
                return Scores.undefined(self.scores, "the map of the shifted picture is zero everywhere")
            found.append(continuity(clean, other, image, moved))
        if not found:
            return Scores.undefined(self.scores, "no shift changes the picture")
        return Scores((Score(name=CONTINUITY.name, value=max(found)),))

    def _offsets(self, width: int) -> tuple[int, ...]:
        return shift_offsets(width, self.parameters.steps, self.parameters.reach)

    def passes(self, query: PassQuery) -> Passes:
        """A bound: a shift that leaves the picture as it was needs no map."""
        return replace(query.map.times(len(self._offsets(query.facts.input_size[1]))), exact=False)
