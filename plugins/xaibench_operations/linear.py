"""Calls that are linear in the picture, and batch norms, whose scale and shift can be taken into them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import cast

from torch import Tensor
from torch.nn import functional

from xaibench_operations.calls import Call, depends

_CONVOLUTIONS = ("conv1d", "conv2d", "conv3d", "convolution")
_TRANSPOSED = ("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")


@dataclass(frozen=True, slots=True)
class Linear:
    """A linear operation: ``apply(x, weight, bias)`` is its result.

    ``axis`` is that of the output's channels. ``foldable``: ``weight`` has the output's channels first, so that a
    scale and a shift of each channel can be taken into it.
    """

    x: Tensor
    weight: Tensor
    bias: Tensor | None
    apply: Callable[[Tensor, Tensor, Tensor | None], Tensor]
    axis: int = 1
    foldable: bool = False

    def folded(self, scale: Tensor, shift: Tensor) -> Linear:
        """The operation followed by ``scale * y + shift``, ``(channels,)`` each, as one."""
        weight = self.weight * scale.view(-1, *[1] * (self.weight.ndim - 1))
        return replace(self, weight=weight, bias=shift if self.bias is None else self.bias * scale + shift)


def as_linear(call: Call) -> Linear | None:
    """The call as a linear operation of the picture, None where it is none."""
    if call.name in (*_CONVOLUTIONS, *_TRANSPOSED, "linear"):
        dense, plain = call.name == "linear", call.name in _CONVOLUTIONS
        transposed = call.name == "convolution" and bool(call.args[6])
        return _linear(call, 0, 1, 2, axis=-1 if dense else 1, foldable=dense or (plain and not transposed))
    if call.name == "addmm":
        return _linear(call, 1, 2, 0, axis=-1)
    if call.name == "matmul" and len(call.operands()) == 1:
        x = call.operands()[0]
        return _linear(call, x, 1 - x, None, axis=-1 if x == 0 else -2)
    return None


LINEAR = (*_CONVOLUTIONS, *_TRANSPOSED, "linear", "addmm", "matmul")
"""Names of the operations that :func:`as_linear` may take."""


def _linear(call: Call, x: int, weight: int, bias: int | None, *, axis: int, foldable: bool = False) -> Linear | None:
    names = ("input", "weight", "bias")
    full = [call.get(i, names[i] if i < 3 else "") for i in range(max(len(call.args), 3 if bias == 2 else 0))]
    if not depends(full[x]) or depends(full[weight]):
        return None

    def apply(new_x: Tensor, new_weight: Tensor, new_bias: Tensor | None) -> Tensor:
        args = list(full)
        args[x], args[weight] = new_x, new_weight
        if bias is not None:
            # addmm, whose bias comes first, takes no None for it
            args[bias] = new_weight.new_zeros(()) if new_bias is None and bias == 0 else new_bias
        kwargs = {k: v for k, v in call.kwargs.items() if k not in names}
        return cast("Tensor", call.func(*args, **kwargs))

    return Linear(full[x], full[weight], full[bias] if bias is not None else None, apply, axis, foldable)


def batch_norm_affine(call: Call) -> tuple[Tensor, Tensor, Tensor] | None:
    """``x, scale, shift`` of a batch norm with running statistics, the latter ``(channels,)``; None where it has none.

    ``torch.nn.functional`` has the statistics before the weight, ``torch`` and ``aten`` after it.
    """
    if call.func is functional.batch_norm:
        names = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
    elif call.bare == "_native_batch_norm_legit_no_training":
        names = ("input", "weight", "bias", "running_mean", "running_var", "momentum", "eps", "training")
    else:
        names = ("input", "weight", "bias", "running_mean", "running_var", "training", "momentum", "eps")
    values = {name: call.get(i, name) for i, name in enumerate(names)}
    if values["training"] or values["running_mean"] is None:
        return None
    scale = (values["running_var"] + (1e-5 if values["eps"] is None else values["eps"])).rsqrt()
    scale = scale if values["weight"] is None else scale * values["weight"]
    shift = -values["running_mean"] * scale
    return values["input"], scale, shift if values["bias"] is None else shift + values["bias"]
