"""Expected gradients: integrated gradients averaged over random references."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from xaibench.api import (
    Backward,
    ExplainRequest,
    Explanation,
    Gradients,
    Output,
    Parameters,
    Passes,
    PassQuery,
    Programme,
    to_device,
)
from xaibench_explainers.gradient.pixels import drawn
from xaibench_perturbation import CHUNK, gaussian_blur

ReferenceKind = Literal["mixture", "colours", "blurs"]
_BLURS = (0.01, 0.25)
"""Narrowest and widest blur of a reference, as shares of the shorter side: 2 and 56 px of 224."""


class ExpectedGradientsParameters(Parameters):
    """Parameters of ``expected-gradients``."""

    samples: int = Field(100, ge=1, description="references, each with one picture on the way from it")
    references: ReferenceKind = Field("mixture", description="colours, blurs of the picture, or one after the other")
    output: Output = Field("logit", description="what is differentiated")


@dataclass(frozen=True, slots=True)
class References:
    """References of a picture, made when they are asked for.

    ``colours``: ``(n, 3)`` in [0, 1]. ``sigmas``: ``(n,)`` in pixels, 0 where the reference is the colour.
    ``positions``: ``(n,)`` float64, where on the way from a reference to the picture the gradient is taken.
    """

    colours: Tensor
    sigmas: Tensor
    positions: Tensor

    def __len__(self) -> int:
        return len(self.positions)

    def of(self, image: Tensor, start: int, stop: int) -> Tensor:
        """References ``start`` to ``stop`` of a ``(3, H, W)`` picture: ``(n, 3, H, W)``."""
        colours = to_device(self.colours[start:stop].to(image.dtype), image.device)
        pairs = zip(colours, self.sigmas[start:stop].tolist(), strict=True)
        return torch.stack([gaussian_blur(image, s) if s else c[:, None, None].expand_as(image) for c, s in pairs])


def draw_references(kind: ReferenceKind, count: int, side: int, generator: torch.Generator) -> References:
    """``count`` references for pictures whose shorter side is ``side`` pixels.

    Colours are uniform over the RGB cube. The standard deviation of a blur is log-uniform between 0.01 and 0.25 of
    ``side``. Positions are stratified, one in each of ``count`` equal parts of (0, 1), which leaves the expectation as
    it is and lowers the variance.
    """
    colours = torch.rand((count, 3), generator=generator)
    low, high = (math.log(share * side) for share in _BLURS)
    sigmas = (low + (high - low) * torch.rand(count, generator=generator, dtype=torch.float64)).exp()
    positions = (torch.arange(count) + torch.rand(count, generator=generator, dtype=torch.float64)) / count
    if kind != "blurs":
        sigmas[:: 1 if kind == "colours" else 2] = 0
    return References(colours, sigmas, positions)


def expected_gradients(
    image: Tensor, references: References, target: int, *, output: Output = "logit"
) -> Programme[Tensor]:
    """``1/n sum_i (x - r_i) * grad f_target(r_i + a_i (x - r_i))``: ``(3, H, W)`` float32."""
    total = torch.zeros_like(image, dtype=torch.float64)
    for start in range(0, len(references), CHUNK):
        away = image - references.of(image, start, start + CHUNK)
        left = 1 - to_device(references.positions[start : start + CHUNK].float(), image.device)
        reply: Gradients = yield Backward(image - left.view(-1, 1, 1, 1) * away, target, output)
        total += (away.double() * reply.gradients.double()).sum(dim=0)
    return (total / len(references)).float()


class ExpectedGradients:
    """Expected gradients (Erion et al. 2021, equation 3; arXiv:1906.10670), of the logit, summed over channels; signed.

    The map sums to ``f(x) - E f(r)`` up to sampling noise. In the paper references r are training pictures. An
    explainer sees no picture but its own, so here they are pictures that say nothing: plain colours, uniform over the
    RGB cube, and blurs of the picture itself. The choice of a baseline is averaged away; what a typical picture of the
    data would score is not known here and not compared with. Another set of references is another map: do not compare
    with values of shap's ``GradientExplainer`` or captum's ``GradientShap`` (which adds noise to the picture) on
    training data.
    """

    Parameters = ExpectedGradientsParameters

    def __init__(self, parameters: ExpectedGradientsParameters) -> None:
        self.parameters = parameters

    def explain(self, request: ExplainRequest) -> Programme[Explanation]:
        p = self.parameters
        image = to_device(request.picture.image, request.detector.device)
        generator = request.streams.torch("references")
        references = draw_references(p.references, p.samples, min(image.shape[1:]), generator)
        found = yield from expected_gradients(image, references, request.target, output=p.output)
        return drawn(found.sum(dim=0))

    def passes(self, query: PassQuery) -> Passes:
        return Passes(forward=self.parameters.samples, backward=self.parameters.samples)
