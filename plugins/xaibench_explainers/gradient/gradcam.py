"""Grad-CAM: activation maps weighted by their mean gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from pydantic import Field
from torch import Tensor

from xaibench.api import (
    ExplainRequest,
    Explanation,
    Facts,
    LayerBackward,
    LayerGradients,
    Output,
    Parameters,
    Passes,
    PassQuery,
    Programme,
    to_device,
)
from xaibench_explainers.layer_maps import native_size, upsampled

Combine: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""Activations and gradients of a layer, ``(n, K, h, w)`` each, to maps ``(n, h, w)``."""


class GradCamParameters(Parameters):
    """Parameters of ``gradcam`` and the other class activation maps that take a gradient."""

    layer: str | None = Field(None, description="layer to look at; none given: the detector's target layer")
    output: Output = Field("logit", description="what is differentiated")


def gradcam(activations: Tensor, gradients: Tensor) -> Tensor:
    """``relu(sum_k w_k A_k)``, ``w_k`` the gradient's mean over positions: ``(n, K, h, w)`` twice to ``(n, h, w)``."""
    weights = gradients.mean(dim=(2, 3), keepdim=True)
    return (weights * activations).sum(dim=1).relu()


def class_activation_map(
    request: ExplainRequest, parameters: GradCamParameters, combine: Combine, zero: str
) -> Programme[Explanation]:
    """One pass to the layer and back, and ``combine`` of what is found there."""
    p, image = parameters, to_device(request.picture.image, request.detector.device)
    reply: LayerGradients = yield LayerBackward(image[None], request.target, p.output, layer=p.layer)
    height, width = image.shape[1:]
    return upsampled(combine(reply.activations, reply.gradients)[0], (height, width), zero)


class GradCam:
    """Grad-CAM (Selvaraju et al. 2017, equations 1 and 2) of the target's logit: higher = speaks for the target.

    The map before upsampling is the ``native_map``. Nothing is scaled: pytorch-grad-cam and torchcam stretch to
    [0, 1], captum leaves the rectifier out by default. A map that is zero everywhere (no position with positive
    evidence) is ``undefined``, where other libraries give NaN or a black picture.
    """

    Parameters = GradCamParameters

    def __init__(self, parameters: GradCamParameters) -> None:
        self.parameters = parameters

    def explain(self, request: ExplainRequest) -> Programme[Explanation]:
        zero = "no position of the layer speaks for the class: the map is zero everywhere"
        return class_activation_map(request, self.parameters, gradcam, zero)

    def passes(self, query: PassQuery) -> Passes:
        return Passes(forward=1, backward=1)

    def native_size(self, facts: Facts) -> tuple[int, int] | None:
        """The (h, w) of its maps before upsampling, as far as it is known."""
        return native_size(facts, self.parameters.layer)
