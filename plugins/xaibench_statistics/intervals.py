"""95 % intervals of means over clustered samples, by the kind of the values.

The kind is read from the values, never from the interval that comes out:

* **Share**: all values are 0 or 1. Wilson's interval on an effective sample size
  (:mod:`xaibench_statistics.proportions`).
* **Signed share**: values of -1, 0 and 1, as differences of two 0/1 scores are. The interval is that of the difference
  of two shares.
* **Number**: everything else. With the moments of :mod:`xaibench_statistics.cluster_moments`, t the quantile of
  Student's distribution and s the skewness of the mean, each end is the outer one of ``mean -+ t sqrt(V)`` and of
  Hall's interval, ``mean - sqrt(V) g^-1(+-t)`` with ``g(x) = x + s x^2 / 3 + s^2 x^3 / 27 + s / 6`` (Hall 1992, "On the
  removal of skewness by transformation", Journal of the Royal Statistical Society B 54(1)). The t interval alone falls
  short on the side of a long tail; Hall's alone falls short on the other side where the skewness of few clusters is
  noise. No end lies further from the mean than :data:`MOST_SKEWED` times that of the t interval: beyond it Hall's says
  more of one outlying cluster than of the mean. s is ``1 + 10 / k`` times the estimate, since few clusters understate
  the skewness of values with a long tail: that of k values is at most ``(k - 2) / sqrt(k - 1)``.

Numbers that are all equal, or whose clusters all have the same mean, have no interval: nothing is known of their
spread. Nothing is drawn at random. How often the intervals hold the truth is simulated in ``benchmarks/intervals.py``.
"""

from __future__ import annotations

from dataclasses import replace
from math import isnan
from typing import Final, Literal

import numpy as np
from scipy.special import stdtrit

from xaibench_statistics.bootstrap import LEVEL, Design, Estimate
from xaibench_statistics.cluster_moments import ClusteredMean, Moments
from xaibench_statistics.proportions import Bounds, share_bounds, signed_share_bounds
from xaibench_statistics.values import Floats, Strings, Values

Kind = Literal["share", "signed share", "number"]
METHODS: Final[dict[Kind, str]] = {
    "share": "Wilson, effective sample size",
    "signed share": "difference of two shares",
    "number": "t and Hall, clustered",
}
MOST_SKEWED: Final = 2.5
_ROUNDING: Final = 1e-12  # of the largest value


def mean_interval(values: Values) -> Estimate:
    """The mean over samples with its 95 % interval, clustered by group (and crossed factor where there is one).

    Raises ValueError for no samples.
    """
    return interval(values, None, kind_of(values.values))


def macro_interval(values: Values, strata: Strings) -> Estimate:
    """The mean over strata of their means with its 95 % interval; ``strata`` follows the rows of ``values``.

    A stratum is a manipulation method, say. There is no interval where all samples of a stratum are of one group.
    With one stratum it is :func:`mean_interval`. Raises ValueError for no samples and for strata of another length.
    """
    return interval(values, strata, kind_of(values.values))


def proportion_interval(values: Values) -> Estimate:
    """The share of ones in 0/1 ``values`` with its 95 % interval. Raises ValueError for no samples."""
    return interval(values, None, "share")


def kind_of(values: Floats) -> Kind:
    """The kind of the values of a mean."""
    if np.isin(values, (0.0, 1.0)).all():
        return "share"
    return "signed share" if np.isin(values, (-1.0, 0.0, 1.0)).all() else "number"


def interval(values: Values, strata: Strings | None, kind: Kind, scale: float = 0.0) -> Estimate:
    """The mean over ``strata`` (None: over samples) of values of this kind, with its interval.

    ``scale``: the largest of the numbers that the values are differences of; spread below its rounding is none.
    """
    if not len(values):
        raise ValueError("no samples")
    if strata is not None and len(strata) != len(values):
        raise ValueError("values and strata must have the same length")
    design = Design.of(values.groups, values.cross)
    clusters = ClusteredMean.of(values, design, strata)
    estimate = Estimate(
        value=float(clusters.mean(values.values)),
        n=len(values),
        groups=design.groups,
        cross_groups=design.cross_groups,
        note=design.too_few() or clusters.unknown_spread(),
    )
    if estimate.note:
        return estimate
    rounding = _ROUNDING * max(scale, float(np.abs(values.values).max()))
    low, high = (float(end) for end in bounds(clusters, values.values, kind, rounding))
    if isnan(low):
        what = "values are equal" if np.ptp(values.values) <= rounding else "groups have the same mean"
        return replace(estimate, note=f"all {what}, nothing is known of their spread: no interval")
    return replace(estimate, low=low, high=high, method=METHODS[kind])


def bounds(clusters: ClusteredMean, values: Floats, kind: Kind, rounding: float) -> Bounds:
    """The intervals of the means of ``values`` ``(..., n)`` of this kind, each end of shape ``(...)``.

    NaN for numbers whose mean has no error beyond ``rounding``.
    """
    if kind == "share":
        return share_bounds(clusters, values)
    if kind == "signed share":
        return signed_share_bounds(clusters, values)
    moments = clusters.moments(values)
    low, high = number_bounds(moments)
    spread = np.sqrt(moments.variance) > rounding
    return np.where(spread, low, np.nan), np.where(spread, high, np.nan)


def number_bounds(moments: Moments) -> Bounds:
    """The outer ends of the t interval and of Hall's."""
    t = stdtrit(moments.df, (1 + LEVEL) / 2)
    skewness, error = (1 + 10 / moments.levels) * moments.skewness, np.sqrt(moments.variance)
    low = moments.value - error * np.clip(_hall(t, skewness), t, MOST_SKEWED * t)
    high = moments.value + error * np.clip(-_hall(-t, skewness), t, MOST_SKEWED * t)
    return low, high


def _hall(x: Floats, s: Floats) -> Floats:
    """``g^-1(x) = 3 / s (cbrt(1 + s (x - s / 6)) - 1)``, written so that it does not cancel where s is small."""
    shifted = x - s / 6
    root = np.cbrt(1 + s * shifted)
    return np.asarray(3 * shifted / (root * root + root + 1))
