"""Area between the curves of removing the least and the most salient pixels first."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from pydantic import Field

from xaibench.api import Curve, MapCase, Passes, PassQuery, Programme, Score, Scores, ScoreSpec
from xaibench_metrics.faithfulness.curves import RemovalParameters, saliency_of, trapezoid
from xaibench_metrics.faithfulness.fill_response import fill_response
from xaibench_metrics.faithfulness.removal_curves import (
    Order,
    Removal,
    deletion,
    pixels_of,
    removal_scores,
    shared_passes,
    target_curve,
)
from xaibench_metrics.faithfulness.ties import tie_passes, with_ties

ABPC = ScoreSpec(
    name="abpc",
    output="probability",
    untouched="start",
    better="higher",
    low=-1,
    high=1,
    ranks_evidence=True,
    description="area between the target's probability with the least and with the most salient pixels removed first",
)


class AbpcParameters(RemovalParameters):
    """Parameters of ``abpc``."""

    steps: int = Field(20, ge=1, description="equal steps from the picture to the fill")


class Abpc:
    """Area between perturbation curves (degradation of Schulz et al. 2020; pnpxai's AbPC): higher = better ordered.

    ``sum_t (x_{t+1} - x_t)(d_t + d_{t+1}) / 2`` with x the share of pixels removed and ``d = LeRF - MoRF``, the
    target's probability with the least salient pixels removed first minus that with the most salient; in [-1, 1], and
    0 for the mean of an order and its reverse. What the fill does to every picture alike cancels. Pixels of equal value
    go in a random order, the same for all maps of a picture, and the other way round for LeRF. A constant map is
    ``undefined``.

    Departures: pnpxai takes the mean over 10 points, both ends, where d is 0, included, and clips d at -1, which
    changes nothing for probabilities but does for the logits it may be given; no clipping here.
    """

    Parameters = AbpcParameters

    def __init__(self, parameters: AbpcParameters) -> None:
        self.parameters = parameters

    @property
    def scores(self) -> tuple[ScoreSpec, ...]:
        return with_ties((ABPC,), self.parameters.ties)

    def score(self, case: MapCase) -> Programme[Scores]:
        pixels = saliency_of(case).numel()
        removals = (self._removal("most", pixels), self._removal("least", pixels))
        in_order = partial(self._in_order, case, *removals)
        return removal_scores(case, self.scores, self.parameters.ties, removals, in_order)

    def _in_order(self, case: MapCase, most: Removal, least: Removal, ties: int) -> Programme[Scores]:
        x, morf = yield from target_curve(case, most, ties)
        _, lerf = yield from target_curve(case, least, ties)
        value = Score(name=ABPC.name, value=trapezoid(x, lerf - morf))
        curves = (Curve(name=n, x=x.tolist(), y=y.tolist()) for n, y in (("morf", morf), ("lerf", lerf)))
        return Scores((value,), tuple(curves))

    def _removal(self, order: Order, pixels: int) -> Removal:
        p = self.parameters
        return deletion(pixels, p.steps, p.fill, p.sigma, order)

    def accompanied_by(self) -> tuple[str, ...]:
        return fill_response(self.parameters.fill, self.parameters.sigma)

    def passes(self, query: PassQuery) -> Passes:
        """A bound: a map with many ties is removed in three orders of them, and a constant one not at all."""
        p = self.parameters
        return tie_passes(Passes(forward=2 * p.steps), p.ties, p.steps, query)

    def shared(self, query: PassQuery) -> Mapping[str, Passes]:
        pixels = pixels_of(query)
        removals = [self._removal("most", pixels), self._removal("least", pixels)]
        return shared_passes(removals, self.parameters.ties, query)
