"""The gap between the parts of a data set: the largest minus the smallest mean, with its interval.

**Two parts.** The difference of two means has the interval that their own intervals give (MOVER; Zou and Donner 2008,
Statistics in Medicine 27, "Construction of confidence limits about effect measures"): with means a and b, intervals
``[la, ua]`` and ``[lb, ub]``, and the correlation r of the two means,

    low  = a - b - sqrt((a - la)^2 + (ub - b)^2 - 2 r (a - la)(ub - b))
    high = a - b + sqrt((ua - a)^2 + (b - lb)^2 - 2 r (ua - a)(b - lb))

so that it is as skewed, and as wide near 0 and 1, as they are. r comes from the groups that have samples in both parts:
``sum_g A_g B_g / sqrt(sum_g A_g^2 sum_g B_g^2)``, ``A_g`` being the sum over a group of ``(x - a) / n``; it is 0 where
no group has. With crossed factors the sums run over the levels of both.

**More than two.** The pair that is furthest apart was chosen by looking, and the observed gap is too large on average:
it is positive where no part differs. Every distance to an end is therefore multiplied by
``t(1 - .025 / m) / t(.975)``, m the number of pairs (Bonferroni), with one degree of freedom fewer than the parts have
groups. All pairs then hold at once, and so does the interval of the true gap, from the largest lower end of any pair
(at least 0) to the largest upper end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations, permutations
from math import sqrt
from typing import Final

import numpy as np
from scipy.special import stdtrit

from xaibench_statistics.bootstrap import LEVEL, Estimate, exact_mean
from xaibench_statistics.values import Floats, Strings, Values

_TAIL: Final = (1 - LEVEL) / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """``value``: mean of the part ``largest`` minus that of ``smallest``; ``low`` and ``high`` the 95 % interval of the
    true gap, at least 0. None, with the reason in ``note``, where fewer than two parts have an interval. ``parts``: how
    many were compared."""

    value: float | None
    largest: str = ""
    smallest: str = ""
    low: float | None = None
    high: float | None = None
    parts: int = 0
    note: str = ""


def gap_between(parts: Mapping[str, Values], estimates: Mapping[str, Estimate]) -> Gap:
    """The gap between the parts whose ``estimates``, means of their values, have an interval.

    No sample is in two parts; a group may be.
    """
    names = sorted(name for name, estimate in estimates.items() if estimate.low is not None)
    if len(names) < 2:
        return Gap(
            value=None, parts=len(names), note=f"{len(names)} of {len(estimates)} values have an interval: no gap"
        )
    largest = max(names, key=lambda name: estimates[name].value)
    smallest = min(names, key=lambda name: estimates[name].value)
    pairs = len(names) * (len(names) - 1) // 2
    common = {frozenset(pair): _correlation(*(parts[name] for name in pair)) for pair in combinations(names, 2)}
    ends = [_ends(estimates[a], estimates[b], common[frozenset((a, b))], pairs) for a, b in permutations(names, 2)]
    return Gap(
        value=estimates[largest].value - estimates[smallest].value,
        largest=largest,
        smallest=smallest,
        low=max(0.0, *(low for low, _ in ends)),
        high=max(high for _, high in ends),
        parts=len(names),
    )


def _ends(a: Estimate, b: Estimate, r: float, pairs: int) -> tuple[float, float]:
    """The interval of a - b, one of ``pairs`` that hold at once. Both have an interval."""
    assert a.low is not None and a.high is not None and b.low is not None and b.high is not None
    df = min(_levels(a), _levels(b)) - 1
    wider = float(stdtrit(df, 1 - _TAIL / pairs) / stdtrit(df, 1 - _TAIL))
    below = _length(a.value - a.low, b.high - b.value, r)
    above = _length(a.high - a.value, b.value - b.low, r)
    return a.value - b.value - wider * below, a.value - b.value + wider * above


def _levels(estimate: Estimate) -> int:
    return min(estimate.groups, estimate.cross_groups) if estimate.cross_groups else estimate.groups


def _length(x: float, y: float, r: float) -> float:
    return sqrt(max(0.0, x * x + y * y - 2 * r * x * y))


def _correlation(a: Values, b: Values) -> float:
    """Of the two means, through the groups and the levels of the second factor that have samples of both."""
    product = squares_a = squares_b = 0.0
    for levels_a, levels_b in ((a.groups, b.groups), (a.cross, b.cross)):
        sums_a, sums_b = _sums(a, levels_a), _sums(b, levels_b)
        product += sum(sums_a[level] * sums_b[level] for level in sorted(sums_a.keys() & sums_b.keys()))
        squares_a += sum(x * x for x in sums_a.values())
        squares_b += sum(x * x for x in sums_b.values())
    return max(-1.0, min(1.0, product / sqrt(squares_a * squares_b))) if squares_a and squares_b else 0.0


def _sums(values: Values, levels: Strings) -> dict[str, float]:
    """The sum over each level of how far its values lie from the mean, over n; samples without a level are left out."""
    names, level = np.unique(levels, return_inverse=True)
    influence: Floats = (values.values - exact_mean(values.values)) / len(values)
    sums = np.bincount(level, weights=influence, minlength=len(names))
    return {str(name): float(total) for name, total in zip(names, sums, strict=True) if name}
