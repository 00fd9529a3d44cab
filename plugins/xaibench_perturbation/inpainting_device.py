"""Filling holes from their borders on a device: the equations of all holes at once, solved step by step.

:func:`xaibench_perturbation.inpaint` factorises a sparse matrix for each hole on the CPU, exactly. A GPU would wait for
that. Here the same equations of many holes are solved together by conjugate gradients in float64, to
:data:`TOLERANCE` of a pixel's range, which float32 pictures hardly show.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

TOLERANCE = 1e-5
"""Residual at which the solution is taken, relative to the right side: both are norms over a hole and its colours."""
_CHECKED = 32
"""Steps between two looks at the residual: each look waits for the device."""
_BESIDE, _ACROSS = 1 / 6, 1 / 12


def solved_on_device(image: Tensor, holes: Tensor) -> Tensor:
    """``(n, 3, H, W)`` float64: ``(3, H, W)`` with each of ``(n, H, W)`` bool holes filled.

    A hole that covers everything takes the picture's mean colour. The sums of a step have one order, so that two runs
    on one device give the same numbers.
    """
    known, inside = image.double()[None], holes[:, None].double()
    start = known * (1 - inside) + _guess(known, 1 - inside) * inside
    # A x = b on the unknown pixels alone: x is 0 outside, and the known pixels are on the right side.
    right = -inside * _laplacian(known * (1 - inside))
    unknown = start * inside
    residual = right - inside * _laplacian(unknown)
    bound = TOLERANCE**2 * _square(right).clamp(min=torch.finfo(torch.float64).tiny)
    direction, square = residual, _square(residual)
    for step in range(1, 4 * sum(image.shape[-2:]) + 1):
        applied = inside * _laplacian(direction)
        length = square / _positive((direction * applied).sum(dim=(1, 2, 3), keepdim=True))
        unknown = unknown + length * direction
        residual = residual - length * applied
        before, square = square, _square(residual)
        if step % _CHECKED == 0 and bool((square <= bound).all()):
            break
        direction = residual + square / _positive(before) * direction
    whole = inside.amin(dim=(1, 2, 3), keepdim=True) > 0
    solved = known * (1 - inside) + unknown * inside
    return torch.where(whole, known.mean(dim=(2, 3), keepdim=True).expand_as(solved), solved)


def _laplacian(x: Tensor) -> Tensor:
    """``sum_j w_ij (x_i - x_j)`` over the eight neighbours within the picture: ``(n, C, H, W)``."""
    framed = functional.pad(x, (1, 1, 1, 1))
    beside = framed[..., :-2, 1:-1] + framed[..., 2:, 1:-1] + framed[..., 1:-1, :-2] + framed[..., 1:-1, 2:]
    across = framed[..., :-2, :-2] + framed[..., :-2, 2:] + framed[..., 2:, :-2] + framed[..., 2:, 2:]
    return _degrees(x) * x - (_BESIDE * beside + _ACROSS * across)


def _degrees(x: Tensor) -> Tensor:
    """``(H, W)`` sums of the weights of each pixel's neighbours: less at the border."""
    down, along = (_neighbours(n, x) for n in x.shape[-2:])
    both = (down[:, None] + 1) * (along + 1) - 1  # neighbours in all, of which those beside count twice
    beside = down[:, None] + along
    return _BESIDE * beside + _ACROSS * (both - beside)


def _neighbours(n: int, like: Tensor) -> Tensor:
    """``(n,)``: neighbours of each place on a line."""
    places = torch.arange(n, device=like.device)
    return ((places > 0).to(like.dtype) + (places < n - 1)).to(like.dtype)


def _guess(known: Tensor, weights: Tensor) -> Tensor:
    """A smooth filling to begin with: at each scale the mean of the known pixels, the finest that has any."""
    height, width = known.shape[-2:]
    found, missing = torch.zeros_like(known * weights), torch.ones_like(weights)
    size = 1
    while size < 2 * max(height, width):
        window = (min(size, height), min(size, width))
        share = functional.avg_pool2d(weights, window, window, ceil_mode=True)
        colours = functional.avg_pool2d(known * weights, window, window, ceil_mode=True) / share.clamp(min=1e-12)
        share, colours = (_enlarged(t, window, (height, width)) for t in (share, colours))
        takes = missing * (share > 0)
        found, missing = found + takes * colours, missing - takes
        size *= 2
    return found


def _enlarged(cells: Tensor, window: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Every cell's value on each of its pixels."""
    rows, columns = (torch.arange(n, device=cells.device) // side for n, side in zip(size, window, strict=True))
    return cells[:, :, rows][..., columns]


def _square(x: Tensor) -> Tensor:
    """``(n, 1, 1, 1)`` sums of squares."""
    return x.square().sum(dim=(1, 2, 3), keepdim=True)


def _positive(x: Tensor) -> Tensor:
    return x.clamp(min=torch.finfo(torch.float64).tiny)
