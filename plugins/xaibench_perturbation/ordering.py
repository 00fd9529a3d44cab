"""The order in which a map ranks pixels, the same on every machine."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xaibench.api import to_device

_SORTED_BY_DIGITS = (torch.float32, torch.float64)
"""Types that :func:`ascending` sorts in less time than torch: the map of a picture in a third to a fifth of it."""


def pixel_ranks(saliency: Tensor, tie_order: Tensor | None = None) -> Tensor:
    """``(H, W)`` int64: 0 for the most salient pixel, ``H*W - 1`` for the least; of values of any shape.

    ``tie_order``: ``(H*W,)`` integers, a permutation of the pixels: of equal values, the pixel that it names first
    ranks first. None: the order of reading, along rows from the upper left corner. Values that are no numbers come
    first.
    """
    values = saliency.detach().flatten()
    # A stable sort of the values in the order of ties leaves equal ones in that order.
    if _sorted_by_digits(values):
        ranks = torch.from_numpy(_positions(_descending(values.numpy(), tie_order)))
    else:
        at = torch.arange(len(values)) if tie_order is None else tie_order.long()
        at = to_device(at, values.device)
        order = at[torch.argsort(values[at], descending=True, stable=True)]
        ranks = torch.empty_like(order)
        ranks[order] = torch.arange(len(order), device=order.device)
    return ranks.view(saliency.shape)


def _sorted_by_digits(values: Tensor) -> bool:
    return values.device.type == "cpu" and values.dtype in _SORTED_BY_DIGITS and bool(values.isfinite().all())


def _descending(values: NDArray[np.floating[Any]], tie_order: Tensor | None) -> NDArray[np.intp]:
    """Indices ``(n,)`` from the greatest value to the least, equal ones in ``tie_order``."""
    if tie_order is None:
        return ascending(-values)
    ties = tie_order.numpy().astype(np.intp)
    order: NDArray[np.intp] = ties[ascending(-values[ties])]
    return order


def _positions(order: NDArray[np.intp]) -> NDArray[np.intp]:
    """The inverse of a permutation."""
    positions = np.empty_like(order)
    positions[order] = np.arange(len(order))
    return positions


def tied_share(values: Tensor, cuts: Iterable[int], sizes: Tensor | None = None) -> float:
    """Share in [0, 1] of what is ordered that lies in a group of equal values which a cut parts.

    ``values`` are ordered from the greatest to the least, and a cut ``c`` parts the first ``c`` of them from the rest.
    Where the ``c``-th value equals the next, the order of equal values decides which of their group come first; where
    it does not, no order of equal values changes what comes first. Cuts before the first value and after the last part
    nothing.

    ``sizes``: what each value counts, such as the pixels of a segment; None: 1.
    """
    flat = values.detach().cpu().flatten()
    ordered = flat.numpy()[ascending(flat.numpy())] if _sorted_by_digits(flat) else flat.sort().values.numpy()
    places = len(flat) - np.asarray(sorted({c for c in cuts if 0 < c < len(flat)}), dtype=np.intp)
    tied = np.unique(ordered[places][ordered[places - 1] == ordered[places]])
    if sizes is None:
        members = np.searchsorted(ordered, tied, "right") - np.searchsorted(ordered, tied, "left")
        return float(members.sum() / len(flat))
    counts = sizes.detach().cpu().flatten().numpy()
    return float(counts[np.isin(flat.numpy(), tied)].sum() / counts.sum())


def ascending(values: NDArray[np.floating[Any]]) -> NDArray[np.intp]:
    """Indices ``(n,)`` of finite values from the least to the greatest, equal ones by position.

    It is numpy's stable ``argsort``, digit by digit: numpy counts 16-bit integers where it compares floats, so that the
    map of a picture takes a half (float64) to a sixth (float32) of the time.
    """
    size = values.dtype.itemsize
    bits = (values.ravel() + values.dtype.type(0)).view(f"i{size}")  # -0 + 0 is 0
    # Of the same order as the values: all bits of a negative value are flipped, and the sign of the others.
    keys = (bits ^ (bits >> (8 * size - 1) | np.iinfo(bits.dtype).min)).view(f"u{size}")
    found = None
    for digit in range(0, 8 * size, 16):
        part = (keys >> keys.dtype.type(digit)).astype(np.uint16)
        if (part != part[:1]).any():
            found = part.argsort(kind="stable") if found is None else found[part[found].argsort(kind="stable")]
    return np.arange(values.size) if found is None else found


def mean_ranks(values: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Ranks from 1, in the shape of ``values``, equal ones sharing their mean rank: scipy's ``rankdata`` of all values,
    in a third of its time."""
    order = ascending(values)
    ordered = values.ravel()[order]
    starts = np.append(0, 1 + np.flatnonzero(ordered[1:] != ordered[:-1]))
    counts = np.diff(starts, append=values.size)
    found = np.empty(values.size)
    found[order] = np.repeat(starts + (counts + 1) / 2, counts)
    return found.reshape(values.shape)


def step_counts(pixels: int, steps: int) -> Tensor:
    """``(steps + 1,)`` int64 pixel counts from 0 to ``pixels``, ``floor(t * pixels / steps)``."""
    return torch.arange(steps + 1) * pixels // steps


def is_constant(saliency: Tensor) -> bool:
    """Whether all values are equal, so that the map ranks nothing."""
    return bool((saliency == saliency.flatten()[0]).all())
