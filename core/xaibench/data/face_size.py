"""The size of the face in a picture."""

from __future__ import annotations

import math

import numpy as np

from xaibench.api import Native
from xaibench.data.masks import binarise


def face_size(native: Native) -> float | None:
    """The side of a square as large as the face, in pixels of the picture before resizing.

    ``sqrt((max x - min x) (max y - min y))`` of the landmarks, which may lie outside the picture. Without landmarks
    ``sqrt(columns * rows)`` of the smallest upright rectangle that holds the mask, binarised at half of its maximum.
    None where neither is there, and where either spans no area.
    """
    if native.landmarks is not None:
        width, height = np.ptp(native.landmarks.astype(np.float64), axis=0)
        return math.sqrt(width * height) or None
    if native.mask is None:
        return None
    mask = binarise(native.mask)
    if mask is None:
        return None
    sides = [np.ptp(np.flatnonzero(mask.any(axis=axis))) + 1 for axis in (0, 1)]
    return math.sqrt(sides[0] * sides[1])
