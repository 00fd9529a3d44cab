"""Facial patches as concepts: the pictures that show one patch, and how an axis's activation grows with its direction.

Activations are ``(N, C, h, w)``: ``whitened`` before the rotation R, ``y = R x`` after it, ``y_j`` axis j.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from xaibench.api import UsageError

Activation = Literal["mean", "max", "pool-max", "pos-mean"]
Mask = Literal["correct", "published"]

POOL = 3
"""Side and stride of the windows of ``pool-max``, in cells."""


def patch_pictures(pictures: Tensor, patch: int, side: int, colour: Tensor) -> Tensor:
    """``pictures`` ``(N, 3, H, W)`` with everything but one cell of a ``side`` x ``side`` grid in ``colour`` ``(3,)``.

    Patch p lies in column ``p // side`` and row ``p % side``, between the cuts ``floor(k H / side)``: 25 or 26 pixels
    for 256 / 10. With the colour that the network subtracts, the rest is 0 after its normalisation. Raises
    :class:`UsageError` where the grid is finer than the picture.
    """
    height, width = pictures.shape[-2:]
    if side > min(height, width):
        raise UsageError(f"pictures of {height} x {width} have no {side} x {side} patches", "set fewer patches")
    column, row = divmod(patch, side)
    rows = slice(row * height // side, (row + 1) * height // side)
    columns = slice(column * width // side, (column + 1) * width // side)
    shown = colour.to(pictures)[:, None, None].expand_as(pictures).clone()
    shown[..., rows, columns] = pictures[..., rows, columns]
    return shown


def axis_activation(turned: Tensor, kind: Activation) -> Tensor:
    """Mean over pictures of an axis's pooled activation, for each of ``turned`` ``(N, M, h, w)``: ``(M,)``.

    ``mean``: over positions. ``max``: at the greatest (several that are equal share). ``pos-mean``: over positions
    above 0, 0 where there is none. ``pool-max``: mean of the maxima of 3 x 3 windows at stride 3, as many as fit
    (smaller where the grid is).
    """
    return (_WEIGHTS[kind](turned) * turned).sum(dim=(2, 3)).mean(dim=0)


def axis_gradient(whitened: Tensor, rotation: Tensor, axis: int, kind: Activation, mask: Mask = "correct") -> Tensor:
    """``(C,)``: the derivative of :func:`axis_activation` of ``axis`` by row ``axis`` of ``rotation`` ``(C, C)``.

    ``g_c = mean_n sum_hw w(n, h, w) x(n, c, h, w)``, w being the weights with which the positions of y_axis enter its
    activation. ``published``: the weights of channel c are those of y_c instead, as the code of concept whitening and
    its successors has it; only component ``axis`` is then the true derivative, except for ``mean``.
    """
    rows = rotation[axis : axis + 1] if mask == "correct" else rotation
    turned = functional.conv2d(whitened, rows[:, :, None, None])
    return (_WEIGHTS[kind](turned) * whitened).sum(dim=(2, 3)).mean(dim=0)


def _mean_weights(turned: Tensor) -> Tensor:
    return torch.full_like(turned, 1 / turned[0, 0].numel())


def _max_weights(turned: Tensor) -> Tensor:
    return _shared(turned == turned.amax(dim=(2, 3), keepdim=True), turned)


def _positive_weights(turned: Tensor) -> Tensor:
    return _shared(turned > 0, turned)


def _pool_weights(turned: Tensor) -> Tensor:
    window = (min(POOL, turned.shape[2]), min(POOL, turned.shape[3]))
    _, at = functional.max_pool2d(turned, window, return_indices=True)
    chosen = torch.zeros_like(turned).flatten(2).scatter_(2, at.flatten(2), 1.0)
    return _shared(chosen.reshape(turned.shape) > 0, turned)


def _shared(chosen: Tensor, like: Tensor) -> Tensor:
    """The chosen positions in equal shares that sum to 1; all 0 where none is chosen."""
    return chosen.to(like) / chosen.sum(dim=(2, 3), keepdim=True).clamp(min=1)


_WEIGHTS: MappingProxyType[Activation, Callable[[Tensor], Tensor]] = MappingProxyType(
    {"mean": _mean_weights, "max": _max_weights, "pool-max": _pool_weights, "pos-mean": _positive_weights}
)
