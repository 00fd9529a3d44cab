"""Grad-CAM++ averaged over every convolution of a network, as a published study of deepfake detectors draws it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from xaibench.api import Apply, ExplainRequest, Explanation, Output, Parameters, Passes, PassQuery, Programme, to_device
from xaibench_explainers.gradient.propagation.common import explained, lacks, target_values, upsample
from xaibench_operations import Call, Operations, depends

_WEIGHTS, _SCALE = 1e-6, 1e-7


class EveryConvolutionParameters(Parameters):
    """Parameters of ``gradcam++-t24``."""

    output: Output = Field("probability", description="what is differentiated: the study takes the softmax")


def damped_gradcam_plus_plus(activations: Tensor, gradients: Tensor) -> Tensor:
    """``relu(sum_k w_k A_k)``, ``w_k = sum_ij a_kij relu(g_kij)``: ``(n, K, h, w)`` twice to ``(n, h, w)``.

    ``a_kij = g^2 / (2 g^2 + sum_ab A_kab g_kij^3 + 1e-6)``; 0 where g is 0. The 1e-6 stops a division by 0 only where
    gradients are large: where g^2 is far below it, ``a`` is about ``1e6 g^2`` rather than 1/2.
    """
    square = gradients**2
    totals = activations.sum(dim=(2, 3), keepdim=True)
    alpha = square / (2 * square + totals * gradients**3 + _WEIGHTS)
    weights = torch.where(gradients == 0, 0, alpha * gradients.relu()).sum(dim=(2, 3), keepdim=True)
    return (weights * activations).sum(dim=1).relu()


def scaled(maps: Tensor) -> Tensor:
    """``(m - min m) / (max m - min m + 1e-7)`` of each of ``(n, h, w)``: in [0, 1), 0 where a map is flat."""
    risen = maps - maps.amin(dim=(1, 2), keepdim=True)
    return risen / (risen.amax(dim=(1, 2), keepdim=True) + _SCALE)


class Convolutions(Operations):
    """Adds up the scaled maps of all two-dimensional convolutions, while the gradient is taken.

    ``total``: ``(n, H, W)`` float32; ``layers``: how many there are. Transposed convolutions are none, nor are those
    whose rows are not pictures (windows of them), nor filters whose weights are no parameters of the network, nor
    computed from such (a blur, a high-pass filter): no module of class ``Conv2d`` makes them.
    """

    def __init__(self, images: Tensor) -> None:
        super().__init__({"conv2d": self._met, "convolution": self._met})
        self.total = images.new_zeros((len(images), *images.shape[-2:]), dtype=torch.float32)
        self.layers = 0
        # Held, so that no other tensor takes the identity of one.
        self._computed: dict[int, Tensor] = {}

    def otherwise(self, call: Call, plain: Callable[[], Any]) -> Any:
        """The operation as it was called. What it computes from parameters is remembered (standardised weights)."""
        result = plain()
        if isinstance(result, Tensor) and not depends(result) and any(map(self._is_trained, call.args)):
            self._computed[id(result)] = result
        return result

    def _is_trained(self, value: object) -> bool:
        return isinstance(value, nn.Parameter) or id(value) in self._computed

    def _met(self, call: Call) -> Tensor:
        result: Tensor = call.run()
        transposed = call.name == "convolution" and bool(call.get(6, "transposed"))
        is_layer = self._is_trained(call.get(1, "weight")) and not transposed
        if is_layer and depends(result) and result.ndim == 4 and len(result) == len(self.total):
            self.layers += 1
            # a copy: the next operation may overwrite the result
            result.register_hook(partial(self._add, result.detach().clone()))  # type: ignore[no-untyped-call]
        return result

    def _add(self, activations: Tensor, gradients: Tensor) -> None:
        maps = damped_gradcam_plus_plus(activations.float(), gradients.detach().float())
        height, width = self.total.shape[1:]
        self.total += upsample(scaled(maps), (height, width))


@dataclass(frozen=True)
class OverConvolutions:
    """The mean of the layers' maps ``(b, H, W)``, not finite where there is no layer, and their number ``(b,)``."""

    output: Output

    def __call__(
        self, detector: Any, images: Tensor, targets: Tensor, extras: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor]:
        mode = Convolutions(images)
        values = target_values(detector, images, targets, self.output, mode)
        torch.autograd.grad(values.sum(), images)
        return mode.total / mode.layers, torch.full_like(targets, mode.layers)


class EveryConvolution:
    """Grad-CAM++ as the code of Tsigos et al. 2024 calls it (pytorch-grad-cam 1.5.0): ``(H, W)``, in [0, 1); unsigned.

    Each two-dimensional convolution with trained weights gives a map by :func:`damped_gradcam_plus_plus` of its output
    and the gradient of the target's probability there; the map is scaled to [0, 1], upsampled bilinearly and averaged
    with the others, and the mean is scaled again. A layer counts as much as any other however little it says; one whose
    map is flat (no evidence, or a single position, as in squeeze-and-excitation) adds 0. The number of layers is the
    detail ``layers``.

    The sound form is ``gradcam++``: one layer, equation 19, the logit. Here the gradient vanishes where the probability
    saturates, and 1e-6 outweighs it long before, which changes the order within a map. Departures from the published
    code: an in-place activation after a convolution does not overwrite what was kept of it (there it does on the CPU),
    a convolution that runs twice is two layers, a function with trained weights is one like a module, one that the
    target does not depend on adds 0, and a map that is zero everywhere is no explanation (there a black picture; one
    with NaN is tried once more, then skipped). Exporters to ONNX fold a batch normalisation into the convolution before
    it, whose output is then that of the two: the map of such a file differs from that of the PyTorch form by .25 to .53
    of its maximum, as the published code's would. Such files do not tell fixed filters from trained ones either: all
    are layers there.
    """

    Parameters = EveryConvolutionParameters

    def __init__(self, parameters: EveryConvolutionParameters) -> None:
        self.parameters = parameters

    def explain(self, request: ExplainRequest) -> Programme[Explanation]:
        output = self.parameters.output
        if reason := lacks(request.detector, "operations"):
            return Explanation.none(reason)
        image = to_device(request.picture.image, request.detector.device)
        mean, layers = yield Apply(OverConvolutions(output), image[None], request.target, output=output)
        if not layers:
            return Explanation.none("the network has no two-dimensional convolution")
        return explained(scaled(mean)[0], "no convolution has a position that speaks for the class", layers=int(layers))

    def passes(self, query: PassQuery) -> Passes:
        return Passes(forward=1, backward=1)
