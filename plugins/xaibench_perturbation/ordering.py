"""The order in which a map ranks pixels, the same on every machine."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xaibench.api import to_device

_SORTED_BY_DIGITS = (torch.float32, torch.float64)
"""Types that :func:`ascending` sorts in less time than torch: the map of a picture in a third to a fifth of it."""
_BYTES_HELD = 64 * 2**20
"""Bytes of the orders that are remembered, the last ones: 1.2 MB each of a map of 224 x 224 pixels."""


@dataclass(frozen=True, slots=True, eq=False)
class _Levels:
    """The values of a map in groups of equal ones, from the greatest to the least.

    ``greater``: ``(n,)``, how many values are greater than each, which also names its group. ``starts`` and ``sizes``:
    ``(groups,)``, the same of the groups, and how many belong to each. ``is_tied``: ``(n,)``, whether another value
    equals this one; None: no two are equal.
    """

    greater: NDArray[np.intp]
    starts: NDArray[np.intp]
    sizes: NDArray[np.intp]
    is_tied: NDArray[np.bool_] | None

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays."""
        tied = 0 if self.is_tied is None else self.is_tied.nbytes
        return self.greater.nbytes + self.starts.nbytes + self.sizes.nbytes + tied

    @staticmethod
    def of(order: NDArray[np.intp], begins: NDArray[np.bool_]) -> _Levels:
        """``order``: indices from the greatest value to the least; ``begins``: which of them begin another group."""
        starts = np.flatnonzero(begins)
        sizes = np.diff(starts, append=len(order))
        greater, is_tied = np.empty(len(order), dtype=np.intp), None
        greater[order] = np.repeat(starts, sizes)
        if len(starts) < len(order):
            is_tied = np.empty(len(order), dtype=np.bool_)
            is_tied[order] = np.repeat(sizes > 1, sizes)
        return _Levels(greater, starts, sizes, is_tied)

    def parted_by(self, cuts: Iterable[int]) -> NDArray[np.bool_]:
        """``(groups,)``: of which groups a cut takes some values and leaves others."""
        places = np.asarray([c for c in cuts if 0 < c < len(self.greater)], dtype=np.intp)
        groups = np.searchsorted(self.starts, places, "right") - 1
        parted = np.zeros(len(self.starts), dtype=np.bool_)
        parted[groups[self.starts[groups] != places]] = True
        return parted

    def ranks(self, tie_order: Tensor | None) -> NDArray[np.intp]:
        """The rank of each value; equal ones in ``tie_order``, by default by position."""
        ranks = self.greater.copy()
        if self.is_tied is not None:
            ties = np.arange(len(ranks)) if tie_order is None else tie_order.numpy().astype(np.intp)
            at = ties[self.is_tied[ties]]
            # Sorted by group, and in a group as they stood: so they take the ranks that the tied groups have.
            ranks[at[_ascending_places(self.greater[at])]] = np.flatnonzero(np.repeat(self.sizes > 1, self.sizes))
        return ranks


def _ascending_places(places: NDArray[np.intp]) -> NDArray[np.intp]:
    """Indices from the least place to the greatest, equal ones by position."""
    if not len(places) or places.max() < 2**16:  # numpy counts these
        order: NDArray[np.intp] = places.astype(np.uint16).argsort(kind="stable")
        return order
    return ascending(places.astype(np.float64))


def pixel_ranks(saliency: Tensor, tie_order: Tensor | None = None) -> Tensor:
    """``(H, W)`` int64: 0 for the most salient pixel, ``H*W - 1`` for the least; of values of any shape.

    ``tie_order``: ``(H*W,)`` integers, a permutation of the pixels: of equal values, the pixel that it names first
    ranks first. None: the order of reading, along rows from the upper left corner. Values that are no numbers come
    first.
    """
    values = saliency.detach().flatten()
    if _sorted_by_digits(values):
        return torch.from_numpy(_levels_of(values).ranks(tie_order)).view(saliency.shape)
    # A stable sort of the values in the order of ties leaves equal ones in that order.
    at = torch.arange(len(values)) if tie_order is None else tie_order.long()
    at = to_device(at, values.device)
    order = at[torch.argsort(values[at], descending=True, stable=True)]
    ranks = torch.empty_like(order)
    ranks[order] = torch.arange(len(order), device=order.device)
    return ranks.view(saliency.shape)


def _sorted_by_digits(values: Tensor) -> bool:
    return values.device.type == "cpu" and values.dtype in _SORTED_BY_DIGITS and bool(np.isfinite(values.numpy()).all())


def tied_share(values: Tensor, cuts: Iterable[int], sizes: Tensor | None = None) -> float:
    """Share in [0, 1] of what is ordered that lies in a group of equal values which a cut parts.

    ``values`` are ordered from the greatest to the least, and a cut ``c`` parts the first ``c`` of them from the rest.
    Where the ``c``-th value equals the next, the order of equal values decides which of their group come first; where
    it does not, no order of equal values changes what comes first. Cuts before the first value and after the last part
    nothing.

    ``sizes``: what each value counts, such as the pixels of a segment; None: 1.
    """
    levels = _levels_of(values.detach().cpu().flatten())
    parted = levels.parted_by(cuts)
    if sizes is None:
        return float(levels.sizes[parted].sum() / len(levels.greater))
    counts = sizes.detach().cpu().flatten().numpy()
    return float(counts[np.isin(levels.greater, levels.starts[parted])].sum() / counts.sum())


def _levels_of(values: Tensor) -> _Levels:
    """The groups of ``(n,)`` values on the CPU. A value that is no number equals no other."""
    if _sorted_by_digits(values):
        return _remembered.of(values.numpy())
    ordered, order = torch.sort(values, descending=True, stable=True)
    begins = torch.cat([ordered.new_ones(min(len(ordered), 1), dtype=torch.bool), ordered[1:] != ordered[:-1]])
    return _Levels.of(order.numpy(), begins.numpy())


class _RememberedLevels:
    """The levels of the last maps, by their contents, up to a number of bytes.

    A map is sorted once for the share that is tied and its orders of ties, and for further metrics as long as not too
    many other maps were sorted in between. Threads may share it.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes, self._bytes = most_bytes, 0
        self._levels: OrderedDict[tuple[bytes, str], _Levels] = OrderedDict()
        self._lock = Lock()

    def of(self, values: NDArray[np.floating[Any]]) -> _Levels:
        key = (blake2b(values.tobytes(), digest_size=16).digest(), f"{values.dtype} {len(values)}")
        with self._lock:
            if key in self._levels:
                self._levels.move_to_end(key)
                return self._levels[key]
        levels = _sorted_levels(values)
        with self._lock:
            if key not in self._levels:
                self._levels[key] = levels
                self._bytes += levels.nbytes
            while self._bytes > self._most_bytes:
                self._bytes -= self._levels.popitem(last=False)[1].nbytes
        return levels


_remembered = _RememberedLevels(_BYTES_HELD)


def _sorted_levels(values: NDArray[np.floating[Any]]) -> _Levels:
    order = ascending(-values)
    ordered = values[order]
    begins = np.ones(len(values), dtype=np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=begins[1:])
    return _Levels.of(order, begins)


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
