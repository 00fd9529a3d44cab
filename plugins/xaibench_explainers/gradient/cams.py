"""Class activation maps after Grad-CAM: other ways to weigh a layer's activations by their gradients.

All maps are as they come out of the formula, upsampled bilinearly: nothing is stretched to [0, 1]. Libraries stretch:
compare weighted sums with theirs, not finished maps.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor

from xaibench.api import (
    Apply,
    DifferentiableDetector,
    ExplainRequest,
    Explanation,
    Facts,
    Parameters,
    Passes,
    PassQuery,
    Programme,
    to_device,
)
from xaibench_explainers.gradient.gradcam import GradCamParameters, class_activation_map
from xaibench_explainers.layer_maps import native_size, upsampled

_NOBODY = "no position of the layer speaks for the class: the map is zero everywhere"


# ---- formulas -------------------------------------------------------------------------------------------------------


def gradcam_plus_plus(activations: Tensor, gradients: Tensor) -> Tensor:
    """``relu(sum_k w_k A_k)``, ``w_k = sum_ij a_kij relu(g_kij)``: ``(n, K, h, w)`` twice to ``(n, h, w)``.

    ``a_kij = g^2 / (2 g^2 + sum_ab A_kab g_kij^3)`` (equation 19), that is ``1 / (2 + g_kij sum_ab A_kab)``; where g is
    0 its value does not matter.
    """
    alpha = 1 / (2 + gradients * activations.sum(dim=(2, 3), keepdim=True))
    rectified = gradients.relu()
    terms = torch.where(rectified > 0, alpha * rectified, torch.zeros_like(rectified))
    return (terms.sum(dim=(2, 3), keepdim=True) * activations).sum(dim=1).relu()


def hirescam(activations: Tensor, gradients: Tensor) -> Tensor:
    """``sum_k g_k * A_k``, element by element: ``(n, K, h, w)`` twice to ``(n, h, w)``, signed."""
    return (gradients * activations).sum(dim=1)


def xgradcam(activations: Tensor, gradients: Tensor) -> Tensor:
    """``relu(sum_k w_k A_k)``, ``w_k = sum_ij g_kij A_kij / sum_ij A_kij``: ``(n, K, h, w)`` twice to ``(n, h, w)``.

    A channel whose activations sum to 0 has weight 0.
    """
    totals = activations.sum(dim=(2, 3), keepdim=True)
    products = (gradients * activations).sum(dim=(2, 3), keepdim=True)
    weights = torch.where(totals == 0, torch.zeros_like(totals), products / totals)
    return (weights * activations).sum(dim=1).relu()


def layercam(activations: Tensor, gradients: Tensor) -> Tensor:
    """``relu(sum_k relu(g_k) * A_k)``: ``(n, K, h, w)`` twice to ``(n, h, w)``."""
    return (gradients.relu() * activations).sum(dim=1).relu()


def eigencam(activations: Tensor) -> Tensor:
    """``relu(s A v)``: ``(n, K, h, w)`` to ``(n, h, w)``.

    ``A``: the ``h w`` positions by K channels, not centred; ``v``: its first right singular vector. A singular vector
    has no sign of its own: ``s`` makes the projections sum to at least 0. For activations that are never negative they
    then are all at least 0, and the rectifier does nothing. Computed in float64 on the CPU.
    """
    positions = activations.flatten(2).transpose(1, 2).double().cpu()
    _, _, right = torch.linalg.svd(positions, full_matrices=False)
    projected = (positions @ right[:, 0, :, None])[..., 0]
    sign = torch.where(projected.sum(dim=1, keepdim=True) < 0, -1.0, 1.0)
    maps: Tensor = (sign * projected).relu().float()
    return maps.view(len(activations), *activations.shape[2:])


# ---- explainers -----------------------------------------------------------------------------------------------------


class _ByGradient:
    """What the maps that need one gradient share."""

    Parameters = GradCamParameters

    def __init__(self, parameters: GradCamParameters) -> None:
        self.parameters = parameters

    def passes(self, query: PassQuery) -> Passes:
        return Passes(forward=1, backward=1)

    def native_size(self, facts: Facts) -> tuple[int, int] | None:
        """The (h, w) of its maps before upsampling, as far as it is known."""
        return native_size(facts, self.parameters.layer)


class GradCamPlusPlus(_ByGradient):
    """Grad-CAM++ (Chattopadhyay et al. 2018, equations 12, 13 and 19) of the target's logit; never negative.

    The paper differentiates Y = exp(S), S the logit. Its factor exp(S) is common to all channels and left out, as it
    overflows; the order within a map is the paper's. torchcam 0.5 gives other values: it sums ``A_kab g_kab^3`` where
    equation 19 has the gradient of the position outside the sum, and its division by that sum is lost (it divides a
    copy), so that it weighs by ``g^2 relu(g)``.
    """

    def explain(self, request: ExplainRequest) -> Programme[Explanation]:
        return class_activation_map(request, self.parameters, gradcam_plus_plus, _NOBODY)


class HiResCam(_ByGradient):
    """HiResCAM (Draelos, Carin 2020, section 3.2) of the target's logit, signed: positive = speaks for the target.

    Not rectified: where one linear layer follows, the native map sums to the logit without its bias. pytorch-grad-cam
    rectifies and stretches it.
    """

    def explain(self, request: ExplainRequest) -> Programme[Explanation]:
        zero = "gradient times activation is zero at every position of the layer"
        return class_activation_map(request, self.parameters, hirescam, zero)


class XGradCam(_ByGradient):
    """XGrad-CAM (Fu et al. 2020, equation 8) of the target's logit; never negative.

    Meant for activations that are not negative: where those of a channel nearly cancel, its weight is large.
    """

    def explain(self, request: ExplainRequest) -> Programme[Explanation]:
        return class_activation_map(request, self.parameters, xgradcam, _NOBODY)


class LayerCam(_ByGradient):
    """LayerCAM (Jiang et al. 2021, equations 5 to 7) of the target's logit, one layer; never negative.

    Meant also for early layers; the paper's fusion of several layers is left out.
    """

    def explain(self, request: ExplainRequest) -> Programme[Explanation]:
        return class_activation_map(request, self.parameters, layercam, _NOBODY)


class EigenCamParameters(Parameters):
    """Parameters of ``eigencam``."""

    layer: str | None = Field(None, description="layer to look at; none given: the detector's target layer")


@dataclass(frozen=True, slots=True)
class Activations:
    """For :class:`xaibench.api.Apply`: a layer's activation as ``(b, K, h, w)``, without gradient."""

    layer: str | None

    def __call__(
        self, detector: DifferentiableDetector, images: Tensor, targets: Tensor, extras: tuple[Tensor, ...]
    ) -> tuple[Tensor]:
        found = detector.features(images.detach(), self.layer)
        return (found.to_grid(found.activation.detach()).float(),)


class EigenCam:
    """Eigen-CAM (Muhammad, Yeasin 2020, equations 2 to 4): the first principal component of a layer's activations.

    No class is asked and no gradient taken: all classes have the same map, which shows what the layer sees most of.
    Not centred, as in the paper; pytorch-grad-cam subtracts the mean and leaves the sign to the linear algebra.
    """

    Parameters = EigenCamParameters

    def __init__(self, parameters: EigenCamParameters) -> None:
        self.parameters = parameters

    def explain(self, request: ExplainRequest) -> Programme[Explanation]:
        image = to_device(request.picture.image, request.detector.device)
        asked = Apply(Activations(self.parameters.layer), image[None], request.target, backward=0)
        (activations,) = yield asked
        if not activations.isfinite().all():
            return Explanation.none("the layer's activations are not finite")
        height, width = image.shape[1:]
        zero = "the layer's activations are zero everywhere"
        return upsampled(eigencam(activations)[0], (height, width), zero)

    def passes(self, query: PassQuery) -> Passes:
        return Passes(forward=1)

    def native_size(self, facts: Facts) -> tuple[int, int] | None:
        """The (h, w) of its maps before upsampling, as far as it is known."""
        return native_size(facts, self.parameters.layer)
