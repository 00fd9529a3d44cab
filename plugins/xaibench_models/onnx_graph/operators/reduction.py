"""Sums, means, extrema and running sums along axes."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from xaibench_models.onnx_graph.node import Node, numbers
from xaibench_models.onnx_graph.registration import ALL, FLOATS, NUMBERS, operator

Axes = list[int]


def _axes(node: Node, x: Tensor, given: Tensor | None) -> Axes:
    """The axes as non-negative numbers; all of them where none is given, unless the node says otherwise."""
    axes = node.integers("axes") if given is None else numbers(given)
    if not axes:
        return [] if node.integer("noop_with_empty_axes") else list(range(x.ndim))
    return [axis % x.ndim for axis in axes]


def _sum(x: Tensor, axes: Axes, keep: bool) -> Tensor:
    return torch.sum(x, axes, keepdim=keep, dtype=x.dtype) if axes else torch.clone(x)


def _mean(x: Tensor, axes: Axes, keep: bool) -> Tensor:
    return torch.mean(x, axes, keepdim=keep) if axes else torch.clone(x)


def _prod(x: Tensor, axes: Axes, keep: bool) -> Tensor:
    for axis in sorted(axes, reverse=True):
        x = torch.prod(x, axis, keepdim=keep, dtype=x.dtype)
    return x


def _extremum(reduce: Callable[..., Tensor], sign: int, x: Tensor, axes: Axes, keep: bool) -> Tensor:
    """Over no element at all the result is the worst value of the type."""
    if not axes:
        return torch.clone(x)
    if math.prod(x.shape[axis] for axis in axes):
        return reduce(x, axes, keepdim=keep)
    worst = sign * math.inf if x.is_floating_point() else _integer_worst(x.dtype, sign)
    shape = [1 if i in axes else n for i, n in enumerate(x.shape) if keep or i not in axes]
    return torch.full(shape, worst, dtype=x.dtype, device=x.device)


def _integer_worst(dtype: torch.dtype, sign: int) -> int:
    if dtype == torch.bool:
        return int(sign > 0)
    return torch.iinfo(dtype).max if sign > 0 else torch.iinfo(dtype).min


def _log_sum_exp(x: Tensor, axes: Axes, keep: bool) -> Tensor:
    return torch.logsumexp(x, axes, keepdim=keep) if axes else torch.clone(x)


def _norm(x: Tensor, axes: Axes, keep: bool) -> Tensor:
    return torch.linalg.vector_norm(x, 2, axes, keepdim=keep) if axes else torch.abs(x)


_REDUCTIONS: dict[str, tuple[Callable[[Tensor, Axes, bool], Tensor], frozenset[str]]] = {
    "ReduceSum": (_sum, NUMBERS),
    "ReduceMean": (_mean, FLOATS),
    "ReduceProd": (_prod, NUMBERS),
    "ReduceMax": (partial(_extremum, torch.amax, -1), ALL),
    "ReduceMin": (partial(_extremum, torch.amin, 1), ALL),
    "ReduceL1": (lambda x, axes, keep: _sum(torch.abs(x), axes, keep), NUMBERS),
    "ReduceL2": (_norm, FLOATS),
    "ReduceLogSum": (lambda x, axes, keep: torch.log(_sum(x, axes, keep)), FLOATS),
    "ReduceLogSumExp": (_log_sum_exp, FLOATS),
    "ReduceSumSquare": (lambda x, axes, keep: _sum(torch.square(x), axes, keep), NUMBERS),
}


def _reduce(
    function: Callable[[Tensor, Axes, bool], Tensor], node: Node, x: Tensor, axes: Tensor | None = None
) -> Tensor:
    return function(x, _axes(node, x, axes), bool(node.integer("keepdims", 1)))


for _name, (_function, _dtypes) in _REDUCTIONS.items():
    operator(_name, dtypes=_dtypes, host=(1,))(partial(_reduce, _function))


def _arg(function: Callable[..., Tensor], node: Node, x: Tensor) -> Tensor:
    axis, keep = node.integer("axis"), bool(node.integer("keepdims", 1))
    if not node.integer("select_last_index"):
        return function(x, axis, keepdim=keep)
    return x.shape[axis] - 1 - function(torch.flip(x, [axis]), axis, keepdim=keep)


operator("ArgMax", dtypes=NUMBERS)(partial(_arg, torch.argmax))
operator("ArgMin", dtypes=NUMBERS)(partial(_arg, torch.argmin))


def _running(function: Callable[..., Tensor], neutral: int, node: Node, x: Tensor, axis: Tensor) -> Tensor:
    along = int(axis.item())
    if node.integer("reverse"):
        x = torch.flip(x, [along])
    if node.integer("exclusive"):
        first = torch.full_like(x.narrow(along, 0, 1), neutral)
        x = torch.cat([first, x.narrow(along, 0, x.shape[along] - 1)], along)
    result = function(x, along, dtype=x.dtype)
    return torch.flip(result, [along]) if node.integer("reverse") else result


operator("CumSum", dtypes=NUMBERS, host=(1,))(partial(_running, torch.cumsum, 0))
operator("CumProd", dtypes=NUMBERS, host=(1,))(partial(_running, torch.cumprod, 1))


@operator("TopK", dtypes=NUMBERS, host=(1,))
def top_k(node: Node, x: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
    """Sorted whatever ``sorted`` says; of equal values the one with the smaller index comes first."""
    axis = node.integer("axis", -1)
    largest = bool(node.integer("largest", 1))
    values, indices = torch.sort(x, dim=axis, descending=largest, stable=True)
    count = int(k.item())
    return values.narrow(axis, 0, count), indices.narrow(axis, 0, count)
