"""Saliency: the absolute gradient of the target's score."""

from __future__ import annotations

from pydantic import Field

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
from xaibench_explainers.gradient.pixels import Reduction, drawn, over_channels


class SaliencyParameters(Parameters):
    """Parameters of ``saliency``."""

    reduction: Reduction = Field(
        "max", description="how the absolute gradients of a pixel's channels become one number"
    )
    output: Output = Field("logit", description="what is differentiated")


class Saliency:
    """``max_c |d f_target / d x_c|`` (Simonyan, Vedaldi, Zisserman 2013, section 3.1), of the unnormalised class score.

    ``(H, W)``, in units of the output per unit of brightness, never negative: it tells where the score is sensitive,
    not which way. Equal to captum's ``Saliency`` before the reduction. A gradient that is zero everywhere is
    ``undefined``.
    """

    Parameters = SaliencyParameters

    def __init__(self, parameters: SaliencyParameters) -> None:
        self.parameters = parameters

    def explain(self, request: ExplainRequest) -> Programme[Explanation]:
        image = to_device(request.picture.image, request.detector.device)
        reply: Gradients = yield Backward(image[None], request.target, self.parameters.output)
        return drawn(over_channels(reply.gradients[0], self.parameters.reduction))

    def passes(self, query: PassQuery) -> Passes:
        return Passes(forward=1, backward=1)
