"""Pixel flipping: how the score goes as pixels are flipped a few at a time, most salient first."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from xaibench.api import Curve, MapCase, Passes, PassQuery, Programme, Score, Scores, ScoreSpec
from xaibench_metrics.faithfulness.curves import (
    CONSTANT,
    RemovalFill,
    RemovalParameters,
    area,
    removal_background,
    replaced_probabilities,
    saliency_of,
    shown_image,
    trapezoid,
    with_clean,
)
from xaibench_perturbation import is_constant, pixel_ranks

FLIPPING = ScoreSpec(
    name="pixel-flipping",
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


def flip_counts(pixels: int, at_once: int) -> Tensor:
    """``(ceil(pixels / at_once),)`` int64: pixels flipped after each step; the last step may be shorter."""
    return torch.arange(at_once, pixels + at_once, at_once).clamp(max=pixels)


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
    [0, 1]. It is deletion with steps of a fixed size. Equal values go in the order of reading; a constant map is
    ``undefined``.

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
        return (replace(FLIPPING, high=1.0) if self.parameters.area == "normalised" else FLIPPING,)

    def score(self, case: MapCase) -> Programme[Scores]:
        saliency, p = saliency_of(case), self.parameters
        if is_constant(saliency):
            return Scores.undefined(self.scores, CONSTANT)
        background = yield from removal_background(case, p.fill, p.sigma)
        counts = flip_counts(saliency.numel(), p.pixels)
        changed = yield from replaced_probabilities(shown_image(case), background, pixel_ranks(saliency), counts)
        curve = with_clean(case, changed)[:, case.target]
        x = [0.0, *(counts.double() / saliency.numel()).tolist()]
        value = Score(name=FLIPPING.name, value=flipping_area(curve, counts, p.area))
        return Scores((value,), (Curve(name=FLIPPING.name, x=x, y=curve.tolist()),))

    def passes(self, query: PassQuery) -> Passes:
        """Exact for every map that orders pixels; a constant one costs nothing."""
        height, width = query.facts.input_size
        return Passes(forward=-(-height * width // self.parameters.pixels))
