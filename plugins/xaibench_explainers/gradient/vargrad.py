"""VarGrad: how much the gradient varies under noise on the picture."""

from __future__ import annotations

from xaibench.api import ExplainRequest, Explanation, Passes, PassQuery, Programme, to_device
from xaibench_explainers.gradient.pixels import drawn, over_channels
from xaibench_explainers.gradient.smoothgrad import NoiseParameters, noisy_gradients


class VarGrad:
    """Variance of the gradient over noisy copies (Adebayo et al. 2018, arXiv:1810.03307; Seo et al. 2018), never
    negative.

    Divided by n, as captum's ``vargrad`` is. It looks at curvature alone: a detector whose gradient is the same for all
    noisy copies (a linear one, or a picture of one colour, whose noise has no width) has no map.
    """

    Parameters = NoiseParameters

    def __init__(self, parameters: NoiseParameters) -> None:
        self.parameters = parameters

    def explain(self, request: ExplainRequest) -> Programme[Explanation]:
        image = to_device(request.picture.image, request.detector.device)
        moments = yield from noisy_gradients(image, request.target, self.parameters, request.streams.torch("noise"))
        found = over_channels(moments.variance, self.parameters.reduction)
        return drawn(found, zero="the gradient is the same under all noise: its variance is zero")

    def passes(self, query: PassQuery) -> Passes:
        return Passes(forward=self.parameters.samples, backward=self.parameters.samples)
