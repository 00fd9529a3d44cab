"""Class activation maps as they are trained, and how far they are from a guide."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

FLAT = 1e-8
"""A map whose values lie no further apart than this is taken for constant."""


def class_activation_maps(activation: Tensor, weights: Tensor) -> Tensor:
    """``sum_k w_k A_k`` (Zhou et al. 2016, equation 2; no ReLU): ``(N, K, h, w)`` and ``(N, K)`` give ``(N, h, w)``."""
    return torch.einsum("nkhw,nk->nhw", activation, weights)


def min_max(maps: Tensor) -> Tensor:
    """Each map of ``(N, h, w)`` stretched to [0, 1]: ``(M - min M) / (max M - min M)``.

    A constant map (:data:`FLAT`) is 0 everywhere and passes no gradient; nothing is added to the divisor, so that a
    stretched map stays exactly as it is when stretched again.
    """
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    flat = high - low <= FLAT
    stretched = (maps - low) / torch.where(flat, torch.ones_like(low), high - low)
    return torch.where(flat, torch.zeros_like(stretched), stretched)


def shrink(guides: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Guides ``(N, H, W)`` as the map sees them: averaged over areas to ``size`` and stretched to [0, 1].

    Also ``(N,)`` bool: False where nothing is left to tell one place from another (a guide that covers everything).
    """
    small = functional.interpolate(guides[:, None], size, mode="area")[:, 0]
    telling = small.amax((1, 2)) - small.amin((1, 2)) > FLAT
    return min_max(small), telling


def guide_loss(maps: Tensor, guides: Tensor, guided: Tensor) -> Tensor | None:
    """Mean over guided pictures and cells of ``(C - G)^2``, in [0, 1]; None where no picture of the batch is guided.

    ``maps``: ``(N, h, w)``, class activation maps as they come; ``guides``: ``(N, H, W)``; ``guided``: ``(N,)``. An
    unguided picture takes no part: a stretched map always reaches 1, so that an all-zero guide would not mean "look
    nowhere" but encode that the picture has no guide.
    """
    targets, telling = shrink(guides, (maps.shape[1], maps.shape[2]))
    used = guided & telling
    if not bool(used.any()):
        return None
    return functional.mse_loss(min_max(maps[used]), targets[used])
