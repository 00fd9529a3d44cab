"""The mask of a self-blend: the convex hull of landmarks, deformed, eroded or dilated, and softened.

Lengths are in *units*: pixels of a face whose landmarks' hull has an area of 155 x 155, as it has in a crop of 256
pixels. So a face is treated alike whatever size its picture has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.spatial import ConvexHull, QhullError
from skimage.draw import polygon2mask

Floats = NDArray[np.float32]
Points = NDArray[np.floating]

FACE_SIDE = 155.0
ELASTIC_SIGMA = 7.0
ELASTIC_ALPHA = 50.0
_CLOSE_TO_ONE = 1e-4

_WHOLE: dict[str, Sequence[int] | None] = {"face": None}
_IBUG = {
    **_WHOLE,
    "features": range(17, 68),
    "upper": range(17, 48),
    "lower": (*range(3, 14), *range(31, 36), *range(48, 68)),
}
_REGIONS = {68: _IBUG, 81: _IBUG}
"""Points of each region (None: all) by number of landmarks: 68 iBUG points, and 81, which add the forehead. Where the
points of other numbers lie is not known: the whole face is taken."""


class NoRegion(ValueError):
    """Landmarks span no area, or none inside the picture; the message is the reason."""


@dataclass(frozen=True, slots=True)
class Softening:
    """Radii and deviations in units of two Gaussian filters: the first erodes, the second softens."""

    erosion: int
    blur: int
    sigma: float


def draw_softening(rng: np.random.Generator) -> Softening:
    """Kernels of 5 to 25 for each filter, so that the mask shrinks or grows; deviation of the second 5 to 45."""
    return Softening(int(rng.integers(2, 13)), int(rng.integers(2, 13)), float(rng.integers(5, 46)))


def region_names(count: int) -> tuple[str, ...]:
    """The regions that can be told apart in ``count`` landmarks."""
    return tuple(_REGIONS.get(count, _WHOLE))


def hull_of(landmarks: Points, region: str = "face") -> NDArray[np.float64]:
    """Corners ``(K, 2)`` x, y of the convex hull of a region's points, counter-clockwise in these axes.

    Raises :class:`NoRegion` for fewer than three points, or points on a line.
    """
    chosen = _REGIONS.get(len(landmarks), _WHOLE)[region]
    points = np.asarray(landmarks, np.float64)
    points = points if chosen is None else points[list(chosen)]
    try:
        return np.asarray(points[ConvexHull(points).vertices])
    except (QhullError, ValueError):
        raise NoRegion(f"its {len(landmarks)} landmarks span no area") from None


def unit_of(landmarks: Points) -> float:
    """Pixels of the picture in one unit."""
    x, y = hull_of(landmarks).T
    area = 0.5 * abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1)))
    return float(np.sqrt(area)) / FACE_SIDE


def filled(corners: Points, size: tuple[int, int]) -> Floats:
    """``(H, W)``: 1 at the pixels whose centres lie in the convex polygon of x, y or on its border, 0 elsewhere.

    Raises :class:`NoRegion` where there is none.
    """
    mask: Floats = polygon2mask(size, corners[:, ::-1]).astype(np.float32)
    if not mask.any():
        raise NoRegion("its landmarks lie outside the picture or are too close together")
    return mask


def deformed(mask: Floats, unit: float, rng: np.random.Generator) -> Floats:
    """Elastic deformation: each pixel is taken from a place moved by Gaussian-filtered uniform noise (Simard et al.,
    ICDAR 2003); deviation 7 units, scale 50: moves of about one unit."""
    noise = rng.random((2, *mask.shape), dtype=np.float32) * 2 - 1
    sigma, alpha = ELASTIC_SIGMA * unit, ELASTIC_ALPHA * unit**2
    moves = [gaussian_filter(n, sigma, mode="constant", truncate=3.0) * np.float32(alpha) for n in noise]
    at = np.indices(mask.shape, np.float32) + np.stack(moves)
    moved: Floats = map_coordinates(mask, at, order=1, mode="constant")
    return moved


def softened(mask: Floats, softening: Softening, unit: float) -> Floats:
    """Erode and soften ``(H, W)`` weights; the largest is 1.

    Blurred by a kernel of the first radius, cut to where it stayed at its maximum, blurred by the second. The mask
    ends up larger than it was where the second kernel is the larger one. Where the picture ends, the mask goes on.
    """
    erosion, blur = (max(1, round(r * unit)) for r in (softening.erosion, softening.blur))
    blurred = gaussian_filter(mask, 0.3 * (erosion - 1) + 0.8, radius=erosion, mode="nearest")
    core = (blurred >= blurred.max() * (1 - _CLOSE_TO_ONE)).astype(np.float32)
    soft: Floats = gaussian_filter(core, max(0.5, softening.sigma * unit), radius=blur, mode="nearest")
    whole: Floats = (soft / soft.max()).clip(0, 1)
    return whole
