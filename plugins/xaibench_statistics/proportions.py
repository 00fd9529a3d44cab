"""Bounds of shares of pictures that respect clusters and stay honest near 0 and 1.

**Wilson's interval on an effective sample size.** The bounds solve ``(p - pi)^2 = t^2 pi (1 - pi) / n_eff`` for pi
(Wilson 1927), with the t quantile of the variance's degrees of freedom (Franco, Little, Louis and Slud 2019,
"Comparative study of confidence intervals for proportions in complex sample surveys", Journal of Survey Statistics and
Methodology 7(3)). The effective size is never above that of independent rows (Korn and Graubard 1998, Survey
Methodology 24(2)).

**Effective size.** The clustered variance V of the share (:mod:`xaibench_statistics.cluster_moments`) gives
``1 / n_eff = V / (p (1 - p))``. That is an estimate from the clusters that hold the rarer of 0 and 1. Where these are
few it is noise, and where there are none it cannot be had. Let there be c of them, and k equal clusters have weights as
uneven as these. Then

    1 / n_eff = (c V / (p (1 - p)) + 1 / k) / (c + 1),

a mean of the estimate and of one further cluster's worth of the assumption that all rows of a cluster agree. Where all
rows agree (c = 0) the effective size is k, as if each cluster were one picture. Of two crossed factors the smaller c
and the smaller k count.

**Signed shares.** The mean of -1, 0 and 1 is the share of ones less the share of minus ones. Its bounds come from those
of the two shares and the correlation r of their estimates (the method of variance estimates recovery: Zou and Donner
2008, Statistics in Medicine 27(10)). Where all values are 0, they are -+ the upper bound of a share of 0.

Values have the shape ``(..., n)``, n rows in one design, and bounds the shape ``(...)``.
"""

from __future__ import annotations

import numpy as np
from scipy.special import stdtrit

from xaibench_statistics.bootstrap import LEVEL
from xaibench_statistics.cluster_moments import ClusteredMean
from xaibench_statistics.values import Floats

Bounds = tuple[Floats, Floats]


def share_bounds(clusters: ClusteredMean, values: Floats) -> Bounds:
    """Bounds of the mean of 0/1 ``values``."""
    moments = clusters.moments(values)
    p = moments.value
    known = clusters.levels_of_rarer(values)
    estimated = moments.variance / np.where(known > 0, p * (1 - p), 1.0)
    inverse = (known * estimated + 1 / clusters.equal_levels) / (known + 1)
    return wilson(p, np.minimum(clusters.most_rows, 1 / inverse), moments.df)


def signed_share_bounds(clusters: ClusteredMean, values: Floats) -> Bounds:
    """Bounds of the mean of ``values`` that are -1, 0 or 1."""
    ones, minus_ones = (np.asarray(values == sign, dtype=np.float64) for sign in (1, -1))
    up, down = clusters.mean(ones), clusters.mean(minus_ones)
    (up_low, up_high), (down_low, down_high) = share_bounds(clusters, ones), share_bounds(clusters, minus_ones)
    r = correlation(clusters.variance(ones), clusters.variance(minus_ones), clusters.variance(values))
    low = up - down - margin(up - up_low, down_high - down, -r)
    high = up - down + margin(up_high - up, down - down_low, -r)
    return np.maximum(-1.0, low), np.minimum(1.0, high)


def correlation(first: Floats, second: Floats, difference: Floats) -> Floats:
    """Of two estimates with these variances, from the variance of their difference; 0 where one does not vary."""
    scale = np.sqrt(first * second)
    r = (first + second - difference) / np.where(scale > 0, 2 * scale, 1.0)
    return np.where(scale > 0, np.clip(r, -1.0, 1.0), 0.0)


def margin(one: Floats | float, other: Floats | float, r: Floats | float) -> Floats:
    """The margin of the sum of two estimates with these margins and the correlation r."""
    return np.asarray(np.sqrt(np.maximum(0.0, one**2 + other**2 + 2 * r * one * other)))


def wilson(p: Floats, n: Floats, df: Floats) -> Bounds:
    """Wilson's bounds of a share ``p`` of ``n`` pictures, n not necessarily whole."""
    t = stdtrit(df, (1 + LEVEL) / 2)
    centre = (p + t * t / (2 * n)) / (1 + t * t / n)
    half = t / (1 + t * t / n) * np.sqrt(p * (1 - p) / n + t * t / (4 * n * n))
    return np.maximum(0.0, np.minimum(p, centre - half)), np.minimum(1.0, np.maximum(p, centre + half))
