"""What a manipulation mask marks: the cut, and why a mask marks nothing. Pure functions on numpy arrays.

A mask is cut at half of its own maximum, since blending weights often stay far below white. The maximum itself is held
against the scale of the file, so that noise is not blown up to a region.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FAINTEST = 1 / 8
"""A mask whose maximum is below this share of its scale is empty. Video black is 16 of 255 (1/16) and noise of codecs
stays below it; blending ratios of published generators begin at 1/4."""

FULL = 0.95
"""A mask that marks at least this share of the picture marks everything. What is left outside is too little to tell a
map from an even one, and masks of whole faces in tight crops stay below 3/4."""

STRAY = 1e-4
"""A mask that marks less than this share of the picture marks nothing. A pair of eyes in a face a tenth as wide as the
frame has about three times as much."""

STRAY_PIXELS = 4
"""A mask that marks fewer pixels than this marks nothing, on pictures of at least ``SMALL_PICTURE`` pixels."""

SMALL_PICTURE = 64 * 64
"""Pixels of a picture below which single pixels may be a region."""

SPECKLED = 0.75
"""A mask of zeros and ones is noise where its boundary is at least this share of what independent pixels have, which is
at least 1. A solid region w pixels wide and h high has 1/w + 1/h. Only masks whose maximum is 1 are asked: in an 8-bit
file zeros and ones are either a mask or the last bit of an empty one."""

SPECKLED_FROM = 64
"""Marked pixels from which a mask can be called speckled; fewer may be small parts."""

OVERSHOOT = 1.25
"""Weights in [0, 1] may exceed 1 by as much as smooth resizing adds."""


def binarise(mask: NDArray[np.generic]) -> NDArray[np.bool_] | None:
    """True where a weight is at least half of the mask's maximum; None where the mask marks nothing or everything.

    >>> binarise(np.array([[0, 63, 64, 127]], np.uint8))
    array([[False, False,  True,  True]])
    >>> binarise(np.array([[0, 1, 2, 3]], np.uint8)) is None
    True
    """
    marked, _ = mark(mask)
    return marked


def mark(mask: NDArray[np.generic]) -> tuple[NDArray[np.bool_] | None, str]:
    """What a mask marks, and ``""``; or None, and why it marks no region.

    The reason begins with ``empty``, ``constant``, ``marks everything``, ``marks almost nothing`` or ``speckled``.
    """
    low, top = float(mask.min()), float(mask.max())
    scale = _scale(mask.dtype, top)
    if top == 0:
        return None, "empty (all weights are 0)"
    if top < FAINTEST * scale:
        return None, f"empty (its largest weight is {top:.3g} of {scale:g})"
    if low == top:
        return None, f"constant (its weight is {top:.3g} of {scale:g} everywhere)"
    marked = mask >= np.ceil(top / 2) if mask.dtype.kind in "ub" else mask.astype(np.float64) * 2 >= top
    why = _no_region(marked, last_bit=top == 1 and mask.dtype.kind in "ui")
    return (None, why) if why else (marked, "")


def _no_region(marked: NDArray[np.bool_], *, last_bit: bool) -> str:
    """Why the marked pixels are no region. ``last_bit``: they are ones in a file of integers that holds zeros else."""
    count = int(marked.sum())
    if count >= FULL * marked.size:
        return f"marks everything ({count / marked.size:.1%} of the picture)"
    if count < STRAY * marked.size or (count < STRAY_PIXELS and marked.size >= SMALL_PICTURE):
        return f"marks almost nothing ({count} of {marked.size} pixels)"
    if last_bit and _is_speckled(marked, count):
        return "speckled (single pixels of weight 1 all over it: the last bit of an empty mask)"
    return ""


def _scale(kind: np.dtype[np.generic], top: float) -> float:
    """The weight that stands for *all of it* in the unit of a mask: 1, 255 or 65535."""
    one = OVERSHOOT if kind.kind == "f" else 1
    return next((scale for scale, most in ((1.0, one), (255.0, 255), (65535.0, 65535)) if top <= most), top)


def _is_speckled(marked: NDArray[np.bool_], count: int) -> bool:
    if min(count, marked.size - count) < SPECKLED_FROM:
        return False
    edges = int((marked[1:] != marked[:-1]).sum()) + int((marked[:, 1:] != marked[:, :-1]).sum())
    return edges >= SPECKLED * 2 * min(count, marked.size - count)
