"""Designs of masks that switch parts of a picture off: kept small, rendered in chunks where they are needed.

A mask is ``row_weights.T @ (grid @ column_weights)``: interpolation is separable, so one batched product renders a
whole chunk, each mask at its own shift, without making the oversized masks that the shift crops.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from xaibench.api import to_device

CHUNK = 64
"""Masked pictures in one request: bounds the memory of a programme whatever the number of masks."""


@dataclass(frozen=True, slots=True)
class MaskDesign:
    """``N`` masks over ``H x W`` pixels in low-resolution form; 1 keeps a pixel, 0 switches it off.

    ``grids``: ``(N, s, s)`` in [0, 1]. ``row_shift``, ``column_shift``: ``(N,)`` indices into ``row_weights``
    ``(shifts, s, H)`` and ``column_weights`` ``(shifts, s, W)``, the interpolation of each shift.
    """

    grids: Tensor
    row_shift: Tensor
    column_shift: Tensor
    row_weights: Tensor
    column_weights: Tensor

    def __len__(self) -> int:
        return len(self.grids)

    def to(self, device: torch.device) -> MaskDesign:
        return MaskDesign(
            to_device(self.grids, device),
            to_device(self.row_shift, device),
            to_device(self.column_shift, device),
            to_device(self.row_weights, device),
            to_device(self.column_weights, device),
        )

    def render(self, start: int, stop: int) -> Tensor:
        """Masks ``start`` to ``stop`` as ``(n, H, W)`` float32 in [0, 1]."""
        rows = self.row_weights[self.row_shift[start:stop]]
        columns = self.column_weights[self.column_shift[start:stop]]
        return (rows.transpose(1, 2) @ (self.grids[start:stop] @ columns)).clamp_(0, 1)

    def weighted_sum(self, weights: Tensor) -> Tensor:
        """``sum_i w_i m_i``: ``(N,)`` to ``(H, W)`` float64.

        Grids of one shift are added before they are interpolated, so that no mask is rendered for it. On the CPU,
        where the order of additions is fixed.
        """
        across = len(self.column_weights)
        shifts, which = torch.unique((self.row_shift * across + self.column_shift).cpu(), return_inverse=True)
        grids = weights.cpu().double()[:, None, None] * self.grids.cpu().double()
        summed = to_device(
            grids.new_zeros(len(shifts), *grids.shape[1:]).index_add_(0, which, grids), self.grids.device
        )
        rows = self.row_weights.double()[to_device(shifts // across, self.grids.device)]
        columns = self.column_weights.double()[to_device(shifts % across, self.grids.device)]
        lines = (rows.transpose(1, 2) @ summed).transpose(0, 1)  # (H, shifts, cells)
        return lines.flatten(1) @ columns.flatten(0, 1)


def rise_masks(count: int, *, cells: int, keep: float, size: tuple[int, int], generator: torch.Generator) -> MaskDesign:
    """RISE's random masks (Petsiuk et al. 2018, section 3.2).

    Each is a grid of ``cells x cells`` values, 1 with probability ``keep``, interpolated bilinearly to
    ``(cells + 1) * ceil(H / cells)`` pixels a side and cropped at its own uniform shift of less than one cell, so every
    pixel is on with expectation ``keep``. Interpolation replicates the border where RISE's code (scikit-image)
    reflects. Drawn on the CPU, so that every device sees the same masks.
    """
    grids = (torch.rand((count, cells, cells), generator=generator) < keep).float()
    steps = [math.ceil(n / cells) for n in size]
    shifts = [torch.randint(step, (count,), generator=generator) for step in steps]
    rows, columns = (_bilinear(cells, step, n) for step, n in zip(steps, size, strict=True))
    return MaskDesign(grids, shifts[0], shifts[1], rows, columns)


def every_mask(cells: int, size: tuple[int, int]) -> MaskDesign:
    """All ``2 ** cells**2`` on-off grids, interpolated to the nearest cell, unshifted: for exact expectations.

    Grid ``i`` is the binary form of ``i``, least significant cell first.
    """
    if cells > 4:
        raise ValueError(f"{cells}x{cells} cells have 2**{cells * cells} masks, too many to list")
    bits = torch.arange(cells * cells)
    grids = (torch.arange(2 ** (cells * cells))[:, None] >> bits & 1).float().view(-1, cells, cells)
    none = torch.zeros(len(grids), dtype=torch.int64)
    return MaskDesign(grids, none, none, _nearest(cells, size[0]), _nearest(cells, size[1]))


@dataclass(frozen=True, slots=True)
class Windows:
    """``N`` rectangles to switch off one at a time. ``rows``: ``(N, H)``, ``columns``: ``(N, W)``, float32, 1 inside.

    ``shape``: windows down and across, ``N`` their product, counted along rows.
    """

    rows: Tensor
    columns: Tensor
    shape: tuple[int, int]

    def __len__(self) -> int:
        return len(self.rows)

    def to(self, device: torch.device) -> Windows:
        return Windows(to_device(self.rows, device), to_device(self.columns, device), self.shape)

    def render(self, start: int, stop: int) -> Tensor:
        """Masks ``start`` to ``stop`` as ``(n, H, W)`` float32: 0 inside the window, 1 outside."""
        return 1 - self.rows[start:stop, :, None] * self.columns[start:stop, None]


def sliding_windows(size: tuple[int, int], window: tuple[int, int], stride: tuple[int, int]) -> Windows:
    """Windows of ``window`` pixels every ``stride`` pixels, until the last reaches the border, which may crop it."""
    inside = []
    for n, wide, step in zip(size, window, stride, strict=True):
        starts = torch.arange(window_count(n, wide, step))[:, None] * step
        inside.append(((torch.arange(n) >= starts) & (torch.arange(n) < starts + wide)).float())
    rows, columns = inside
    across = rows.repeat_interleave(len(columns), dim=0)
    return Windows(across, columns.repeat(len(rows), 1), (len(rows), len(columns)))


def window_count(n: int, wide: int, step: int) -> int:
    """Windows of ``wide`` pixels every ``step`` that reach from one border of a line of ``n`` pixels to the other."""
    return math.ceil(max(n - wide, 0) / step) + 1


def blend(image: Tensor, fill: Tensor, masks: Tensor) -> Tensor:
    """``fill + mask * (image - fill)`` for each of ``(n, H, W)`` masks: ``(n, 3, H, W)``; exact where a mask is 0 or 1.

    ``lerp`` reads and writes each picture once, an order of magnitude faster than the formula spelled out.
    """
    return torch.lerp(fill.expand_as(image), image, to_device(masks[:, None], image.device).to(image.dtype))


def _bilinear(cells: int, step: int, n: int) -> Tensor:
    """``(step, cells, n)``: interpolation of a line of cells to ``n`` pixels at each of ``step`` shifts."""
    identity = torch.eye(cells)[:, None]
    line = F.interpolate(identity, size=(cells + 1) * step, mode="linear", align_corners=False)[:, 0]
    return line.unfold(1, n, 1)[:, :step].transpose(0, 1).contiguous()


def _nearest(cells: int, n: int) -> Tensor:
    """``(1, cells, n)``: each pixel takes the value of the cell it lies in."""
    return F.one_hot(torch.arange(n) * cells // n, cells).T.float()[None]
