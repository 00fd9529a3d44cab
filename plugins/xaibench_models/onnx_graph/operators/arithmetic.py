"""Operators of several tensors, element by element, with numpy's broadcasting."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, reduce

import torch
from torch import Tensor

from xaibench_models.onnx_graph.node import Node
from xaibench_models.onnx_graph.registration import ALL, FLOATS, INTS, NUMBERS, operator


def _apply(function: Callable[[Tensor, Tensor], Tensor], node: Node, a: Tensor, b: Tensor) -> Tensor:
    return function(a, b)


_BINARY: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], frozenset[str]]] = {
    "Add": (torch.add, NUMBERS),
    "Sub": (torch.sub, NUMBERS),
    "Mul": (torch.mul, NUMBERS),
    "And": (torch.logical_and, ALL),
    "Or": (torch.logical_or, ALL),
    "Xor": (torch.logical_xor, ALL),
    "Equal": (torch.eq, ALL),
    "Greater": (torch.gt, NUMBERS | {"bool"}),
    "GreaterOrEqual": (torch.ge, NUMBERS | {"bool"}),
    "Less": (torch.lt, NUMBERS | {"bool"}),
    "LessOrEqual": (torch.le, NUMBERS | {"bool"}),
    "BitwiseAnd": (torch.bitwise_and, INTS),
    "BitwiseOr": (torch.bitwise_or, INTS),
    "BitwiseXor": (torch.bitwise_xor, INTS),
}
for _name, (_function, _dtypes) in _BINARY.items():
    operator(_name, dtypes=_dtypes)(partial(_apply, _function))


@operator("Div", dtypes=NUMBERS)
def div(node: Node, a: Tensor, b: Tensor) -> Tensor:
    """Integers are divided towards zero."""
    return torch.div(a, b) if a.is_floating_point() else torch.div(a, b, rounding_mode="trunc")


@operator("Pow", dtypes=FLOATS | {"int32", "int64"})
def power(node: Node, base: Tensor, exponent: Tensor) -> Tensor:
    """The result has the type of ``base``; a whole exponent of an integer base stays exact."""
    if base.is_floating_point() or not exponent.is_floating_point():
        return torch.pow(base, exponent).to(base.dtype)
    return torch.pow(base.double(), exponent.double()).to(base.dtype)


@operator("Mod", dtypes=NUMBERS)
def mod(node: Node, a: Tensor, b: Tensor) -> Tensor:
    """``fmod=1``: the sign of the dividend; otherwise that of the divisor."""
    return torch.fmod(a, b) if node.integer("fmod") else torch.remainder(a, b)


@operator("BitShift", dtypes=INTS)
def bit_shift(node: Node, a: Tensor, b: Tensor) -> Tensor:
    left = node.text("direction") == "LEFT"
    return torch.bitwise_left_shift(a, b) if left else torch.bitwise_right_shift(a, b)


@operator("Where", dtypes=ALL)
def where(node: Node, condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return torch.where(condition, a, b)


@operator("Max", dtypes=NUMBERS)
def maximum(node: Node, *values: Tensor) -> Tensor:
    return reduce(torch.maximum, values)


@operator("Min", dtypes=NUMBERS)
def minimum(node: Node, *values: Tensor) -> Tensor:
    return reduce(torch.minimum, values)


@operator("Sum")
def total(node: Node, *values: Tensor) -> Tensor:
    return reduce(torch.add, values)


@operator("Mean")
def mean(node: Node, *values: Tensor) -> Tensor:
    return reduce(torch.add, values) / len(values)
