"""IROF: how the score goes as superpixels are replaced by the mean colour, most salient first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from xaibench.api import Curve, MapCase, Passes, PassQuery, Programme, Score, Scores, ScoreSpec
from xaibench_metrics.faithfulness.curves import trapezoid, with_clean
from xaibench_metrics.faithfulness.segment_removal import (
    SegmentOrder,
    SegmentRemovalParameters,
    segment_order,
    segment_probabilities,
)
from xaibench_metrics.faithfulness.ties import in_tie_orders, with_ties

IROF = ScoreSpec(
    name="irof",
    output="probability",
    untouched="start",
    better="higher",
    high=1,
    ranks_evidence=True,
    description="area over the target's relative probability while segments are replaced, most salient first",
)

NOTHING = "the detector gives the target no probability: none can be lost"


class IrofParameters(SegmentRemovalParameters):
    """Parameters of ``irof``."""

    area: Literal["normalised", "quantus"] = Field(
        "normalised", description="over the share of segments, the start in; or Quantus's, a segment wide, without it"
    )


def area_over(curve: Tensor, counts: Tensor, form: Literal["normalised", "quantus"]) -> float:
    """Area between 1 and a relative curve ``(n + 1,)``, at 0 and ``counts`` ``(n,)`` replaced segments.

    ``normalised``: over the share of segments, 0 to 1; at most 1, negative where the score rises. ``quantus``: ``L``
    minus trapezoids of width 1 over points 1 to L, so that a curve that stays at 1 gives 1, and it grows with L.
    """
    if form == "quantus":
        return len(counts) - trapezoid(torch.arange(len(counts)), curve[1:])
    shares = torch.cat([counts.new_zeros(1), counts]).double() / counts[-1]
    return min(1.0, 1 - trapezoid(shares, curve))


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
        order = yield from segment_order(case, self.parameters)
        if order.reason:
            return Scores.undefined(self.scores, order.reason)
        if float(case.clean[case.target]) == 0:
            return Scores.undefined(self.scores, NOTHING)
        in_order = partial(self._in_order, case, order)
        scores = yield from in_tie_orders(self.scores, self.parameters.ties, order.tied_share, in_order)
        return scores

    def _in_order(self, case: MapCase, order: SegmentOrder, ties: int) -> Programme[Scores]:
        changed = yield from segment_probabilities(case, self.parameters, order, ties)
        curve = with_clean(case, changed)[:, case.target]
        curve = curve / curve[0]
        value = Score(name=IROF.name, value=area_over(curve, order.counts, self.parameters.area))
        return Scores((value,), (Curve(name=IROF.name, x=order.shares, y=curve.tolist()),))

    def accompanied_by(self) -> tuple[str, ...]:
        return self.parameters.accompanied_by()

    def passes(self, query: PassQuery) -> Passes:
        return self.parameters.passes(query)

    def shared(self, query: PassQuery) -> Mapping[str, Passes]:
        return self.parameters.shared(query)
