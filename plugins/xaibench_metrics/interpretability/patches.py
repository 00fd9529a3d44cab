"""Facial patches as concepts: the cells of a grid, alone or hidden, and what a layer's axes make of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from xaibench.api import to_device
from xaibench_metrics.interpretability.layer import grids_of, random_axes

Order = Literal["columns", "rows"]
Activation = Literal["mean", "max", "pool-max", "pos-mean"]
Fill = Literal["mean", "picture"]
Colour = tuple[float, float, float]

POOL = 3
"""Side and stride of the windows of ``pool-max``, in cells."""

WHOLE, ALONE, HIDDEN = 0, 1, 2
"""The picture itself; one patch of it on a plain ground; the picture with that patch made plain."""


def patch_masks(side: int, order: Order, size: tuple[int, int]) -> Tensor:
    """``(side^2, H, W)`` bool: patch p in cell row i and column j, p = side j + i by ``columns``, side i + j by
    ``rows``. Cell k begins at pixel ``floor(k H / side)``, so the patches part the picture.

    Raises ValueError where a side has fewer pixels than cells.
    """
    if side > min(size):
        raise ValueError(f"a picture of {size[0]} x {size[1]} pixels has no {side} x {side} patches")
    rows, columns = (torch.arange(n) for n in size)
    row_of, column_of = (((k + 1) * side - 1) // n for k, n in ((rows, size[0]), (columns, size[1])))
    inner, outer = (row_of[:, None], column_of) if order == "columns" else (column_of, row_of[:, None])
    number = side * outer + inner
    return number == torch.arange(side**2)[:, None, None]


def ground_colours(images: Sequence[Tensor], fill: Fill, colour: Colour | None) -> Tensor:
    """``(n, 3)`` float32 for n pictures ``(3, H, W)``: ``colour`` if there is one; else by ``mean`` the mean colour of
    all, by ``picture`` of each."""
    if colour is not None:
        return torch.tensor(colour).expand(len(images), 3)
    own = torch.stack([image.double().mean(dim=(1, 2)) for image in images])
    return (own.mean(dim=0).expand_as(own) if fill == "mean" else own).float()


def variants(patches: int) -> tuple[Tensor, Tensor]:
    """What is shown of one picture, ``(1 + 2 P,)`` int64 each: the kind, and the patch: the whole picture, every patch
    alone, every patch hidden."""
    shown = [(WHOLE, 0), *product((ALONE, HIDDEN), range(patches))]
    kind, patch = torch.tensor(shown, dtype=torch.int64).T
    return kind.contiguous(), patch.contiguous()


def show_variant(images: Tensor, kind: Tensor, patch: Tensor, colour: Tensor, masks: Tensor) -> Tensor:
    """``(b, 3, H, W)``: each row of ``images`` with what its ``kind`` hides, by ``patch``, in its ``colour`` ``(b,
    3)``."""
    inside = masks[patch]
    kind = kind[:, None, None]
    kept = (kind == WHOLE) | ((kind == ALONE) & inside) | ((kind == HIDDEN) & ~inside)
    return torch.where(kept[:, None], images, colour[:, :, None, None])


def pooled(grids: Tensor, activation: Activation) -> Tensor:
    """``(b, K)`` of ``(b, K, h, w)``, the four ways of Concept Whitening: the ``mean`` or ``max`` over positions;
    ``pos-mean``: the mean of positive values, 0 where there is none; ``pool-max``: the mean of the maxima of 3 x 3
    windows at stride 3, as many as fit (smaller where the grid is)."""
    if activation == "max":
        return grids.amax(dim=(2, 3))
    if activation == "pos-mean":
        return grids.relu().sum(dim=(2, 3)) / (grids > 0).sum(dim=(2, 3)).clamp(min=1)
    if activation == "pool-max":
        grids = functional.max_pool2d(grids, (min(POOL, grids.shape[2]), min(POOL, grids.shape[3])), stride=POOL)
    return grids.mean(dim=(2, 3))


@dataclass(frozen=True, slots=True)
class PatchResponses:
    """For :class:`xaibench.api.Apply`: pooled activations of variants of a picture.

    ``extras``: the kind and the patch of :func:`variants` and the colour ``(b, 3)``. Returns ``(b, K)``, the channels,
    and ``(b, D P)``, the first P = side^2 axes of D random rotations one after another, rotated before they are pooled;
    ``(b, 0)`` where the layer has fewer than P channels. Both float32; computed in float64, so that a row does not
    depend on its batch mates.
    """

    layer: str | None
    side: int
    order: Order
    activation: Activation
    seeds: tuple[int, ...]

    def __call__(
        self, detector: Any, images: Tensor, targets: Tensor, extras: tuple[Tensor, ...]
    ) -> tuple[Tensor, ...]:
        kind, patch, colour = extras
        size = (images.shape[2], images.shape[3])
        masks = to_device(patch_masks(self.side, self.order, size), images.device)
        shown = show_variant(images.detach(), kind, patch, colour, masks)
        grids = grids_of(detector, shown, self.layer).double()
        axes = to_device(_all_axes(self.seeds, self.side**2, grids.shape[1]), grids.device)
        if self.activation == "mean":  # rotating commutes with the mean, and is cheaper after it
            means = pooled(grids, "mean")
            return means.float(), (means @ axes.T).float()
        rotated = torch.einsum("ak,bkhw->bahw", axes, grids)
        return pooled(grids, self.activation).float(), pooled(rotated, self.activation).float()


@lru_cache(maxsize=1)
def _all_axes(seeds: tuple[int, ...], axes: int, channels: int) -> Tensor:
    """``(D axes, channels)``; ``(0, channels)`` where there are not so many. Shared by batches: never change it."""
    if axes > channels:
        return torch.zeros((0, channels), dtype=torch.float64)
    return torch.cat([random_axes(seed, axes, channels) for seed in seeds])
