"""SmoothGrad: the gradient averaged over noise on the picture."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

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
from xaibench_explainers.gradient.pixels import Reduction, drawn, over_channels
from xaibench_perturbation import CHUNK, drawn_ahead


class NoiseParameters(Parameters):
    """Parameters of ``smoothgrad`` and ``vargrad``."""

    samples: int = Field(50, ge=1, description="noisy copies of the picture")
    level: float = Field(0.15, gt=0, description="standard deviation of the noise, as a share of max(x) - min(x)")
    reduction: Reduction = Field("max", description="how the channels of a pixel become one number")
    output: Output = Field("logit", description="what is differentiated")


@dataclass(frozen=True, slots=True)
class Moments:
    """Mean and variance (over ``n``, not ``n - 1``) of the gradient under noise, ``(3, H, W)`` float64 each."""

    mean: Tensor
    variance: Tensor


def noisy_gradients(
    image: Tensor, target: int, parameters: NoiseParameters, generator: torch.Generator
) -> Programme[Moments]:
    """Moments of ``grad f_target(x + s e)``, ``e ~ N(0, 1)`` anew for every value, ``s = level (max(x) - min(x))``.

    ``image``: ``(3, H, W)``. The noisy pictures are not clipped, as in the paper. Noise is drawn ``CHUNK`` copies at
    a time from the CPU ``generator``, on a device ahead of the passes.
    """
    p = parameters
    spread = p.level * (image.max() - image.min())
    first, total, squares = None, None, None
    sizes = (min(CHUNK, p.samples - start) for start in range(0, p.samples, CHUNK))
    draws = (partial(torch.randn, (n, *image.shape), generator=generator) for n in sizes)
    for noise in drawn_ahead(draws, image.device):
        reply: Gradients = yield Backward(image + spread * noise, target, p.output)
        gradients = reply.gradients.double()
        first = gradients[0] if first is None else first
        away = gradients - first  # from the first: the variance of a constant gradient is exactly 0
        sums = away.sum(dim=0), away.square().sum(dim=0)
        total, squares = sums if total is None or squares is None else (total + sums[0], squares + sums[1])
    assert first is not None
    assert total is not None
    assert squares is not None
    mean = total / p.samples
    return Moments(first + mean, (squares / p.samples - mean.square()).clamp(min=0))


class SmoothGrad:
    """Mean gradient over noisy copies, then the absolute value (Smilkov et al. 2017, section 3), of the class score.

    The paper finds 10 to 20 % of noise and 50 samples enough. Gradients are averaged with their sign and the channels
    reduced afterwards, as :class:`~xaibench_explainers.gradient.saliency.Saliency` reduces them; averaging absolute
    gradients (captum's ``NoiseTunnel(Saliency)`` as it comes) is another map. Each picture has its own noise. On a
    picture of one colour the noise has no width and the map is that of ``saliency``.
    """

    Parameters = NoiseParameters

    def __init__(self, parameters: NoiseParameters) -> None:
        self.parameters = parameters

    def explain(self, request: ExplainRequest) -> Programme[Explanation]:
        image = to_device(request.picture.image, request.detector.device)
        moments = yield from noisy_gradients(image, request.target, self.parameters, request.streams.torch("noise"))
        return drawn(over_channels(moments.mean, self.parameters.reduction))

    def passes(self, query: PassQuery) -> Passes:
        return Passes(forward=self.parameters.samples, backward=self.parameters.samples)
