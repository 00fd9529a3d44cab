"""FullGrad: the gradient of the input and of every bias."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from xaibench.api import Apply, ExplainRequest, Explanation, Output, Parameters, Passes, PassQuery, Programme, to_device
from xaibench_explainers.gradient.propagation.common import (
    explained,
    lacks,
    relative,
    slope,
    target_values,
    upsample,
)
from xaibench_operations import ELEMENTWISE, LINEAR, Call, Operations, as_linear, batch_norm_affine, depends

Scope = Literal["layer", "channel"]

_HOMOGENEOUS = frozenset(("abs", "leaky_relu", "prelu", "relu"))


class FullGradParameters(Parameters):
    """Parameters of ``fullgrad``."""

    rescale: Scope = Field("layer", description="what is stretched to [0, 1] on its own: a layer, or each channel")
    output: Output = Field("logit", description="what is explained")


def stretched(values: Tensor, scope: Scope) -> Tensor:
    """``|values|`` of ``(n, K, h, w)`` stretched to [0, 1] for each picture, summed over channels: ``(n, h, w)``.

    What is constant has nothing to show and becomes 0.
    """
    axes = (1, 2, 3) if scope == "layer" else (2, 3)
    size = values.abs()
    low = size.amin(dim=axes, keepdim=True)
    width = size.amax(dim=axes, keepdim=True) - low
    return torch.where(width > 0, (size - low) / torch.where(width > 0, width, 1), 0).sum(dim=1)


class Biases(Operations):
    """Collects ``bias * gradient`` of every bias, while the gradient is taken.

    ``total`` ``(n,)`` sums all of them. ``maps`` ``(n, H, W)`` sums the stretched ones of convolutions and batch norms.
    ``before`` ``(n, 3, H, W)`` are those of the normalisation of pictures, before the first layer.
    """

    def __init__(self, images: Tensor, scope: Scope) -> None:
        rules = dict.fromkeys(LINEAR, self._linear) | dict.fromkeys(("add", "sub", "rsub"), self._shift)
        rules |= dict.fromkeys(ELEMENTWISE - _HOMOGENEOUS, self._activation)
        super().__init__(rules | {"batch_norm": self._batch_norm, "layer_norm": self._after_norm})
        self.scope, self.size, self.pictures = scope, (images.shape[-2], images.shape[-1]), images.shape
        self.total = images.new_zeros(len(images), dtype=torch.float64)
        self.maps = images.new_zeros((len(images), *self.size))
        self.before = torch.zeros_like(images)
        self._started = False
        self._bare: tuple[Tensor, int] | None = None

    def _met(self, result: Tensor, bias: Tensor, axis: int | None = None) -> Tensor:
        """Wait for the gradient of ``result``, of which ``bias`` is a part; ``axis`` is that of channels of a map."""
        if depends(result):
            add = partial(self._add, bias.detach(), axis, self._started)
            result.register_hook(add)  # type: ignore[no-untyped-call]
        return result

    def _add(self, bias: Tensor, axis: int | None, started: bool, gradient: Tensor) -> None:
        terms = gradient.detach() * bias
        if len(terms) != len(self.total):
            return  # pictures lie along another axis; the gap shows what is missing
        self.total += terms.double().reshape(len(terms), -1).sum(dim=1)
        if not started and terms.shape == self.pictures:
            self.before += terms
        elif axis is not None and terms.ndim == 4:
            shown = stretched(terms.movedim(axis, 1), self.scope)
            self.maps += upsample(shown.to(self.maps.dtype), self.size)

    def _linear(self, call: Call) -> Tensor:
        result: Tensor = call.run()
        linear = as_linear(call)
        self._started = self._started or linear is not None
        if linear is None or linear.bias is None:
            self._bare = None if linear is None else (result, linear.axis)
            return result
        return self._met(result, _along(linear.bias, linear.axis, result.ndim), linear.axis)

    def _batch_norm(self, call: Call) -> Tensor:
        result: Tensor = call.run()
        affine = batch_norm_affine(call)
        return result if affine is None else self._met(result, _along(affine[2], 1, result.ndim), 1)

    def _after_norm(self, call: Call) -> Tensor:
        result: Tensor = call.run()
        bias = call.get(3, "bias")
        return result if bias is None else self._met(result, bias)

    def _shift(self, call: Call) -> Tensor:
        """Adding what does not depend on the picture is a bias; right after a linear operation, that one's."""
        result: Tensor = call.run()
        if len(call.operands()) != 1 or call.kwargs.get("alpha", 1) != 1:
            return result
        at = call.operands()[0]
        other = call.get(1 - at, "other")
        negative = (call.name == "sub" and at == 0) or (call.name == "rsub" and at == 1)
        sign = -1.0 if negative else 1.0
        axis = None
        if self._bare is not None and call.args[at] is self._bare[0] and isinstance(other, Tensor) and other.ndim == 1:
            axis = self._bare[1] if self._bare[1] == -1 else None  # one number a channel stands along the last axis
        return self._met(result, sign * torch.as_tensor(other, device=result.device), axis)

    def _activation(self, call: Call) -> Tensor:
        """``y - y'(x) x`` is the bias that is hidden in a bent function."""
        if len(call.operands()) != 1:
            return call.run()
        at = call.operands()[0]
        x, result = call.args[at], call.run()
        bend = slope(lambda leaf: call.run({at: leaf}), x)
        return self._met(result, result.detach() - bend * x.detach())


