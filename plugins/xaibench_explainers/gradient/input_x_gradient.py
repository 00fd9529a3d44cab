"""Input times gradient: what a first-order change of each pixel to black takes from the score."""

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
from xaibench_explainers.gradient.pixels import FLAT, drawn


class InputXGradientParameters(Parameters):
    """Parameters of ``input-x-gradient``."""

    output: Output = Field("logit", description="what is differentiated")


class InputXGradient:
    """``sum_c x_c d f_target / d x_c`` (Shrikumar et al. 2016, arXiv:1605.01713), signed: positive = speaks for it.

    ``x`` is the picture in [0, 1], so its zero is black; a detector's own normalisation is part of f. Libraries that
    multiply the normalised input take its mean colour as zero. On a detector linear in x the map sums to
    ``f(x) - f(0)``. Equal to captum's ``InputXGradient`` summed over channels. A black picture has no such map.
    """

    Parameters = InputXGradientParameters

    def __init__(self, parameters: InputXGradientParameters) -> None:
        self.parameters = parameters

    def explain(self, request: ExplainRequest) -> Programme[Explanation]:
        image = to_device(request.picture.image, request.detector.device)
        reply: Gradients = yield Backward(image[None], request.target, self.parameters.output)
        why = "the gradient is zero wherever the picture is not black" if reply.gradients.any() else FLAT
        return drawn((image * reply.gradients[0]).sum(dim=0), zero=why)

    def passes(self, query: PassQuery) -> Passes:
        return Passes(forward=1, backward=1)
