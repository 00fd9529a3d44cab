"""Integrated gradients: the gradient averaged on the way from a baseline to the picture."""

from __future__ import annotations

import math
from functools import cache
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from xaibench.api import (
    SAMPLE_NEEDS,
    Backward,
    ExplainRequest,
    Explanation,
    Forward,
    Gradients,
    Output,
    Parameters,
    Passes,
    PassQuery,
    Programme,
    to_device,
)
from xaibench_explainers.gradient.pixels import drawn
from xaibench_perturbation import (
    CHUNK,
    IMAGENET_MEAN,
    SIGMA,
    AttackMode,
    SwitchParameters,
    UnitValue,
    extra_needs,
    fill_parameter,
    refusal,
    stored_artefacts,
    switch_off,
)

Rule = Literal["gauss-legendre", "midpoint"]
Baseline = Annotated[str, fill_parameter({"colour", "twin", *SAMPLE_NEEDS})]
"""A fill that is one picture and not drawn at random."""


class IntegratedGradientsParameters(Parameters):
    """Parameters of ``integrated-gradients``."""

    steps: int = Field(50, ge=1, description="pictures on the way from the baseline")
    baseline: Baseline = Field("black", description="where the way starts: as fill of perturbation explainers")
    sigma: float = Field(SIGMA, gt=0, le=1, description="blur of baseline=blur, as a share of the shorter side")
    colour: tuple[UnitValue, UnitValue, UnitValue] = Field(
        IMAGENET_MEAN, description="red, green and blue of baseline=colour; the default is the mean of ImageNet"
    )
    twin_mode: AttackMode = Field("strict", description="attack that makes the twin of baseline=twin")
    twin_steps: int = Field(80, ge=1, description="most steps of that attack")
    rule: Rule = Field("gauss-legendre", description="where on the way the pictures lie and what they weigh")
    output: Output = Field("logit", description="what is differentiated")


@cache
def quadrature(rule: Rule, steps: int) -> tuple[Tensor, Tensor]:
    """Nodes in (0, 1) and weights that sum to 1, ``(steps,)`` float64 each."""
    if rule == "midpoint":
        return (torch.arange(steps).double() + 0.5) / steps, torch.full((steps,), 1 / steps, dtype=torch.float64)
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    return torch.from_numpy((nodes + 1) / 2), torch.from_numpy(weights / 2)


def integrated_gradients(
    image: Tensor, baseline: Tensor, target: int, *, steps: int, rule: Rule, output: Output = "logit"
) -> Programme[Tensor]:
    """``(x - b) * sum_i w_i grad f_target(b + a_i (x - b))``: ``(3, H, W)`` float32.

    Its sum approaches ``f(x) - f(b)``, f the target's ``output`` (see :func:`completeness_gap`).
    """
    nodes, weights = (to_device(t, image.device) for t in quadrature(rule, steps))
    mean = torch.zeros_like(image, dtype=torch.float64)
    for a, w in zip(torch.split(nodes, CHUNK), torch.split(weights, CHUNK), strict=True):
        way = baseline + a.float().view(-1, 1, 1, 1) * (image - baseline)
        reply: Gradients = yield Backward(way, target, output)
        mean += torch.tensordot(w, reply.gradients.double(), dims=1)
    return (mean * (image - baseline)).float()


def completeness_gap(attribution: Tensor, at_image: float, at_baseline: float) -> float:
    """``|sum(a) - (f(x) - f(b))| / |f(x) - f(b)|``, infinite where f does not change but a sums to something."""
    change = at_image - at_baseline
    gap = abs(float(attribution.double().sum()) - change)
    return gap / abs(change) if change else (float("inf") if gap else 0.0)


class IntegratedGradients:
    """Integrated gradients (Sundararajan et al. 2017, equation 1) of the target's logit, summed over channels.

    Signed: positive = speaks for the target. The quadrature's nodes lie inside the way; the picture and the baseline
    are forwarded besides, for the details: ``output_change`` is ``f(x) - f(b)``, ``completeness_gap`` the gap of
    :func:`completeness_gap` (left out where it is infinite). The paper's F is the class probability, whose gradient
    vanishes where the detector is sure, hence ``output=logit``. Equal to captum's with ``method="gausslegendre"`` or
    ``"riemann_middle"``. A baseline equal to the picture has no way to it and no map.
    """

    Parameters = IntegratedGradientsParameters

    def __init__(self, parameters: IntegratedGradientsParameters) -> None:
        p = self.parameters = parameters
        self._baseline = SwitchParameters(
            fill=p.baseline, sigma=p.sigma, colour=p.colour, twin_mode=p.twin_mode, twin_steps=p.twin_steps
        )
        self.artefacts = stored_artefacts(self._baseline)
        self.needs = extra_needs(self._baseline)

    def refuses(self, query: PassQuery) -> str:
        return refusal(self._baseline, query)

    def explain(self, request: ExplainRequest) -> Programme[Explanation]:
        p = self.parameters
        switch = yield from switch_off(request, self._baseline)
        if isinstance(switch, Explanation):
            return switch
        image, baseline = switch.image, switch.background
        assert baseline is not None  # only a fill that needs masks has none
        if torch.equal(image, baseline):
            return Explanation.none(f"the baseline ({p.baseline}) is the picture itself")
        found = yield from integrated_gradients(
            image, baseline, request.target, steps=p.steps, rule=p.rule, output=p.output
        )
        ends: Tensor = yield Forward(torch.stack([image, baseline]), output=p.output)
        at_image, at_baseline = ends[:, request.target].tolist()
        details = {**switch.details, "output_change": at_image - at_baseline}
        gap = completeness_gap(found, at_image, at_baseline)
        return drawn(
            found.sum(dim=0),
            zero="the gradient is zero everywhere on the way from the baseline: the detector is flat here",
            details={**details, "completeness_gap": gap} if math.isfinite(gap) else details,
        )

    def passes(self, query: PassQuery) -> Passes:
        return Passes(forward=self.parameters.steps + 2, backward=self.parameters.steps)
