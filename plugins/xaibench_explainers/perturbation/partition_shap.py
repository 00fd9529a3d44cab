"""Partition SHAP: Shapley values along a tree of halves of the picture, spent where the score changes most."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from xaibench.api import FILL_NEEDS, ExplainRequest, Explanation, Output, Passes, PassQuery, Programme, to_device
from xaibench_explainers.perturbation.kernel_shap import STRONG_BLUR
from xaibench_explainers.perturbation.partition import evaluations, owen_values
from xaibench_explainers.perturbation.regions import no_signal
from xaibench_perturbation import (
    Switch,
    SwitchParameters,
    extra_needs,
    fill_parameter,
    random_fill,
    refusal,
    stored_artefacts,
    switch_off,
)


class PartitionShapParameters(SwitchParameters):
    """Parameters of ``partition-shap``."""

    fill: Annotated[str, fill_parameter(FILL_NEEDS - {"segments"})] = Field(
        "blur", description="what replaces the parts that are off"
    )
    sigma: float = Field(STRONG_BLUR, gt=0, le=1, description="blur of fill=blur, as a share of the shorter side")
    box: int = Field(0, ge=0, description="fill=blur: pixels of a box blur in place of the Gaussian; 0: Gaussian")
    evals: int = Field(2000, ge=4, description="most pictures scored, the picture and the empty one among them")
    batch: int = Field(64, ge=2, description="pictures scored before the next parts to halve are chosen (shap: 50)")
    output: Output = Field("logit", description="what is shared out: the logit, or the probability of the target")


def box_blur(image: Tensor, side: int) -> Tensor:
    """Mean of ``side x side`` pixels around each of ``(..., H, W)``, mirrored at the border without repeating it.

    Equal to ``cv2.blur`` with its default border, which is what shap's ``blur(k, k)`` calls; an even box reaches one
    pixel further up and left.
    """
    height, width = image.shape[-2:]
    rows, columns = (to_device(_box_matrix(n, side).to(image.dtype), image.device) for n in (height, width))
    return rows @ image @ columns.T


def _box_matrix(n: int, side: int) -> Tensor:
    """``(n, n)`` matrix of the one-dimensional box blur; rows sum to 1."""
    period = max(1, 2 * (n - 1))
    at = torch.arange(n)[:, None] + torch.arange(side) - side // 2
    mirrored = (at + n - 1) % period - (n - 1)
    ones = torch.full(at.shape, 1 / side, dtype=torch.float64)
    return torch.zeros(n, n, dtype=torch.float64).scatter_add_(1, mirrored.abs(), ones)


class PartitionShap:
    """Partition SHAP on pictures: Owen values of ``shap.PartitionExplainer`` with its ``Image`` masker. Signed.

    The picture is halved across its longer side down to pixels; a part's value is shared between its halves as Shapley
    shares it between two players, in the contexts that the parts above it come in (Owen 1977; Lundberg's shap). The
    budget goes where the share is largest; parts that it leaves whole share equally among their pixels, so the map is
    in units of score a pixel and sums to ``f(x) - f(background)`` (``change`` in the details).

    Departures from shap: colours are never split, so the map is the sum of shap's over channels; ties are not broken
    at random; an odd budget is not overdrawn by one; a Gaussian blurs unless ``box`` is given. The logit is shared out
    by default, for the reasons given at Kernel SHAP. No explanation where no part that was looked at
    changes the score.
    """

    Parameters = PartitionShapParameters

    def __init__(self, parameters: PartitionShapParameters) -> None:
        self.parameters = parameters
        self.artefacts = stored_artefacts(parameters)
        self.needs = extra_needs(parameters)
        self.stochastic = random_fill(parameters)

    def explain(self, request: ExplainRequest) -> Programme[Explanation]:
        p = self.parameters
        switch = yield from self._switch(request)
        if isinstance(switch, Explanation):
            return switch
        values, scores = yield from owen_values(switch, request.target, evals=p.evals, batch=p.batch, output=p.output)
        if reason := no_signal(scores):
            return Explanation.none(reason)
        return Explanation(map=values.float(), details={**switch.details, "change": float(scores[1] - scores[0])})

    def _switch(self, request: ExplainRequest) -> Programme[Switch | Explanation]:
        p = self.parameters
        if p.fill == "blur" and p.box:
            image = to_device(request.picture.image, request.detector.device)
            return Switch(image, box_blur(image, p.box))
        switch = yield from switch_off(request, p)
        return switch

    def passes(self, query: PassQuery) -> Passes:
        return Passes(forward=evaluations(query.facts.input_size, self.parameters.evals))

    def refuses(self, query: PassQuery) -> str:
        return refusal(self.parameters, query)
