"""Convolutions of one to three spatial axes."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F

from xaibench_models.onnx_graph.node import Node
from xaibench_models.onnx_graph.registration import operator
from xaibench_models.onnx_graph.windows import windows

_CONV: dict[int, Callable[..., Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_TRANSPOSED: dict[int, Callable[..., Tensor]] = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def _weight_rank(node: Node) -> str | None:
    weight = node.constant(1)
    rank = len(node.integers("kernel_shape") or ()) or (weight.ndim - 2 if weight is not None else 2)
    return None if rank in _CONV else f"{rank} spatial axes"


@operator("Conv", check=_weight_rank, limits="1 to 3 spatial axes")
def conv(node: Node, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    w = windows(node, x.shape[2:], weight.shape[2:])
    padding = w.begin if w.plain and min(w.begin) >= 0 else (0,) * len(w.begin)
    x = x if padding is w.begin else w.pad(x, 0.0)
    return _CONV[x.ndim - 2](x, weight, bias, w.stride, padding, w.dilation, node.integer("group", 1))


@operator("ConvTranspose", check=_weight_rank, limits="1 to 3 spatial axes")
def conv_transpose(node: Node, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The full result without pads, of which the pads are then cut off."""
    rank = x.ndim - 2
    stride = node.integers("strides") or [1] * rank
    dilation = node.integers("dilations") or [1] * rank
    added = node.integers("output_padding") or [0] * rank
    full = [
        (n - 1) * s + (k - 1) * d + 1
        for n, s, k, d in zip(x.shape[2:], stride, weight.shape[2:], dilation, strict=True)
    ]
    begin, end = _transposed_pads(node, x.shape[2:], stride, [f + a for f, a in zip(full, added, strict=True)])
    options = {"stride": stride, "dilation": dilation, "groups": node.integer("group", 1)}
    if begin == end and min(begin) >= 0 and all(a < max(s, d) for a, s, d in zip(added, stride, dilation, strict=True)):
        return _TRANSPOSED[rank](x, weight, bias, padding=begin, output_padding=added, **options)
    y = _TRANSPOSED[rank](x, weight, **options)
    sides: list[int] = []
    for before, after, more in zip(begin, end, added, strict=True):
        sides = [-before, more - after, *sides]
    y = F.pad(y, sides)
    return y if bias is None else y + bias.reshape(-1, *[1] * rank)


def _transposed_pads(
    node: Node, spatial: tuple[int, ...], stride: list[int], full: list[int]
) -> tuple[list[int], list[int]]:
    """What is cut off at the start and the end of each axis of the ``full`` result."""
    mode, rank, wanted = node.text("auto_pad", "NOTSET"), len(full), node.integers("output_shape")
    if wanted is None and mode in ("NOTSET", "VALID"):
        pads = (node.integers("pads") if mode == "NOTSET" else None) or [0] * (2 * rank)
        return pads[:rank], pads[rank:]
    if wanted is None:
        wanted = [n * s for n, s in zip(spatial, stride, strict=True)]
    total = [f - n for f, n in zip(full, wanted[-rank:], strict=True)]
    shorter, longer = [t // 2 for t in total], [t - t // 2 for t in total]
    return (shorter, longer) if mode == "SAME_UPPER" else (longer, shorter)
