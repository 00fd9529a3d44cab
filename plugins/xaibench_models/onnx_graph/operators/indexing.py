"""Operators that pick and place elements by index."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from xaibench_models.onnx_graph.node import Node, numbers
from xaibench_models.onnx_graph.registration import ALL, FLOATS, NUMBERS, operator


def _positive(indices: Tensor, size: int) -> Tensor:
    """Indices counted from the front."""
    wide = indices.long()
    return torch.where(wide < 0, wide + size, wide)


@operator("Gather", dtypes=ALL)
def gather(node: Node, x: Tensor, indices: Tensor) -> Tensor:
    axis = node.integer("axis") % x.ndim
    picked = torch.index_select(x, axis, _positive(indices, x.shape[axis]).reshape(-1))
    return picked.reshape((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]))


@operator("GatherElements", dtypes=ALL)
def gather_elements(node: Node, x: Tensor, indices: Tensor) -> Tensor:
    axis = node.integer("axis")
    return torch.gather(x, axis, _positive(indices, x.shape[axis]))


def _flat(indices: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Rows of coordinates ``(..., q)`` as places in the flattened first q axes of ``shape``."""
    places = torch.zeros(indices.shape[:-1], dtype=torch.int64, device=indices.device)
    for column, size in enumerate(shape):
        places = places * size + _positive(indices[..., column], size)
    return places


@operator("GatherND", dtypes=ALL)
def gather_nd(node: Node, x: Tensor, indices: Tensor) -> Tensor:
    batch, depth = node.integer("batch_dims"), indices.shape[-1]
    leading = math.prod(x.shape[:batch])
    inner, tail = x.shape[batch : batch + depth], x.shape[batch + depth :]
    places = _flat(indices, tuple(inner)).reshape(leading, -1)
    offsets = torch.arange(leading, device=x.device)[:, None] * math.prod(inner)
    picked = torch.index_select(x.reshape(-1, *tail), 0, (places + offsets).reshape(-1))
    return picked.reshape((*indices.shape[:-1], *tail))


_REDUCE = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


def _scatter(x: Tensor, axis: int, places: Tensor, updates: Tensor, reduction: str) -> Tensor:
    if reduction == "none":
        return torch.scatter(x, axis, places, updates)
    return torch.scatter_reduce(x, axis, places, updates, _REDUCE[reduction], include_self=True)


@operator("ScatterElements", dtypes=ALL, limits="where indices repeat without a reduction, which update stays is open")
def scatter_elements(node: Node, x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    axis = node.integer("axis")
    return _scatter(x, axis, _positive(indices, x.shape[axis]), updates, node.text("reduction", "none"))


@operator("ScatterND", dtypes=ALL, limits="where indices repeat without a reduction, which update stays is open")
def scatter_nd(node: Node, x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    depth = indices.shape[-1]
    tail = math.prod(x.shape[depth:])
    places = _flat(indices, tuple(x.shape[:depth])).reshape(-1, 1).expand(-1, tail)
    rows = x.reshape(-1, tail)
    return _scatter(rows, 0, places, updates.reshape(-1, tail), node.text("reduction", "none")).reshape(x.shape)


@operator("OneHot", dtypes=NUMBERS, host=(1,))
def one_hot(node: Node, indices: Tensor, depth: Tensor, values: Tensor) -> Tensor:
    """Indices outside ``[-depth, depth - 1]`` give a row of the off value."""
    count, axis = int(depth.item()), node.integer("axis", -1)
    places = _positive(indices, count).unsqueeze(axis)
    shape = [1] * places.ndim
    shape[axis] = count
    classes = torch.arange(count, device=indices.device).reshape(shape)
    return torch.where(places == classes, values[1], values[0])


@operator("NonZero", dtypes=ALL)
def non_zero(node: Node, x: Tensor) -> Tensor:
    return torch.nonzero(x).mT.contiguous()


@operator("Compress", dtypes=ALL)
def compress(node: Node, x: Tensor, condition: Tensor) -> Tensor:
    picked = torch.nonzero(condition).reshape(-1)
    axis = node.attributes.get("axis")
    return torch.index_select(x.reshape(-1) if axis is None else x, int(axis or 0), picked)


@operator("ReverseSequence", dtypes=ALL, host=(1,))
def reverse_sequence(node: Node, x: Tensor, lengths: Tensor) -> Tensor:
    """The first ``lengths[i]`` steps of sample i backwards, the others as they are."""
    time, batch = node.integer("time_axis", 0), node.integer("batch_axis", 1)
    steps = torch.arange(x.shape[time])
    ends = torch.tensor(numbers(lengths))[:, None]
    order = torch.where(steps < ends, ends - 1 - steps, steps)  # (batch, time)
    order = order if batch < time else order.mT
    shape = [1] * x.ndim
    shape[time], shape[batch] = x.shape[time], x.shape[batch]
    return torch.gather(x, time, order.reshape(shape).expand(x.shape).to(x.device))


_GRID_MODES = {"linear": "bilinear", "cubic": "bicubic"}  # opset 16 used the names of torch


@operator("GridSample", dtypes=FLOATS)
def grid_sample(node: Node, x: Tensor, grid: Tensor) -> Tensor:
    mode = node.text("mode", "linear")
    return F.grid_sample(
        x,
        grid.to(x.dtype),
        mode=_GRID_MODES.get(mode, mode),
        padding_mode=node.text("padding_mode", "zeros"),
        align_corners=bool(node.integer("align_corners")),
    )
