"""Operators that move elements without computing with them, and that make or read shapes."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from xaibench_models.onnx_graph.node import Node, numbers
from xaibench_models.onnx_graph.registration import ALL, NUMBERS, operator


@operator("Reshape", dtypes=ALL, host=(1,))
def reshape(node: Node, x: Tensor, shape: Tensor) -> Tensor:
    """0 copies the input's length unless ``allowzero``; one -1 takes what is left."""
    sizes = numbers(shape)
    if not node.integer("allowzero"):
        sizes = [x.shape[i] if size == 0 else size for i, size in enumerate(sizes)]
    return torch.reshape(x, sizes)


@operator("Flatten", dtypes=ALL)
def flatten(node: Node, x: Tensor) -> Tensor:
    axis = node.integer("axis", 1)
    axis += x.ndim if axis < 0 else 0
    return torch.reshape(x, (math.prod(x.shape[:axis]), math.prod(x.shape[axis:])))


def _axes(node: Node, given: Tensor | None) -> list[int] | None:
    return node.integers("axes") if given is None else numbers(given)


@operator("Squeeze", dtypes=ALL, host=(1,))
def squeeze(node: Node, x: Tensor, axes: Tensor | None = None) -> Tensor:
    along = _axes(node, axes)
    return torch.squeeze(x) if along is None else torch.squeeze(x, tuple(along))


@operator("Unsqueeze", dtypes=ALL, host=(1,))
def unsqueeze(node: Node, x: Tensor, axes: Tensor | None = None) -> Tensor:
    """Axes count in the result."""
    along = _axes(node, axes) or []
    rank = x.ndim + len(along)
    for axis in sorted(axis % rank for axis in along):
        x = torch.unsqueeze(x, axis)
    return x


@operator("Transpose", dtypes=ALL)
def transpose(node: Node, x: Tensor) -> Tensor:
    return torch.permute(x, node.integers("perm") or list(reversed(range(x.ndim))))


@operator("Concat", dtypes=ALL)
def concat(node: Node, *values: Tensor) -> Tensor:
    return torch.cat(values, node.integer("axis"))


