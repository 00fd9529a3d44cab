"""HSIC: how strongly the score depends on whether a region is there."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from xaibench.api import ExplainRequest, Explanation, Passes, PassQuery, Programme
from xaibench_explainers.perturbation.regions import RegionParameters, Upsampling, painted, regions_of
from xaibench_perturbation import ScoreKind, balanced_members, extra_needs, refusal, stored_artefacts

Width = Literal["median-distance", "median-output"]
_ROWS = 512


class HsicParameters(RegionParameters):
    """Parameters of ``hsic``; 1,500 designs are the paper's, 750 its cheaper setting."""

    designs: int = Field(1500, ge=4, le=8192, description="masked pictures a sample")
    width: Width = Field(
        "median-distance", description="width of the output kernel: median difference of two scores, or median score"
    )
    upsampling: Upsampling = Field("nearest", description="from cells to pixels: what each pixel's cell has, or smooth")
    output: ScoreKind = Field("logit", description="score of the target")


def kernel_width(scores: Tensor, rule: Width) -> float:
    """Width of the output kernel for ``(N,)`` scores; 0 where it has none.

    ``median-distance``: the median of ``|y_i - y_j|`` over the pairs that differ. ``median-output``: ``|median y|``.
    """
    if rule == "median-output":
        return abs(float(scores.quantile(0.5)))
    distances = torch.pdist(scores.double()[:, None])
    distances = distances[distances > 0]
    return float(distances.median()) if len(distances) else 0.0


def hsic(members: Tensor, scores: Tensor, width: float) -> Tensor:
    """``(S,)`` float64: ``tr(K_j H L H) / (N - 1)^2``, never negative (Novello et al. 2022).

    ``members``: ``(N, S)`` of 0 and 1; ``scores``: ``(N,)``; ``H = I - 1/N``. ``L`` is Gaussian, ``exp(-(y - y')^2 /
    (2 width^2))``. The input kernel is the paper's, ``1 + 1/2`` for equal and ``1 - 1/2`` for unequal values: that is
    ``1 + t t' / 2`` with ``t = 2m - 1``, and H removes the 1, so that the trace is ``t_c' L t_c / 2`` with the centred
    ``t_c``. No ``N x N`` matrix is kept: L is made ``512`` rows at a time.
    """
    y = scores.double()
    centred = 2 * members.double()
    centred = centred - centred.mean(dim=0)
    total = torch.zeros(members.shape[1], dtype=torch.float64)
    for rows, t in zip(torch.split(y, _ROWS), torch.split(centred, _ROWS), strict=True):
        gram = torch.exp((rows[:, None] - y[None]).square() / (-2 * width**2))
        total += (t * (gram @ centred)).sum(dim=0)
    return total.clamp(min=0) / (2 * (len(y) - 1) ** 2)


class Hsic:
    """The Hilbert-Schmidt independence criterion of region and score (Novello, Fel, Vigouroux 2022). Unsigned.

    Each region is on in half of the designs (a Latin hypercube, as in the paper); the criterion is 0 where the score
    does not depend on the region, up to a bias of order 1/N that all regions share. It takes exactly ``designs``
    passes, whatever the number of regions.

    The default width is the usual median heuristic, which does not change when a constant is added to the score. The
    authors' code takes the median of the scores themselves (``width=median-output``), which is arbitrary for logits.
    xplique draws the designs from a Sobol sequence and divides by N instead of (N - 1)^2.
    """

    Parameters = HsicParameters

    def __init__(self, parameters: HsicParameters) -> None:
        self.parameters = parameters
        self.artefacts = stored_artefacts(parameters)
        self.needs = extra_needs(parameters)

    def explain(self, request: ExplainRequest) -> Programme[Explanation]:
        p = self.parameters
        regions = yield from regions_of(request, p)
        if isinstance(regions, Explanation):
            return regions
        members = balanced_members(p.designs, regions.count, request.streams.torch("designs"))
        scores = yield from regions.scores(request, members, p.output)
        if isinstance(scores, Explanation):
            return scores
        width = kernel_width(scores, p.width)
        if not width:
            return Explanation.none("the output kernel has no width: the median score is 0")
        index = hsic(members, scores, width)
        if not bool(index.any()):
            return Explanation.none("the score depends on no region")
        return painted(index, regions, p.upsampling)

    def passes(self, query: PassQuery) -> Passes:
        return Passes(forward=self.parameters.designs)

    def refuses(self, query: PassQuery) -> str:
        return refusal(self.parameters, query)
