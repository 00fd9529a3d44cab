"""The order in which a map ranks pixels, the same on every machine."""

from __future__ import annotations

import torch
from torch import Tensor


def pixel_ranks(saliency: Tensor) -> Tensor:
    """``(H, W)`` int64: 0 for the most salient pixel, ``H*W - 1`` for the least; equal values rank by position.

    Position counts along rows from the upper left corner.
    """
    order = torch.argsort(saliency.flatten(), descending=True, stable=True)
    ranks = torch.empty_like(order)
    ranks[order] = torch.arange(len(order), device=order.device)
    return ranks.view(saliency.shape)


def step_counts(pixels: int, steps: int) -> Tensor:
    """``(steps + 1,)`` int64 pixel counts from 0 to ``pixels``, ``floor(t * pixels / steps)``."""
    return torch.arange(steps + 1) * pixels // steps


def is_constant(saliency: Tensor) -> bool:
    """Whether all values are equal, so that the map ranks nothing."""
    return bool((saliency == saliency.flatten()[0]).all())