@operator("Split", dtypes=ALL, host=(1,))
def split(node: Node, x: Tensor, lengths: Tensor | None = None) -> Tensor | tuple[Tensor, ...]:
    """Into the given lengths, or into equal parts of which the last may be shorter."""
    axis = node.integer("axis")
    parts = node.integers("split") if lengths is None else numbers(lengths)
    if parts is None:
        count = node.integer("num_outputs", len(node.results))
        size = -(-x.shape[axis] // count)
        parts = [min(size, max(x.shape[axis] - i * size, 0)) for i in range(count)]
    pieces = torch.split(x, parts, axis)
    return pieces[0] if len(node.results) == 1 else pieces


@operator("Slice", dtypes=ALL, host=(1, 2, 3, 4))
def slice_(
    node: Node, x: Tensor, starts: Tensor, ends: Tensor, axes: Tensor | None = None, steps: Tensor | None = None
) -> Tensor:
    """Negative steps flip first, since torch slices forwards only."""
    first, last = numbers(starts), numbers(ends)
    along = list(range(len(first))) if axes is None else numbers(axes)
    strides = [1] * len(first) if steps is None else numbers(steps)
    for start, end, axis, step in zip(first, last, along, strides, strict=True):
        x = _slice(x, axis % x.ndim, _range(start, end, step, x.shape[axis]))
    return x


def _range(start: int, end: int, step: int, size: int) -> range:
    """The places of a slice. Unlike in Python an end before the first element is clamped, not counted from the back."""
    first = start + size if start < 0 else start
    last = end + size if end < 0 else end
    low, high = (0, size) if step > 0 else (-1, size - 1)
    return range(min(max(first, 0), high), min(max(last, low), high), step)


def _slice(x: Tensor, axis: int, picked: range) -> Tensor:
    if picked.step < 0:
        return torch.flip(_slice(x, axis, picked[::-1]), [axis])
    index = (slice(None),) * axis + (slice(picked.start, max(picked.stop, picked.start), picked.step),)
    return x[index]


@operator("Expand", dtypes=ALL, host=(1,))
def expand(node: Node, x: Tensor, shape: Tensor) -> Tensor:
    wanted = numbers(shape)
    have = [1] * (len(wanted) - x.ndim) + list(x.shape)
    wanted = [1] * (x.ndim - len(wanted)) + wanted
    return torch.broadcast_to(x, [n if size == 1 else size for n, size in zip(have, wanted, strict=True)])


@operator("Tile", dtypes=ALL, host=(1,))
def tile(node: Node, x: Tensor, repeats: Tensor) -> Tensor:
    return torch.tile(x, numbers(repeats))


@operator("Shape", dtypes=ALL)
def shape_of(node: Node, x: Tensor) -> Tensor:
    """On the CPU, where shapes are reckoned with."""
    last = node.attributes.get("end")
    return torch.tensor(list(x.shape)[slice(node.integer("start"), last)], dtype=torch.int64)


@operator("Size", dtypes=ALL)
def size_of(node: Node, x: Tensor) -> Tensor:
    return torch.tensor(x.numel(), dtype=torch.int64)


@operator("Constant", dtypes=ALL, limits="no strings, no sparse tensors")
def constant(node: Node) -> Tensor:
    value = node.tensor("value")
    if value is not None:
        return value
    for name, dtype in (("value_float", node.like.dtype), ("value_floats", node.like.dtype)):
        if name in node.attributes:
            return torch.tensor(node.attributes[name], dtype=dtype)
    name = "value_int" if "value_int" in node.attributes else "value_ints"
    return torch.tensor(node.attributes[name], dtype=torch.int64)


@operator("ConstantOfShape", dtypes=ALL, host=(0,))
def constant_of_shape(node: Node, shape: Tensor) -> Tensor:
    value = node.tensor("value")
    if value is None:
        value = torch.zeros(1, dtype=node.like.dtype)
    return torch.full(numbers(shape), value.item(), dtype=value.dtype)


@operator("Range", dtypes=NUMBERS, host=(0, 1, 2), followed=(0, 1, 2))
def range_(node: Node, start: Tensor, limit: Tensor, delta: Tensor) -> Tensor:
    """``start + i delta``, each reckoned on its own; gradients flow through both."""
    first, step = start.item(), delta.item()
    count = max(math.ceil((limit.item() - first) / step), 0)
    if not start.is_floating_point():
        return torch.tensor(first, dtype=start.dtype) + torch.arange(count, dtype=start.dtype) * delta
    return (start.double() + torch.arange(count, dtype=torch.float64) * delta.double()).to(start.dtype)


def _dropout_training(node: Node) -> str | None:
    if node.version < 12 and node.wants(1):
        return "the mask before opset 12, which the definition leaves open"
    if not node.given(2):
        return None
    mode = node.constant(2)
    if mode is None:
        return "training mode is decided at run time"
    return "training mode: export the model in inference mode" if mode.item() else None


@operator(
    "Dropout",
    host=(1, 2),
    check=_dropout_training,
    limits="no mask before opset 12",
    inference="identity; training_mode is refused",
)
def dropout(node: Node, x: Tensor, *_: Tensor | None) -> Tensor | tuple[Tensor, Tensor]:
    if len(node.results) == 1:
        return x.view_as(x)
    return x.view_as(x), torch.ones_like(x, dtype=torch.bool)


@operator("DepthToSpace", dtypes=ALL)
def depth_to_space(node: Node, x: Tensor) -> Tensor:
    size, (n, c, h, w) = node.integer("blocksize"), x.shape
    if node.text("mode", "DCR") == "DCR":
        blocks = x.reshape(n, size, size, c // size**2, h, w).permute(0, 3, 4, 1, 5, 2)
    else:
        blocks = x.reshape(n, c // size**2, size, size, h, w).permute(0, 1, 4, 2, 5, 3)
    return blocks.reshape(n, c // size**2, h * size, w * size)


def _space_mode(node: Node) -> str | None:
    mode = node.text("mode", "DCR")
    return None if mode == "DCR" else f"mode {mode}"


@operator("SpaceToDepth", dtypes=ALL, check=_space_mode, limits="mode DCR")
def space_to_depth(node: Node, x: Tensor) -> Tensor:
    size, (n, c, h, w) = node.integer("blocksize"), x.shape
    blocks = x.reshape(n, c, h // size, size, w // size, size).permute(0, 3, 5, 1, 2, 4)
    return blocks.reshape(n, c * size**2, h // size, w // size)


@operator("Pad", dtypes=ALL, host=(1, 2, 3))
def pad(node: Node, x: Tensor, pads: Tensor, value: Tensor | None = None, axes: Tensor | None = None) -> Tensor:
    """Constant through ``F.pad``; the other modes pick elements, so that they work on any axis and any type."""
    widths = numbers(pads)
    along = list(range(x.ndim)) if axes is None else [axis % x.ndim for axis in numbers(axes)]
    sides = dict(zip(along, zip(widths[: len(along)], widths[len(along) :], strict=True), strict=True))
    if node.text("mode", "constant") == "constant":
        flat = [width for axis in reversed(range(x.ndim)) for width in sides.get(axis, (0, 0))]
        return F.pad(x, flat, value=0 if value is None else value.item())
    for axis, (before, after) in sides.items():
        if before or after:
            x = torch.index_select(x, axis, _picked(node.text("mode"), x.shape[axis], before, after).to(x.device))
    return x


def _picked(mode: str, size: int, before: int, after: int) -> Tensor:
    """For each place of the padded axis the element that stands there."""
    kept = torch.arange(max(-before, 0), size - max(-after, 0))  # negative pads crop first, in every mode
    places = torch.arange(-max(before, 0), len(kept) + max(after, 0))
    count = len(kept)
    if mode == "edge":
        return kept[places.clamp(0, count - 1)]
    if mode == "wrap":
        return kept[places % count]
    period = max(2 * (count - 1), 1)
    return kept[count - 1 - ((places % period) - (count - 1)).abs()]


@operator("CenterCropPad", dtypes=ALL, host=(1,))
def center_crop_pad(node: Node, x: Tensor, shape: Tensor) -> Tensor:
    """Odd differences: one cell more at the end."""
    axes = node.integers("axes") or list(range(x.ndim))
    for axis, wanted in zip(axes, numbers(shape), strict=True):
        size = x.shape[axis]
        if wanted < size:
            x = x.narrow(axis, (size - wanted) // 2, wanted)
        before = max(wanted - size, 0) // 2
        sides = [0, 0] * (x.ndim - 1 - axis % x.ndim) + [before, max(wanted - size, 0) - before]
        x = F.pad(x, sides)
    return x


@operator("EyeLike", dtypes=ALL)
def eye_like(node: Node, x: Tensor) -> Tensor:
    dtype = node.dtype(node.integer("dtype")) if "dtype" in node.attributes else x.dtype
    rows = torch.arange(x.shape[0], device=x.device)[:, None]
    columns = torch.arange(x.shape[1], device=x.device)
    return (columns - rows == node.integer("k")).to(dtype)


@operator("Trilu", dtypes=ALL, host=(1,))
def trilu(node: Node, x: Tensor, diagonal: Tensor | None = None) -> Tensor:
    k = 0 if diagonal is None else int(diagonal.item())
    return torch.triu(x, k) if node.integer("upper", 1) else torch.tril(x, k)
