"""Salience-guided degradation on a device: every level of the blur at once, by products with its two matrices.

:func:`xaibench_metrics.salience.blur.degrade` filters on the CPU, level by level. A Gaussian is separable, so that a
level is ``R @ picture @ C.T``; a device does all 101 levels in two products.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from xaibench.api import to_device


def degraded_on_device(image: Tensor, codes: Tensor, strengths: Sequence[float]) -> Tensor:
    """``(n, 3, H, W)`` float32 in [0, 1] of a ``(3, H, W)`` picture on its device.

    Parameters
    ----------
    codes: ``(n, H, W)`` int64, the level of each pixel.
    strengths: sigma of each level, in pixels.
    """
    height, width = image.shape[1:]
    rows, columns = (_blurs(n, tuple(strengths), image.device) for n in (height, width))
    levels = (rows[:, None] @ image.double() @ columns[:, None].mT).clamp(0, 1)
    chosen = to_device(codes, image.device).flatten(1)[:, None].expand(-1, len(image), -1)
    return levels.flatten(2).gather(0, chosen).view(len(codes), *image.shape).float()


@lru_cache(maxsize=8)
def _blurs(n: int, strengths: tuple[float, ...], device: torch.device) -> Tensor:
    """``(levels, n, n)`` float64: :func:`reflected_blur` of each strength. 40 MB of the device at 224 pixels."""
    return to_device(torch.stack([reflected_blur(n, sigma) for sigma in strengths]), device)


def reflected_blur(n: int, sigma: float) -> Tensor:
    """``(n, n)`` float64 matrix of a Gaussian along a line whose borders are reflected, cut at 4 sigma.

    Equal to ``scipy.ndimage.gaussian_filter1d`` with its defaults; the identity where a single tap is left.
    """
    radius = int(4 * sigma + 0.5)
    if radius == 0:
        return torch.eye(n, dtype=torch.float64)
    offsets = torch.arange(-radius, radius + 1)
    taps = torch.exp(-0.5 * (offsets.double() / sigma) ** 2)
    places = (torch.arange(n)[:, None] + offsets) % (2 * n)
    sources = torch.where(places < n, places, 2 * n - 1 - places)
    return torch.zeros(n, n, dtype=torch.float64).scatter_add_(1, sources, (taps / taps.sum()).expand(n, -1))
