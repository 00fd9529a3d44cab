"""IROF: how the score goes as superpixels are replaced by the mean colour, most salient first."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from xaibench.api import Curve, MapCase, Passes, PassQuery, Programme, Score, Scores, ScoreSpec, to_device
from xaibench_metrics.faithfulness.curves import (
    removal_background,
    replaced_probabilities,
    saliency_of,
    shown_image,
    trapezoid,
    with_clean,
)
from xaibench_metrics.faithfulness.fill_response import fill_response
from xaibench_metrics.faithfulness.ties import TieParameters, in_tie_orders, tie_order, tie_passes, with_ties
from xaibench_perturbation import (
    SIGMA,
    SegmentParameters,
    fill_parameter,
    is_constant,
    per_segment_mean,
    pixel_ranks,
    segments_of,
    tied_share,
)

IROF = ScoreSpec(
    name="irof",
    output="probability",
    untouched="start",
    better="higher",
    high=1,
    ranks_evidence=True,
    description="area over the target's relative probability while segments are replaced, most salient first",
)

ONE_PIECE = "the picture is in one segment: there is no order"
ALIKE = "the map gives every segment the same: it orders none"
NOTHING = "the detector gives the target no probability: none can be lost"


class IrofParameters(SegmentParameters, TieParameters):
    """Parameters of ``irof``."""

    count: int = Field(100, ge=2, description="segments wanted; where there are more than twice as many, the last go")
    fill: Annotated[str, fill_parameter({"random"}, also=("current-mean",))] = Field(
        "mean", description="what a segment becomes; current-mean is that of the picture as changed so far"
    )
    sigma: float = Field(SIGMA, gt=0, le=1, description="blur of fill=blur, as a share of the shorter side")
    area: Literal["normalised", "quantus"] = Field(
        "normalised", description="over the share of segments, the start in; or Quantus's, a segment wide, without it"
    )


def segment_counts(segments: int, most: int) -> Tensor:
    """``(min(segments, most),)`` int64: segments replaced at each point, one more each time; the last takes the rest.

    SLIC finds about as many segments as were wanted, and nothing bounds it; ``most`` bounds the passes.
    """
    counts = torch.arange(1, min(segments, most) + 1)
    counts[-1] = segments
    return counts


def area_over(curve: Tensor, counts: Tensor, form: Literal["normalised", "quantus"]) -> float:
    """Area between 1 and a relative curve ``(n + 1,)``, at 0 and ``counts`` ``(n,)`` replaced segments.

    ``normalised``: over the share of segments, 0 to 1; at most 1, negative where the score rises. ``quantus``: ``L``
    minus trapezoids of width 1 over points 1 to L, so that a curve that stays at 1 gives 1, and it grows with L.
    """
    if form == "quantus":
        return len(counts) - trapezoid(torch.arange(len(counts)), curve[1:])
    shares = torch.cat([counts.new_zeros(1), counts]).double() / counts[-1]
    return min(1.0, 1 - trapezoid(shares, curve))


def current_means(image: Tensor, labels: Tensor, ranks: Tensor) -> Tensor:
    """``(3, H, W)``: each segment in the mean colour that the picture has when it is its turn.

    ``ranks``: ``(S,)``, the turn of each segment; those before are in their colours by then. Float64 within.
    """
    labels = labels.cpu()
    colours = per_segment_mean(image.cpu(), labels)
    shares = torch.bincount(labels.flatten()).double() / labels.numel()
    mean = image.double().mean(dim=(1, 2)).cpu()
    painted = torch.empty_like(colours)
    for segment in ranks.argsort().tolist():
        painted[:, segment] = mean
        mean = mean + shares[segment] * (mean - colours[:, segment])
    return to_device(painted.to(image.dtype)[:, labels], image.device)


class Irof:
    """IROF (Rieger & Hansen 2020): higher = the map finds what the score hangs on.

    Segments (SLIC, about 100), ordered by the mean of the map in them, take the picture's mean colour one after
    another: ``IROF = area between 1 and p_k / p_0`` over the share k / L of segments from 0 to 1, by trapezoids, of the
    target's probability; 1 at most, 0 for a score that stays, negative for one that rises. Segments of equal mean go in
    a random order, the same for all maps of a picture. ``undefined``: a map that gives every segment the same, a
    picture in one segment, and p_0 = 0. The curve is p_k / p_0.

    Departures: Quantus leaves k = 0 out, does not divide by L, fills with the mean of the picture as changed so far
    (``fill=current-mean,area=quantus`` gives its number for one channel and the same segments), refuses more than one
    channel, and its score changes with the batch: shorter curves are padded with zeros and the mean colour is taken
    over all pictures. Here a picture's score is its own. At most ``2 count`` points are taken.
    """

    Parameters = IrofParameters

    def __init__(self, parameters: IrofParameters) -> None:
        self.parameters = parameters

    @property
    def scores(self) -> tuple[ScoreSpec, ...]:
        spec = IROF if self.parameters.area == "normalised" else replace(IROF, high=float("inf"))
        return with_ties((spec,), self.parameters.ties)

    def score(self, case: MapCase) -> Programme[Scores]:
        saliency, p = saliency_of(case), self.parameters
        labels = yield from segments_of(case.picture, p, case.artefacts)
        means = per_segment_mean(saliency, labels)
        if is_constant(means):
            return Scores.undefined(self.scores, ONE_PIECE if len(means) == 1 else ALIKE)
        if float(case.clean[case.target]) == 0:
            return Scores.undefined(self.scores, NOTHING)
        counts = segment_counts(len(means), 2 * p.count)
        share = tied_share(means, counts.tolist(), labels.flatten().bincount())
        in_order = partial(self._in_order, case, labels, means, counts)
        scores = yield from in_tie_orders(self.scores, p.ties, share, in_order)
        return scores

    def _in_order(self, case: MapCase, labels: Tensor, means: Tensor, counts: Tensor, ties: int) -> Programme[Scores]:
        order = yield from tie_order(case, len(means), ties)
        ranks = pixel_ranks(means, order)
        background = yield from self._background(case, labels, ranks)
        changed = yield from replaced_probabilities(shown_image(case), background, ranks[labels], counts)
        curve = with_clean(case, changed)[:, case.target]
        curve = curve / curve[0]
        x = [0.0, *(counts.double() / len(means)).tolist()]
        value = Score(name=IROF.name, value=area_over(curve, counts, self.parameters.area))
        return Scores((value,), (Curve(name=IROF.name, x=x, y=curve.tolist()),))

    def _background(self, case: MapCase, labels: Tensor, ranks: Tensor) -> Programme[Tensor]:
        fill = self.parameters.fill
        if fill == "current-mean":
            return current_means(shown_image(case), labels, ranks)
        background = yield from removal_background(case, fill, self.parameters.sigma)
        return background

    def accompanied_by(self) -> tuple[str, ...]:
        """``current-mean`` starts as the mean: the first segments take the colour of the untouched picture."""
        p = self.parameters
        return fill_response("mean" if p.fill == "current-mean" else p.fill, p.sigma)

    def passes(self, query: PassQuery) -> Passes:
        """A bound: one for each segment, and how many there are shows when the picture is cut; three times as many
        where the map leaves the order of many open."""
        p = self.parameters
        return tie_passes(Passes(forward=2 * p.count, exact=False), p.ties, 2 * p.count, query)
