"""Pooling over windows and over whole planes."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from xaibench_models.onnx_graph.node import Node
from xaibench_models.onnx_graph.registration import FLOATS, operator
from xaibench_models.onnx_graph.windows import Windows, windows

_MAX: dict[int, Callable[..., Tensor]] = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
_MEAN: dict[int, Callable[..., Tensor]] = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
_CONV: dict[int, Callable[..., Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_GLOBAL_MAX: dict[int, Callable[..., Tensor]] = {
    1: F.adaptive_max_pool1d,
    2: F.adaptive_max_pool2d,
    3: F.adaptive_max_pool3d,
}


def _rank(node: Node) -> str | None:
    rank = len(node.integers("kernel_shape") or ())
    return None if rank in _MAX else f"{rank} spatial axes"


def _pool_rank(node: Node) -> str | None:
    if node.integer("ceil_mode") and node.text("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return "ceil_mode together with auto_pad SAME"
    return _rank(node)


_LIMITS = "1 to 3 spatial axes; ceil_mode not together with auto_pad SAME"


def _windows(node: Node, x: Tensor) -> Windows:
    return windows(node, x.shape[2:], node.integers("kernel_shape") or [])


@operator("MaxPool", check=_pool_rank, limits=_LIMITS, pools=True)
def max_pool(node: Node, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
    """Padding never wins (it is -inf)."""
    w, rank = _windows(node, x), x.ndim - 2
    fits = w.plain and all(0 <= 2 * b <= k for b, k in zip(w.begin, w.kernel, strict=True))
    padding = w.begin if fits else (0,) * rank
    source = x if fits else w.pad(x, -math.inf)
    if not node.wants(1):
        return _MAX[rank](source, w.kernel, w.stride, padding, w.dilation)
    y, indices = _MAX[rank](source, w.kernel, w.stride, padding, w.dilation, return_indices=True)
    shift = (0,) * rank if fits else w.begin
    return y, _flat_indices(indices, source.shape[2:], shift, x, bool(node.integer("storage_order")))


def _flat_indices(
    indices: Tensor, padded: tuple[int, ...], shift: tuple[int, ...], x: Tensor, column_major: bool
) -> Tensor:
    """Positions in the whole of ``x`` from positions in a padded plane."""
    axes: list[Tensor] = []
    for size, before in zip(reversed(padded), reversed(shift), strict=True):
        axes.append(indices % size - before)
        indices = torch.div(indices, size, rounding_mode="floor")
    ordered = list(zip(axes, reversed(x.shape[2:]), strict=True))
    place, step = torch.zeros_like(axes[0]), 1
    for axis, size in reversed(ordered) if column_major else ordered:
        place, step = place + axis * step, step * size
    planes = torch.arange(x.shape[0] * x.shape[1], device=x.device).reshape(x.shape[0], x.shape[1], *[1] * (x.ndim - 2))
    return place + planes * step


@operator("AveragePool", check=_pool_rank, limits=_LIMITS, pools=True)
def average_pool(node: Node, x: Tensor) -> Tensor:
    """The mean over the cells of the window that lie in the input, or in it and its padding (``count_include_pad``)."""
    w, include = _windows(node, x), bool(node.integer("count_include_pad"))
    direct = w.plain and all(d == 1 for d in w.dilation) and not (x.ndim == 5 and x.dtype.itemsize == 2)
    if direct and all(0 <= 2 * b <= k for b, k in zip(w.begin, w.kernel, strict=True)):  # torch: no 3-D mean of halves
        return _MEAN[x.ndim - 2](x, w.kernel, w.stride, w.begin, count_include_pad=include)
    inside = torch.ones(1, 1, *x.shape[2:], dtype=x.dtype, device=x.device)
    counted = w.pad(w.pad(inside, 1.0, extra=False) if include else inside, 0.0, pads=not include)
    return _window_sum(w.pad(x, 0.0), w) / _window_sum(counted, w)


def _window_sum(x: Tensor, w: Windows) -> Tensor:
    """The sum over each window of an input that is already padded."""
    ones = torch.ones(1, 1, *w.kernel, dtype=x.dtype, device=x.device)
    planes = x.reshape(-1, 1, *x.shape[2:])
    sums = _CONV[len(w.kernel)](planes, ones, stride=w.stride, dilation=w.dilation)
    return sums.reshape(*x.shape[:2], *sums.shape[2:])


@operator("LpPool", check=_pool_rank, limits=_LIMITS, pools=True)
def lp_pool(node: Node, x: Tensor) -> Tensor:
    w, p = _windows(node, x), node.integer("p", 2)
    return _window_sum(w.pad(torch.pow(torch.abs(x), p), 0.0), w) ** (1 / p)


@operator("GlobalAveragePool", dtypes=FLOATS, pools=True)
def global_average_pool(node: Node, x: Tensor) -> Tensor:
    return torch.mean(x, list(range(2, x.ndim)), keepdim=True)


@operator("GlobalMaxPool", dtypes=FLOATS, limits="1 to 3 spatial axes", pools=True)
def global_max_pool(node: Node, x: Tensor) -> Tensor:
    """As an adaptive pool, which sends the gradient to one cell where several share the maximum."""
    return _GLOBAL_MAX[x.ndim - 2](x, 1)


@operator("GlobalLpPool", dtypes=FLOATS, pools=True)
def global_lp_pool(node: Node, x: Tensor) -> Tensor:
    y: Tensor = torch.linalg.vector_norm(x, node.integer("p", 2), list(range(2, x.ndim)), keepdim=True)
    return y
