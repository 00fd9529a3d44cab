"""Area between the curves of removing the least and the most salient pixels first."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from xaibench.api import Curve, MapCase, Passes, PassQuery, Programme, Score, Scores, ScoreSpec
from xaibench_metrics.faithfulness.curves import (
    CONSTANT,
    RemovalParameters,
    removal_background,
    saliency_of,
    shown_image,
    trapezoid,
)
from xaibench_metrics.faithfulness.removal import removal_curve
from xaibench_perturbation import is_constant, pixel_ranks

ABPC = ScoreSpec(
    name="abpc",
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
    go in the order of reading, the other way round for LeRF. A constant map is ``undefined``.

    Departures: pnpxai takes the mean over 10 points, both ends, where d is 0, included, and clips d at -1, which
    changes nothing for probabilities but does for the logits it may be given; no clipping here.
    """

    Parameters = AbpcParameters
    scores = (ABPC,)

    def __init__(self, parameters: AbpcParameters) -> None:
        self.parameters = parameters

    def score(self, case: MapCase) -> Programme[Scores]:
        saliency, p = saliency_of(case), self.parameters
        if is_constant(saliency):
            return Scores.undefined(self.scores, CONSTANT)
        ranks = pixel_ranks(saliency)
        background = yield from removal_background(case, p.fill, p.sigma)
        x, morf = yield from self._curve(case, background, ranks)
        _, lerf = yield from self._curve(case, background, ranks.numel() - 1 - ranks)
        value = Score(name=ABPC.name, value=trapezoid(x, lerf - morf))
        curves = (Curve(name=n, x=x.tolist(), y=y.tolist()) for n, y in (("morf", morf), ("lerf", lerf)))
        return Scores((value,), tuple(curves))

    def _curve(self, case: MapCase, background: Tensor, ranks: Tensor) -> Programme[tuple[Tensor, Tensor]]:
        return removal_curve(
            shown_image(case),
            background,
            ranks,
            target=case.target,
            clean=float(case.clean[case.target]),
            steps=self.parameters.steps,
            direction="delete",
        )

    def passes(self, query: PassQuery) -> Passes:
        """Exact for every map that orders pixels; a constant one costs nothing."""
        return Passes(forward=2 * self.parameters.steps)
