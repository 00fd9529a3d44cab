"""The threshold of a map by conformal risk control: how low it has to be for regions that miss little.

Of n groups of pictures, each with the values that its maps have at the pixels to be found, the region at threshold t
holds every pixel whose value is at least t. The loss of a group is the share of these pixels that the region misses, in
[0, 1], averaged over its pictures; it grows with t. The threshold is the largest t with

    n / (n + 1) * R_n(t) + 1 / (n + 1) <= alpha,    R_n(t) the mean loss of the n groups.

Where the groups and that of a new picture are exchangeable, the expected loss of the new one is at most ``alpha``,
over the draw of the calibration groups too (Angelopoulos, Bates, Fisch, Lei and Schuster, *Conformal risk control*,
ICLR 2024, theorem 1 with B = 1 and lambda = -t). It is no promise for the single picture. One loss a group and not a
picture, since pictures of a group are not exchangeable with those of another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np

from xaibench_statistics.values import Floats

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskControl:
    """``threshold``: the region holds every pixel whose value is at least this. ``risk``: the mean loss of the
    calibration groups at it, in [0, 1]. ``n`` pictures in ``groups`` groups."""

    threshold: float
    alpha: float
    risk: float
    n: int
    groups: int


def least_groups(alpha: float) -> int:
    """The fewest groups with which some threshold can hold a risk of ``alpha``: n >= 1 / alpha - 1.

    Raises ValueError unless ``alpha`` is in (0, 1)."""
    if not 0 < alpha < 1:
        raise ValueError(f"alpha = {alpha:g} is not between 0 and 1")
    return max(1, ceil(1 / alpha - 1 - _ROUNDING))


def control_risk(values: Sequence[Floats], groups: Sequence[str], alpha: float) -> RiskControl:
    """The largest threshold whose expected missed share is at most ``alpha``.

    ``values``: of each picture the map's values at the pixels to be found, at least one; ``groups``: the group of each
    picture. Maps have to be on one scale. Raises ValueError for fewer groups than :func:`least_groups`, and for a
    picture without a value or with one that is not finite.
    """
    names, owner, sizes = np.unique(np.asarray(groups, dtype=np.str_), return_inverse=True, return_counts=True)
    n = len(names)
    if n < least_groups(alpha):
        raise ValueError(f"{n} groups are too few for alpha = {alpha:g}: it takes {least_groups(alpha)}")
    shares = 1 / (n * sizes[owner])  # of every picture in the mean loss
    levels, weights = _pooled(values, shares)
    missed = np.concatenate([[0.0], np.cumsum(weights)[:-1]])  # the mean loss at each level: the weight below it
    allowed = (alpha * (n + 1) - 1) / n
    at = int(np.flatnonzero(missed <= allowed + _ROUNDING)[-1])
    return RiskControl(threshold=float(levels[at]), alpha=alpha, risk=float(missed[at]), n=len(values), groups=n)


def _pooled(values: Sequence[Floats], shares: Floats) -> tuple[Floats, Floats]:
    """The distinct values of all pictures in order, and the weight of each in the mean loss."""
    levels, weights = list[Floats](), list[Floats]()
    for picture, share in zip(values, shares, strict=True):
        if not len(picture) or not np.isfinite(picture).all():
            raise ValueError("a picture has no value, or one that is not finite")
        level, count = np.unique(np.asarray(picture, dtype=np.float64), return_counts=True)
        levels.append(level)
        weights.append(count * (share / len(picture)))
    every, place = np.unique(np.concatenate(levels), return_inverse=True)
    pooled: Floats = np.bincount(place, weights=np.concatenate(weights)).astype(np.float64)
    return every, pooled
