"""Operators of one tensor, element by element: activations, functions, casts."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from xaibench_models.onnx_graph.node import Node
from xaibench_models.onnx_graph.registration import ALL, FLOATS, INTS, NUMBERS, operator

_SELU_ALPHA, _SELU_GAMMA = 1.67326319217681884765625, 1.05070102214813232421875


def _apply(function: Callable[[Tensor], Tensor], node: Node, x: Tensor) -> Tensor:
    return function(x)


_PLAIN: dict[str, tuple[Callable[[Tensor], Tensor], frozenset[str]]] = {
    "Abs": (torch.abs, NUMBERS),
    "Acos": (torch.acos, FLOATS),
    "Acosh": (torch.acosh, FLOATS),
    "Asin": (torch.asin, FLOATS),
    "Asinh": (torch.asinh, FLOATS),
    "Atan": (torch.atan, FLOATS),
    "Atanh": (torch.atanh, FLOATS),
    "BitwiseNot": (torch.bitwise_not, INTS),
    "Ceil": (torch.ceil, FLOATS),
    "Cos": (torch.cos, FLOATS),
    "Cosh": (torch.cosh, FLOATS),
    "Erf": (torch.erf, FLOATS),
    "Exp": (torch.exp, FLOATS),
    "Floor": (torch.floor, FLOATS),
    "HardSwish": (F.hardswish, FLOATS),
    "IsNaN": (torch.isnan, ALL),
    "Log": (torch.log, FLOATS),
    "Mish": (F.mish, FLOATS),
    "Neg": (torch.neg, NUMBERS),
    "Not": (torch.logical_not, ALL),
    "Reciprocal": (torch.reciprocal, FLOATS),
    "Relu": (F.relu, NUMBERS),
    "Round": (torch.round, FLOATS),  # half to even in both
    "Sigmoid": (torch.sigmoid, FLOATS),
    "Sign": (torch.sign, NUMBERS),
    "Sin": (torch.sin, FLOATS),
    "Sinh": (torch.sinh, FLOATS),
    "Softplus": (F.softplus, FLOATS),
    "Softsign": (F.softsign, FLOATS),
    "Sqrt": (torch.sqrt, FLOATS),
    "Tan": (torch.tan, FLOATS),
    "Tanh": (torch.tanh, FLOATS),
}
for _name, (_function, _dtypes) in _PLAIN.items():
    operator(_name, dtypes=_dtypes)(partial(_apply, _function))


@operator("LeakyRelu")
def leaky_relu(node: Node, x: Tensor) -> Tensor:
    return F.leaky_relu(x, node.real("alpha", 0.01))


@operator("Elu")
def elu(node: Node, x: Tensor) -> Tensor:
    return F.elu(x, node.real("alpha", 1.0))


@operator("Celu")
def celu(node: Node, x: Tensor) -> Tensor:
    return F.celu(x, node.real("alpha", 1.0))


@operator("Selu")
def selu(node: Node, x: Tensor) -> Tensor:
    alpha, gamma = node.real("alpha", _SELU_ALPHA), node.real("gamma", _SELU_GAMMA)
    if math.isclose(alpha, _SELU_ALPHA, rel_tol=1e-6) and math.isclose(gamma, _SELU_GAMMA, rel_tol=1e-6):
        return F.selu(x)
    return gamma * F.elu(x, alpha)


@operator("HardSigmoid")
def hard_sigmoid(node: Node, x: Tensor) -> Tensor:
    alpha, beta = node.real("alpha", 0.2), node.real("beta", 0.5)
    if math.isclose(alpha, 1 / 6, rel_tol=1e-6) and beta == 0.5:
        return F.hardsigmoid(x)
    return torch.clamp(alpha * x + beta, 0.0, 1.0)


@operator("ThresholdedRelu")
def thresholded_relu(node: Node, x: Tensor) -> Tensor:
    return F.threshold(x, node.real("alpha", 1.0), 0.0)


@operator("Shrink", dtypes=NUMBERS)
def shrink(node: Node, x: Tensor) -> Tensor:
    bias, bound = node.real("bias", 0.0), node.real("lambd", 0.5)
    shrunk = torch.where(x < -bound, x + bias, torch.where(x > bound, x - bias, torch.zeros_like(x)))
    return shrunk.to(x.dtype)


@operator("Swish")
def swish(node: Node, x: Tensor) -> Tensor:
    alpha = node.real("alpha", 1.0)
    return F.silu(x) if alpha == 1.0 else x * torch.sigmoid(alpha * x)


@operator("Gelu")
def gelu(node: Node, x: Tensor) -> Tensor:
    return F.gelu(x, approximate=node.text("approximate", "none"))


@operator("PRelu")
def prelu(node: Node, x: Tensor, slope: Tensor) -> Tensor:
    per_channel = x.ndim >= 2 and slope.numel() == slope.shape[0] == x.shape[1] and slope.ndim == x.ndim - 1
    if slope.numel() == 1 or per_channel:
        return F.prelu(x, slope.reshape(-1))
    return torch.where(x < 0, slope * x, x)


@operator("Clip", dtypes=NUMBERS, host=(1, 2), followed=(1, 2))
def clip(node: Node, x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    """Constant bounds are read as numbers; through those that the graph computes gradients flow."""
    if any(bound is not None and node.constant(i) is None for i, bound in ((1, low), (2, high))):
        if low is not None:
            x = torch.maximum(x, low.to(x))
        return torch.clone(x) if high is None else torch.minimum(x, high.to(x))
    below = None if low is None else low.item()
    above = None if high is None else high.item()
    if below is None and above is None:
        return torch.clone(x)
    if x.is_floating_point() and (below, above) == (0, 6):
        return F.relu6(x)
    return torch.clamp(x, below, above)


@operator("IsInf", dtypes=FLOATS | {"bool"})
def is_inf(node: Node, x: Tensor) -> Tensor:
    positive, negative = node.integer("detect_positive", 1), node.integer("detect_negative", 1)
    found = torch.isinf(x)
    if not positive:
        found = found & (x < 0)
    return found if negative else found & (x > 0)


@operator("Cast", dtypes=ALL)
def cast(node: Node, x: Tensor) -> Tensor:
    return x.to(node.dtype(node.integer("to")))


@operator("CastLike", dtypes=ALL)
def cast_like(node: Node, x: Tensor, target: Tensor) -> Tensor:
    return x.to(target.dtype)


@operator("BitCast", dtypes=NUMBERS)
def bit_cast(node: Node, x: Tensor) -> Tensor:
    return x.view(node.dtype(node.integer("to")))


@operator("Identity", dtypes=ALL)
def identity(node: Node, x: Tensor) -> Tensor:
    return x.view_as(x)  # its own tensor, so that a hook on this node sees only this node
