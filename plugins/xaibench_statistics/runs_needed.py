"""How many training runs a family tell a difference between two families.

With n runs each, a difference ``d`` of two means whose runs have the pooled standard deviation ``s`` has the noncentral
t statistic with ``2 n - 2`` degrees of freedom and noncentrality ``d sqrt(n / 2) / s``. The bar is that of a t table at
``level / (2 tests)``; fewer runs than a permutation can tell at that level are not enough either. Runs are taken to
vary as those that there are do, on the same pictures.
"""

from __future__ import annotations

from math import sqrt
from typing import Final

from scipy.special import nctdtr, stdtrit

from xaibench_statistics.bootstrap import LEVEL
from xaibench_statistics.runs import LEAST_RUNS, least_p
from xaibench_statistics.sample_size import POWER

MOST_RUNS: Final = 1000


def runs_needed(
    difference: float, deviation: float, *, tests: int, power: float = POWER, level: float = 1 - LEVEL
) -> int | None:
    """The fewest runs a family that tell ``difference`` with probability ``power``, corrected over ``tests``
    comparisons. ``deviation``: the pooled standard deviation between runs. None where no difference is seen, and where
    :data:`MOST_RUNS` do not tell it."""
    if not difference:
        return None
    counts = range(LEAST_RUNS, MOST_RUNS + 1)
    return next((n for n in counts if _told(n, abs(difference), deviation, level / tests) >= power), None)


def _told(n: int, difference: float, deviation: float, level: float) -> float:
    """The probability that n runs a family tell the difference."""
    if least_p(n, n) > level:
        return 0.0
    if not deviation:
        return 1.0
    bar = stdtrit(2 * n - 2, 1 - level / 2)
    return float(1 - nctdtr(2 * n - 2, difference / deviation * sqrt(n / 2), bar))
