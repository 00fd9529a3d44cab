"""Integrated gradients: the gradient averaged on the way from a baseline to the picture."""

from __future__ import annotations

from functools import cache
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from xaibench.contracts import ExplainRequest, Explanation, Passes, PassQuery, Programme
from xaibench.parameters import Parameters
from xaibench.probes import Backward, Gradients
from xaibench_perturbation import CHUNK, SIGMA, FillKind, fill

Rule = Literal["gauss-legendre", "midpoint"]


class IntegratedGradientsParameters(Parameters):
    """Parameters of ``integrated-gradients``."""

    steps: int = Field(50, ge=1, description="pictures on the way from the baseline")
    baseline: FillKind = Field("black", description="where the way starts")
    sigma: float = Field(SIGMA, gt=0, le=1, description="blur of baseline=blur, as a share of the shorter side")
    rule: Rule = Field("gauss-legendre", description="where on the way the pictures lie and what they weigh")


@cache
def quadrature(rule: Rule, steps: int) -> tuple[Tensor, Tensor]:
    """Nodes in (0, 1) and weights that sum to 1, ``(steps,)`` float64 each."""
    if rule == "midpoint":
        return (torch.arange(steps).double() + 0.5) / steps, torch.full((steps,), 1 / steps, dtype=torch.float64)
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    return torch.from_numpy((nodes + 1) / 2), torch.from_numpy(weights / 2)


def integrated_gradients(image: Tensor, baseline: Tensor, target: int, *, steps: int, rule: Rule) -> Programme[Tensor]:
    """``(x - b) * sum_i w_i grad f_target(b + a_i (x - b))``: ``(3, H, W)`` float32.

    Its sum approaches ``f(x) - f(b)``, f the target's logit (see :func:`completeness_gap`).
    """
    nodes, weights = (t.to(image.device) for t in quadrature(rule, steps))
    mean = torch.zeros_like(image, dtype=torch.float64)
    for a, w in zip(torch.split(nodes, CHUNK), torch.split(weights, CHUNK), strict=True):
        way = baseline + a.float().view(-1, 1, 1, 1) * (image - baseline)
        reply: Gradients = yield Backward(way, target)
        mean += torch.tensordot(w, reply.gradients.double(), dims=1)
    return (mean * (image - baseline)).float()


def completeness_gap(attribution: Tensor, at_image: float, at_baseline: float) -> float:
    """``|sum(a) - (f(x) - f(b))| / |f(x) - f(b)|``, infinite where f does not change but a sums to something."""
    change = at_image - at_baseline
    gap = abs(float(attribution.double().sum()) - change)
    return gap / abs(change) if change else (float("inf") if gap else 0.0)


class IntegratedGradients:
    """Integrated gradients (Sundararajan et al. 2017, equation 1) of the target's logit, summed over channels.

    Signed: positive = speaks for the target. The quadrature's nodes lie inside the way, so neither the picture nor the
    baseline is forwarded. Equal to captum's with ``method="gausslegendre"`` or ``"riemann_middle"``.
    """

    Parameters = IntegratedGradientsParameters

    def __init__(self, parameters: IntegratedGradientsParameters) -> None:
        self.parameters = parameters

    def explain(self, request: ExplainRequest) -> Programme[Explanation]:
        p = self.parameters
        image = request.picture.image.to(request.detector.device)
        baseline = fill(image, p.baseline, sigma=p.sigma)
        attribution = yield from integrated_gradients(image, baseline, request.target, steps=p.steps, rule=p.rule)
        if not attribution.isfinite().all():
            return Explanation.none("the gradient is not finite somewhere on the way from the baseline")
        return Explanation(map=attribution.sum(dim=0).cpu())

    def passes(self, query: PassQuery) -> Passes:
        return Passes(forward=self.parameters.steps, backward=self.parameters.steps)
