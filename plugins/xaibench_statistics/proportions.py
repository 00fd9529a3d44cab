"""Shares of pictures with intervals that respect clusters and stay honest near 0 and 1.

**Wilson's interval on an effective sample size.** The variance of a share over clusters is that of the ratio estimator,
``V = k/(k-1) sum_g (sum_{i in g} (x_i - p))^2 / n^2``. The design effect is ``V / (p (1 - p) / n)``, and n is divided
by it. The bounds solve ``(p - pi)^2 = t^2 pi (1 - pi) / n_eff`` for pi (Wilson 1927), with the t quantile of k - 1
degrees of freedom (Franco, Little, Louis and Slud 2019, "Comparative study of confidence intervals for proportions in
complex sample surveys", Journal of Survey Statistics and Methodology 7(3)). The effective size is never above n (Korn
and Graubard 1998, Survey Methodology 24(2)). Where all pictures agree, no design effect can be estimated, and the
effective size is k, as if each cluster were one picture.

**Two crossed factors** add their variances, as in the pigeonhole bootstrap (:mod:`xaibench_statistics.bootstrap`).
"""

from __future__ import annotations

from dataclasses import replace
from math import sqrt

from scipy.special import stdtrit

from xaibench_statistics.bootstrap import LEVEL, Design, Estimate, clustered_variance, exact_mean
from xaibench_statistics.values import Values


def proportion_interval(values: Values) -> Estimate:
    """The share of ones in 0/1 ``values`` with its 95 % interval. Raises ValueError for no samples."""
    if not len(values):
        raise ValueError("no samples")
    design = Design.of(values.groups, values.cross)
    p, n = exact_mean(values.values), len(values)
    found = Estimate(value=p, n=n, groups=design.groups, cross_groups=design.cross_groups, note=design.too_few())
    if found.note:
        return found
    low, high = wilson(p, effective_size(values, design), design.smallest - 1)
    return replace(found, low=low, high=high)


def effective_size(values: Values, design: Design) -> float:
    """How many independent pictures the share is worth, at most as many as there are."""
    p, n = exact_mean(values.values), len(values)
    variance = clustered_variance(design, (values.values - p) / n)
    if variance == 0.0:  # all agree, or every cluster has the same share: nothing is known of the clusters' pull
        return float(design.smallest)
    return min(float(n), p * (1 - p) / variance)


def wilson(p: float, n: float, df: int) -> tuple[float, float]:
    """Wilson's bounds of a share ``p`` of ``n`` pictures, n not necessarily whole."""
    t = float(stdtrit(df, (1 + LEVEL) / 2))
    centre = (p + t * t / (2 * n)) / (1 + t * t / n)
    half = t / (1 + t * t / n) * sqrt(p * (1 - p) / n + t * t / (4 * n * n))
    return max(0.0, min(p, centre - half)), min(1.0, max(p, centre + half))