def _along(bias: Tensor, axis: int, axes: int) -> Tensor:
    """A ``(channels,)`` bias shaped to be added to a tensor of so many axes."""
    if bias.ndim != 1:
        return bias
    shape = [1] * axes
    shape[axis] = -1
    return bias.view(shape)


@dataclass(frozen=True)
class FullGradient:
    """The map ``(b, H, W)``, the sum of all input and bias terms ``(b,)``, and the target's output ``(b,)``."""

    scope: Scope
    output: Output

    def __call__(
        self, detector: Any, images: Tensor, targets: Tensor, extras: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor, Tensor]:
        mode = Biases(images, self.scope)
        values = target_values(detector, images, targets, self.output, mode)
        (gradient,) = torch.autograd.grad(values.sum(), images)
        inputs = (gradient * images).detach()
        total = mode.total + inputs.double().sum(dim=(1, 2, 3))
        return stretched(inputs + mode.before, self.scope) + mode.maps, total, values


class FullGrad:
    """FullGrad (Srinivas and Fleuret 2019, arXiv:1905.00780, equation 4) of the target's logit: ``(H, W)``, >= 0.

    ``psi(x * df/dx) + sum over layers of psi(b * df/db)``, psi = bilinear upsampling of what is stretched to [0, 1]
    in absolute value, summed over channels. Each layer is stretched as a whole, as in the authors' code; with
    ``rescale=channel`` each channel is, as the equation can be read, which gives a faint channel the weight of
    the strongest. Layers are convolutions and batch norms (bias beta - mean gamma / deviation) and dense layers on
    channels-last maps. x is the picture as the first layer sees it, after the detector's own normalisation.

    The terms before psi sum to f(x) on nets that are linear in pieces (proposition 1); biases hidden in bent
    activations, ``y - y' x``, are counted in the sum but drawn in no map, as are those of layers without places.
    Details: ``gap``, the relative difference of that sum from f(x); products and layer norms widen it.
    """

    Parameters = FullGradParameters

    def __init__(self, parameters: FullGradParameters) -> None:
        self.parameters = parameters

    def explain(self, request: ExplainRequest) -> Programme[Explanation]:
        p = self.parameters
        if reason := lacks(request.detector, "operations"):
            return Explanation.none(reason)
        image = to_device(request.picture.image, request.detector.device)
        saliency, total, values = yield Apply(
            FullGradient(p.rescale, p.output), image[None], request.target, output=p.output
        )
        gap = relative(total, values.double())
        return explained(saliency[0], "no gradient of the input or of a bias varies over the picture", gap=float(gap))

    def passes(self, query: PassQuery) -> Passes:
        return Passes(forward=1, backward=1)
