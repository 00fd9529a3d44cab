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
"""

from __future__ import annotations

from math import sqrt

import numpy as np
from scipy.special import stdtrit

from xaibench_statistics.bootstrap import LEVEL
from xaibench_statistics.cluster_moments import ClusteredMean
from xaibench_statistics.values import Floats


def share_bounds(clusters: ClusteredMean, values: Floats) -> tuple[float, float]:
    """Bounds of the mean of 0/1 ``values``."""
    moments = clusters.moments(values)
    return wilson(moments.value, effective_size(clusters, values, moments.variance), moments.df)


def effective_size(clusters: ClusteredMean, values: Floats, variance: float) -> float:
    """How many independent rows the share of ones is worth; ``variance``: the clustered one."""
    p, known = clusters.mean(values), clusters.levels_of_rarer(values)
    estimated = variance / (p * (1 - p)) if known else 0.0
    inverse = (known * estimated + 1 / clusters.equal_levels) / (known + 1)
    return min(clusters.most_rows, 1 / inverse)


def signed_share_bounds(clusters: ClusteredMean, values: Floats) -> tuple[float, float]:
    """Bounds of the mean of ``values`` that are -1, 0 or 1."""
    ones, minus_ones = (np.asarray(values == sign, dtype=np.float64) for sign in (1, -1))
    up, down = clusters.mean(ones), clusters.mean(minus_ones)
    (up_low, up_high), (down_low, down_high) = share_bounds(clusters, ones), share_bounds(clusters, minus_ones)
    r = correlation(clusters.variance(ones), clusters.variance(minus_ones), clusters.variance(values))
    low = up - down - margin(up - up_low, down_high - down, -r)
    high = up - down + margin(up_high - up, down - down_low, -r)
    return max(-1.0, low), min(1.0, high)


def correlation(first: float, second: float, difference: float) -> float:
    """Of two estimates with these variances, from the variance of their difference; 0 where one does not vary."""
    scale = sqrt(first * second)
    return min(1.0, max(-1.0, (first + second - difference) / (2 * scale))) if scale > 0 else 0.0


def margin(one: float, other: float, r: float) -> float:
    """The margin of the sum of two estimates with these margins and the correlation r."""
    return sqrt(max(0.0, one**2 + other**2 + 2 * r * one * other))


def wilson(p: float, n: float, df: float) -> tuple[float, float]:
    """Wilson's bounds of a share ``p`` of ``n`` pictures, n not necessarily whole."""
    t = float(stdtrit(df, (1 + LEVEL) / 2))
    centre = (p + t * t / (2 * n)) / (1 + t * t / n)
    half = t / (1 + t * t / n) * sqrt(p * (1 - p) / n + t * t / (4 * n * n))
    return max(0.0, min(p, centre - half)), min(1.0, max(p, centre + half))
