"""How many groups tell a difference of a given size from every control.

Over n groups of one size, a difference ``d`` of paired means whose standard deviation between groups is ``s`` has the
noncentral t statistic with ``n - 1`` degrees of freedom and noncentrality ``sqrt(n) d / s``. The bar is that of a t
distribution with ``(1 - 1/e) n - 1`` degrees of freedom at ``level / (2 tests CONTROLS)``: a resample holds that share
of the groups, and this follows the bar of :func:`~xaibench_statistics.control_tests.judge_against_controls` for normal
differences, which lies above a t table's where groups are few. All :data:`CONTROLS` comparisons of an explainer have to
reach it; they share the explainer's map, and are taken to correlate by 1/2. Skewed and heavy-tailed differences need
more. With one comparison (``controls=1``) and the pairs of explainers as ``tests`` it is the bar of ranks.
"""

from __future__ import annotations

from math import ceil, e, inf, log2, sqrt
from typing import Final

import numpy as np
from scipy.special import nctdtr, ndtr, ndtri, stdtrit

from xaibench_statistics.bootstrap import LEVEL, MINIMUM_GROUPS

CONTROLS: Final = 5
POWER: Final = 0.8
_MOST: Final = 10_000_000
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(41)


def groups_needed(
    difference: float,
    deviation: float,
    *,
    tests: int,
    controls: int = CONTROLS,
    power: float = POWER,
    level: float = 1 - LEVEL,
) -> int:
    """How many groups tell ``difference`` with probability ``power`` on a board of ``tests`` explainers times scores.

    ``controls``: the comparisons that every one of them has to pass. ``deviation`` is the standard deviation of the
    paired difference between groups, in the unit of ``difference``. Raises ValueError where one of the two, ``tests``,
    ``power`` or ``level`` is out of range, and for a difference so small that ten million groups do not tell it.
    """
    _check(tests, power, level, difference=difference, deviation=deviation)
    low = _fewest(tests, level)
    effect = difference / deviation
    if power_of(low, effect, tests=tests, controls=controls, level=level) >= power:
        return low
    high = 2 * low
    while power_of(high, effect, tests=tests, controls=controls, level=level) < power:
        if high == _MOST:
            raise ValueError(f"a difference of {effect:g} standard deviations needs more than {_MOST:,} groups")
        low, high = high, min(2 * high, _MOST)
    while high - low > 1:
        middle = (low + high) // 2
        enough = power_of(middle, effect, tests=tests, controls=controls, level=level) >= power
        low, high = (low, middle) if enough else (middle, high)
    return high


def detectable_difference(
    groups: int, *, deviation: float = 1.0, tests: int, power: float = POWER, level: float = 1 - LEVEL
) -> float:
    """The smallest difference that ``groups`` tell with probability ``power``, in the unit of ``deviation``; infinite
    where so few tell none. Raises ValueError as :func:`groups_needed` does."""
    _check(tests, power, level, deviation=deviation)
    if groups < _fewest(tests, level):
        return inf
    high = 1.0
    while power_of(groups, high, tests=tests, level=level) < power:
        high *= 2
    from scipy.optimize import brentq  # .3 s of importing that plans need not wait for

    found = brentq(lambda effect: power_of(groups, effect, tests=tests, level=level) - power, 0.0, high, xtol=1e-6)
    return float(found) * deviation


def power_of(groups: int, effect: float, *, tests: int, controls: int = CONTROLS, level: float = 1 - LEVEL) -> float:
    """The probability that an explainer better than each control by ``effect`` standard deviations is shown better."""
    bar = stdtrit((1 - 1 / e) * groups - 1, 1 - level / (2 * tests * controls))
    one = ndtri(1 - nctdtr(groups - 1, sqrt(groups) * effect, bar))
    if not np.isfinite(one):
        return float(one > 0)
    every = ndtr((one + sqrt(0.5) * _NODES) / sqrt(0.5)) ** controls
    return float(np.sum(_WEIGHTS * every) / np.sum(_WEIGHTS))


def _fewest(tests: int, level: float) -> int:
    """The fewest groups with which anything can be told: p is never below ``2 tests 2^-groups``."""
    return max(MINIMUM_GROUPS, ceil(log2(2 * tests / level)))


def _check(tests: int, power: float, level: float, **positive: float) -> None:
    if tests < 1:
        raise ValueError(f"tests is {tests}: count at least one explainer and score")
    for name, share in (("power", power), ("level", level)):
        if not 0 < share < 1:
            raise ValueError(f"{name} is {share:g}: give a number between 0 and 1")
    for name, value in positive.items():
        if not 0 < value < inf:
            raise ValueError(f"{name} is {value:g}: give a positive number")
