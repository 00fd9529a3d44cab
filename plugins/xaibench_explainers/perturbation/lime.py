"""LIME: a ridge regression of the score on which segments are visible, nearer pictures weighing more."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor

from xaibench.api import ExplainRequest, Explanation, Passes, PassQuery, Programme
from xaibench_explainers.perturbation.regions import (
    SegmentSwitchParameters,
    every_coalition,
    known_count,
    painted,
    regions_of,
)
from xaibench_perturbation import AnyFill, ScoreKind, extra_needs, refusal, stored_artefacts


class LimeParameters(SegmentSwitchParameters):
    """Parameters of ``lime``; kernel, ridge and fill are those of the authors' ``lime_image``."""

    fill: AnyFill = Field("segment-mean", description="what replaces a segment that is off")
    samples: int = Field(2000, ge=2, description="changed pictures a sample (lime_image: 1000)")
    width: float = Field(0.25, gt=0, description="width of the kernel over cosine distances")
    alpha: float = Field(1.0, gt=0, description="weight of the ridge penalty; the intercept is not penalised")
    output: ScoreKind = Field("probability", description="what is regressed: the paper takes the probability")
    exhaustive: bool = Field(True, description="score every coalition once where there are no more than samples")


@dataclass(frozen=True, slots=True)
class Ridge:
    """``weights`` ``(..., S)``, ``intercept`` and weighted ``r2`` ``(...,)``, all float64."""

    weights: Tensor
    intercept: Tensor
    r2: Tensor


def lime_design(samples: int, count: int, generator: torch.Generator) -> Tensor:
    """``(samples, count)`` coalitions: all segments on, then each on or off by the toss of a coin."""
    members = torch.randint(0, 2, (samples, count), generator=generator).float()
    members[0] = 1
    return members


def lime_kernel(members: Tensor, width: float) -> Tensor:
    """``sqrt(exp(-d^2 / width^2))`` of ``(..., N, S)`` coalitions, ``(..., N)`` float64.

    d is the cosine distance to the picture itself, ``1 - sqrt(k / S)`` with k segments on; 1 with none.
    """
    distance = 1 - members.double().mean(dim=-1).sqrt()
    return (-0.5 * (distance / width) ** 2).exp()


def weighted_ridge(members: Tensor, scores: Tensor, kernel: Tensor, alpha: float) -> Ridge:
    """``min_{b, a} sum_i k_i (y_i - a - m_i . b)^2 + alpha |b|^2`` in closed form, float64.

    ``members``: ``(..., N, S)``; ``scores`` y and ``kernel`` k: ``(..., N)``. Solved by the normal equations of the
    centred data, S by S; ``alpha`` > 0 keeps them regular whatever the design.
    """
    x, y = members.double(), scores.double()
    share = (kernel / kernel.sum(dim=-1, keepdim=True)).double()
    x_mean, y_mean = (share[..., None] * x).sum(dim=-2), (share * y).sum(dim=-1)
    x, y = x - x_mean[..., None, :], y - y_mean[..., None]
    weighted = (kernel[..., None] * x).mT
    penalty = alpha * torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)
    weights = torch.linalg.solve(weighted @ x + penalty, (weighted @ y[..., None])[..., 0])
    residual = y - (x @ weights[..., None])[..., 0]
    r2 = 1 - (kernel * residual**2).sum(dim=-1) / (kernel * y**2).sum(dim=-1)
    return Ridge(weights, y_mean - (x_mean * weights).sum(dim=-1), r2)


class Lime:
    """LIME for pictures (Ribeiro, Singh, Guestrin 2016, algorithm 1, equations 1 and 2): signed weights of segments.

    Positive = the target's score is higher where the segment is visible. The map paints each weight on its segment;
    ``segment_weights`` holds them, ``details`` the weighted R2 of the fit (``r2``). Kernel, distance, ridge and design
    are ``lime_image``'s (the paper's text has a Euclidean distance and K-Lasso); segments are SLIC's or a grid's, not
    quickshift's. captum's LIME measures distance on pixels and fits a lasso to 25 samples; xplique's takes a Euclidean
    distance of width 45. Where all coalitions number no more than ``samples``, each is scored once and nothing is
    drawn: the weights are then those of the full design, and fewer pictures are scored. The penalty shrinks: on a
    score that is additive in the segments the weights come out smaller than the segments' own.

    No explanation where the picture is one segment or every changed picture has the same score.
    """

    Parameters = LimeParameters

    def __init__(self, parameters: LimeParameters) -> None:
        self.parameters = parameters
        self.artefacts = stored_artefacts(parameters)
        self.needs = extra_needs(parameters)

    def explain(self, request: ExplainRequest) -> Programme[Explanation]:
        p = self.parameters
        regions = yield from regions_of(request, p)
        if isinstance(regions, Explanation):
            return regions
        if self._lists_all(regions.count):
            members = every_coalition(regions.count)
        else:
            members = lime_design(p.samples, regions.count, request.streams.torch("coalitions"))
        scores = yield from regions.scores(request, members, p.output)
        if isinstance(scores, Explanation):
            return scores
        fit = weighted_ridge(members, scores, lime_kernel(members, p.width), p.alpha)
        return painted(fit.weights, regions, r2=float(fit.r2))

    def _lists_all(self, count: int) -> bool:
        return self.parameters.exhaustive and 1 << count <= self.parameters.samples

    def passes(self, query: PassQuery) -> Passes:
        """``samples``, or fewer where all coalitions are listed; known beforehand unless SLIC finds the segments."""
        p, count = self.parameters, known_count(self.parameters, query.facts)
        if count is None:
            return Passes(forward=p.samples, exact=not p.exhaustive)
        return Passes(forward=1 << count if self._lists_all(count) else p.samples)

    def refuses(self, query: PassQuery) -> str:
        return refusal(self.parameters, query)
