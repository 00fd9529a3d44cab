"""Kernel SHAP: Shapley values of segments by a weighted regression, or exactly where segments are few."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from xaibench.api import ExplainRequest, Explanation, Output, Passes, PassQuery, Programme
from xaibench_explainers.perturbation.regions import (
    Regions,
    SegmentSwitchParameters,
    every_coalition,
    known_count,
    painted,
    regions_of,
)
from xaibench_explainers.perturbation.shapley import constrained_shapley, exact_shapley, kernel_design
from xaibench_perturbation import AnyFill, extra_needs, refusal, stored_artefacts

STRONG_BLUR = 0.165
"""Blur that stands for "nothing here", as a share of the shorter side: the standard deviation of the 128 pixel box on a
224 pixel picture that shap's image examples use. A weak blur would leave evidence wider than itself in place."""


class KernelShapParameters(SegmentSwitchParameters):
    """Parameters of ``kernel-shap``."""

    fill: AnyFill = Field("blur", description="what replaces a segment that is off")
    sigma: float = Field(STRONG_BLUR, gt=0, le=1, description="blur of fill=blur, as a share of the shorter side")
    samples: int = Field(2048, ge=4, description="pictures scored, the picture itself and the empty one among them")
    output: Output = Field("logit", description="what is shared out: the logit, or the probability of the target")


class KernelShap:
    """Kernel SHAP (Lundberg and Lee 2017, theorem 2) with segments as players: signed, in units of the score.

    The game's value v(S) is the target's score with the segments of S visible and the others replaced (one baseline,
    so these are baseline Shapley values). The map paints each value, undivided, on its segment; ``segment_weights``
    holds them; their sum is exactly ``v(all) - v(none)``, given as ``change`` in the details. Up to ``2**S <= samples``
    the values are exact, from all coalitions. Beyond, coalitions come in complementary pairs, sizes listed from the
    ends or drawn by the Shapley kernel.

    The logit is shared out by default: it adds evidence up, and Lundberg and Lee judge maps by the change in log odds
    (figure 5); a saturated probability gives nearly everything to the interaction of all segments. Departures from
    ``shap.KernelExplainer``: nothing is selected by a lasso (its ``l1_reg`` keeps 10 features by default); draws come
    in pairs at the middle size too; a repeated draw is scored again rather than counted. captum's Kernel SHAP takes 25
    samples and holds the sum by a weight of 1e6. No explanation where the picture is one segment, every score is the
    same, or ``samples`` are too few to tell the segments apart.
    """

    Parameters = KernelShapParameters

    def __init__(self, parameters: KernelShapParameters) -> None:
        self.parameters = parameters
        self.artefacts = stored_artefacts(parameters)
        self.needs = extra_needs(parameters)

    def explain(self, request: ExplainRequest) -> Programme[Explanation]:
        regions = yield from regions_of(request, self.parameters)
        if isinstance(regions, Explanation):
            return regions
        values = yield from (self._all if self._lists_all(regions.count) else self._some)(request, regions)
        return values if isinstance(values, Explanation) else painted(values[0], regions, change=values[1])

    def _all(self, request: ExplainRequest, regions: Regions) -> Programme[tuple[Tensor, float] | Explanation]:
        scores = yield from regions.scores(request, every_coalition(regions.count), self.parameters.output)
        if isinstance(scores, Explanation):
            return scores
        return exact_shapley(scores, regions.count), float(scores[-1] - scores[0])

    def _some(self, request: ExplainRequest, regions: Regions) -> Programme[tuple[Tensor, float] | Explanation]:
        p = self.parameters
        design = kernel_design(p.samples - 2, regions.count, request.streams.torch("coalitions"))
        ends = torch.stack([torch.zeros(regions.count), torch.ones(regions.count)])
        scores = yield from regions.scores(request, torch.cat([ends, design.members]), p.output)
        if isinstance(scores, Explanation):
            return scores
        change = float(scores[1] - scores[0])
        values = constrained_shapley(design, scores[2:] - scores[0], change)
        if values is None:
            return Explanation.none(f"{p.samples} samples are too few to tell {regions.count} segments apart")
        return values, change

    def _lists_all(self, count: int) -> bool:
        return 1 << count <= self.parameters.samples

    def passes(self, query: PassQuery) -> Passes:
        """``samples`` (an even number), or all coalitions; known beforehand unless SLIC finds the segments."""
        count, even = known_count(self.parameters, query.facts), self.parameters.samples // 2 * 2
        if count is None:
            return Passes(forward=self.parameters.samples, exact=False)
        return Passes(forward=1 << count if self._lists_all(count) else even)

    def refuses(self, query: PassQuery) -> str:
        return refusal(self.parameters, query)
