"""Pixel flipping: how the score goes as pixels are flipped a few at a time, most salient first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache, partial
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from xaibench.api import Curve, MapCase, Passes, PassQuery, Programme, Score, Scores, ScoreSpec
from xaibench_metrics.faithfulness.curves import (
    RemovalFill,
    RemovalParameters,
    area,
    saliency_of,
    trapezoid,
)
from xaibench_metrics.faithfulness.fill_response import fill_response
from xaibench_metrics.faithfulness.removal_curves import Removal, pixels_of, removal_scores, shared_passes, target_curve
from xaibench_metrics.faithfulness.ties import tie_passes, with_ties

FLIPPING = ScoreSpec(
    name="pixel-flipping",
    output="probability",
    untouched="start",
    better="lower",
    low=0,
    ranks_evidence=True,
    description="area under the target's probability while pixels are flipped, most salient first",
)


class FlippingParameters(RemovalParameters):
    """Parameters of ``pixel-flipping``."""

    fill: RemovalFill = Field("minimum", description="what a flipped pixel becomes")
    pixels: int = Field(256, ge=1, description="pixels flipped in each step; the paper flips 1")
    area: Literal["normalised", "quantus"] = Field(
        "normalised", description="over the share flipped, both ends in; or Quantus's, a step wide, without the start"
    )


@lru_cache(maxsize=64)
def flip_counts(pixels: int, at_once: int) -> tuple[int, ...]:
    """``ceil(pixels / at_once)`` numbers of pixels flipped after each step; the last step may be shorter."""
    return (*range(at_once, pixels, at_once), pixels)


def flipping_area(curve: Tensor, counts: Tensor, form: Literal["normalised", "quantus"]) -> float:
    """Area under ``curve`` ``(n + 1,)``, the untouched picture first, at 0 and ``counts`` ``(n,)`` flipped pixels.

    ``normalised``: trapezoids over the share of pixels, in [0, 1]. ``quantus``: trapezoids of width 1 without the first
    point, in [0, n - 1]; nothing (0) where there is one step.
    """
    if form == "quantus":
        return trapezoid(torch.arange(len(counts)), curve[1:])
    shares = torch.cat([counts.new_zeros(1), counts]).double() / counts[-1]
    return area(shares, curve)


class PixelFlipping:
    """Pixel flipping (Bach et al. 2015, "Pixel-wise evaluation"): lower = flipping finds what the score hangs on.

    Pixels change to ``fill`` in descending order of the map, ``pixels`` at a time, all channels together and never
    back; the curve holds P(target) at each share of pixels, 0 and 1 included, and the score is the area under it, in
    [0, 1]. It is deletion with steps of a fixed size. Equal values go in a random order, the same for all maps of a
    picture; a constant map is ``undefined``.

    Departures: the paper flips one pixel at a time on two-valued pictures; a picture of 224 pixels a side would take
    50176 passes, so 256 go at once. Quantus's curve leaves the untouched picture out and its area has steps of width 1,
    so that it grows with the picture: ``pixels=1,area=quantus`` reproduces both, the fill included, for one channel;
    of several channels it orders and flips every value by itself.
    """

    Parameters = FlippingParameters

    def __init__(self, parameters: FlippingParameters) -> None:
        self.parameters = parameters

    @property
    def scores(self) -> tuple[ScoreSpec, ...]:
        spec = replace(FLIPPING, high=1.0) if self.parameters.area == "normalised" else FLIPPING
        return with_ties((spec,), self.parameters.ties)

    def score(self, case: MapCase) -> Programme[Scores]:
        removal = self._removal(saliency_of(case).numel())
        in_order = partial(self._in_order, case, removal)
        return removal_scores(case, self.scores, self.parameters.ties, [removal], in_order)

    def _in_order(self, case: MapCase, removal: Removal, ties: int) -> Programme[Scores]:
        x, curve = yield from target_curve(case, removal, ties)
        area_under = flipping_area(curve, torch.tensor(removal.counts), self.parameters.area)
        value = Score(name=FLIPPING.name, value=area_under)
        return Scores((value,), (Curve(name=FLIPPING.name, x=x.tolist(), y=curve.tolist()),))

    def _removal(self, pixels: int) -> Removal:
        p = self.parameters
        return Removal("most", p.fill, p.sigma, flip_counts(pixels, p.pixels))

    def accompanied_by(self) -> tuple[str, ...]:
        return fill_response(self.parameters.fill, self.parameters.sigma)

    def passes(self, query: PassQuery) -> Passes:
        """A bound: a map with many ties is removed in three orders of them, and a constant one not at all."""
        steps = -(-pixels_of(query) // self.parameters.pixels)
        return tie_passes(Passes(forward=steps), self.parameters.ties, steps, query)

    def shared(self, query: PassQuery) -> Mapping[str, Passes]:
        return shared_passes([self._removal(pixels_of(query))], self.parameters.ties, query)
