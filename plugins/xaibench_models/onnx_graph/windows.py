"""Where convolution and pooling windows lie: pads, dilations, ``auto_pad``, ceiling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from xaibench_models.onnx_graph.node import Node


@dataclass(frozen=True, slots=True)
class Windows:
    """Windows over the spatial axes of one input, with explicit pads at both ends of each axis.

    ``extra``: further cells at the end of an axis that only the last window of ``ceil_mode`` reaches; they belong
    neither to the input nor to its padding.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    begin: tuple[int, ...]
    end: tuple[int, ...]
    extra: tuple[int, ...]

    @property
    def plain(self) -> bool:
        """Whether the pads are the same at both ends and no cell lies beyond them."""
        return self.begin == self.end and not any(self.extra)

    def pad(self, x: Tensor, value: float, *, extra: bool = True, pads: bool = True) -> Tensor:
        """``x`` with ``value`` around it (a negative pad crops)."""
        if self.plain and not any(self.begin):
            return x
        sides: list[int] = []
        for before, after, more in zip(self.begin, self.end, self.extra, strict=True):
            sides = [before * pads, after * pads + more * extra, *sides]
        return F.pad(x, sides, value=value)


def windows(node: Node, spatial: Sequence[int], kernel: Sequence[int]) -> Windows:
    """The windows of a convolution or pooling node over an input of ``spatial`` size."""
    rank = len(spatial)
    stride = tuple(node.integers("strides") or [1] * rank)
    dilation = tuple(node.integers("dilations") or [1] * rank)
    extent = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    begin, end = _pads(node, spatial, extent, stride)
    extra = [0] * rank
    if node.integer("ceil_mode"):
        extra = [_extra(*axis) for axis in zip(spatial, begin, end, extent, stride, strict=True)]
    return Windows(tuple(kernel), stride, dilation, tuple(begin), tuple(end), tuple(extra))


def _pads(
    node: Node, spatial: Sequence[int], extent: Sequence[int], stride: Sequence[int]
) -> tuple[list[int], list[int]]:
    mode, rank = node.text("auto_pad", "NOTSET"), len(spatial)
    if mode == "VALID":
        return [0] * rank, [0] * rank
    if mode == "NOTSET":
        pads = node.integers("pads") or [0] * (2 * rank)
        return pads[:rank], pads[rank:]
    total = [max((-(-n // s) - 1) * s + e - n, 0) for n, e, s in zip(spatial, extent, stride, strict=True)]
    shorter, longer = [t // 2 for t in total], [t - t // 2 for t in total]
    return (shorter, longer) if mode == "SAME_UPPER" else (longer, shorter)


def _extra(size: int, begin: int, end: int, extent: int, stride: int) -> int:
    """Cells beyond the pads that the last window of ``ceil_mode`` needs.

    A window that would start beyond the input and its first pad is dropped.
    """
    padded = size + begin + end
    count = -(-(padded - extent) // stride) + 1
    if (count - 1) * stride >= size + begin:
        count -= 1
    return max((count - 1) * stride + extent - padded, 0)
