"""Groups of samples, and the bootstrap of them.

Means have intervals of their own (:mod:`xaibench_statistics.intervals`). The bootstrap serves what is no mean, as
medians and ranks, and the test of a difference over crossed factors.

**Clustered bootstrap.** The G groups are drawn G times with replacement; a sample's weight is how often its
group was drawn, and a replicate is the weighted mean ``sum(w x) / sum(w)``.

**Two crossed factors** (target and donor of a manipulation): the pigeonhole bootstrap of Owen (2007), "The
pigeonhole bootstrap", Annals of Applied Statistics 1(2): both factors are resampled independently and their
weights multiply. A sample without a second factor (a real picture, a manipulation without a donor) has the
weight of its group alone. The procedure overstates the variance a little rather than understating it; that a
donor may also be somebody's target is ignored.

**Few groups.** Percentile intervals are too short when groups are few. The tail probability is therefore
expanded as in Hesterberg (2015), "What teachers should know about the bootstrap", The American Statistician
69(4): ``Phi(-sqrt(k / (k - 1)) t_{.975, k-1})``, k being the number of groups (of the rarer factor where two
are crossed). Below :data:`MINIMUM_GROUPS` there is no interval at all.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, stdtrit

from xaibench_statistics.values import Floats, Ints, Strings

RESAMPLES: Final = 2000
SEED: Final = 20240501
MINIMUM_GROUPS: Final = 10
LEVEL: Final = 0.95
_BLOCK: Final = 2_000_000  # numbers held at once while resampling


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A number over ``n`` samples in ``groups`` groups, with its 95 % interval.

    ``low`` and ``high`` are None where there is no interval; ``note`` then says why. ``cross_groups`` counts
    the levels of the second factor, 0 where there is none. ``method`` names how the interval is computed.
    """

    value: float
    n: int
    groups: int
    cross_groups: int = 0
    low: float | None = None
    high: float | None = None
    method: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Design:
    """Which group, and which level of the second factor, every row belongs to.

    Rows of one (group, cross) pair share a *cell*: their weights are equal in every resample. ``cell`` maps
    rows to cells, ``group`` and ``cross`` map cells to levels; cross is -1 for cells without a second factor.
    """

    cell: Ints
    group: Ints
    cross: Ints
    groups: int
    cross_groups: int

    @staticmethod
    def of(groups: Strings, cross: Strings) -> Design:
        """The design of rows with these groups and second factors (empty: none)."""
        names, group = np.unique(groups, return_inverse=True)
        donors, donor = np.unique(cross, return_inverse=True)
        if len(donors) and donors[0] == "":
            donors, donor = donors[1:], donor - 1
        cells, cell = np.unique(np.stack([group, donor]), axis=1, return_inverse=True)
        return Design(cell.reshape(-1), cells[0], cells[1], len(names), len(donors))

    @property
    def smallest(self) -> int:
        """Levels of the rarer factor."""
        return min(self.groups, self.cross_groups) if self.cross_groups else self.groups

    def too_few(self) -> str:
        """Why there can be no interval; empty where there can."""
        if self.groups < MINIMUM_GROUPS:
            return f"{_count(self.groups, 'group')}, fewer than {MINIMUM_GROUPS}: no interval"
        if self.smallest < MINIMUM_GROUPS:
            return f"{_count(self.cross_groups, 'donor')}, fewer than {MINIMUM_GROUPS}: no interval"
        return ""

    def weights(self, seed: int, resamples: int) -> Iterator[Floats]:
        """Weights of the cells, in blocks of shape ``(resamples of the block, cells)``."""
        first = level_weights(self.groups, resamples, seed, 0)
        # a last column of ones is what cells without a second factor multiply by (index -1)
        second = level_weights(self.cross_groups, resamples, seed, 1) if self.cross_groups else None
        rows = max(1, _BLOCK // max(1, len(self.cell)))
        for start in range(0, resamples, rows):
            part = slice(start, start + rows)
            weights = np.take(first[part], self.group, axis=1).astype(np.float64)
            if second is not None:
                weights *= np.take(second[part], self.cross, axis=1)
            yield weights


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"


@lru_cache(maxsize=4)
def level_weights(levels: int, resamples: int, seed: int, factor: int) -> npt.NDArray[np.uint16]:
    """How often each level of a factor is drawn, ``(resamples, levels + 1)``; the last column is all ones.

    Every bootstrap interval and rank takes its weights from here, so another bootstrap changes this function alone.
    """
    generator = np.random.Generator(np.random.PCG64([seed, factor]))
    drawn = generator.integers(0, levels, size=(resamples, levels))
    drawn += np.arange(resamples)[:, None] * levels
    counts = np.bincount(drawn.reshape(-1), minlength=resamples * levels).reshape(resamples, levels)
    weights = np.concatenate([counts, np.ones((resamples, 1))], axis=1, dtype=np.uint16, casting="unsafe")
    weights.flags.writeable = False
    return weights


def mean_replicates(design: Design, values: Floats, seed: int, resamples: int) -> Floats:
    """The weighted mean of ``values`` in every resample; NaN where a resample holds no sample."""
    cells = len(design.group)
    sums = np.bincount(design.cell, weights=values, minlength=cells)
    sizes = np.bincount(design.cell, minlength=cells).astype(np.float64)
    # einsum rather than BLAS: the same bits whatever the number of threads
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.concatenate(
            [np.einsum("bc,c->b", w, sums) / np.einsum("bc,c->b", w, sizes) for w in design.weights(seed, resamples)]
        )


def clustered_variance(design: Design, influence: Floats) -> float:
    """The variance of a sum of ``influence`` over rows whose levels are drawn anew: ``k/(k-1) sum_g (sum_{i in g})^2``,
    for each factor. The rows add up to 0; a row without a second factor enters by its group alone."""
    total = _of_factor(design.group[design.cell], influence, design.groups)
    if design.cross_groups:
        donor = design.cross[design.cell]
        total += _of_factor(donor[donor >= 0], influence[donor >= 0], design.cross_groups)
    return total


def _of_factor(level: Ints, influence: Floats, levels: int) -> float:
    sums = np.bincount(level, weights=influence, minlength=levels)
    return float(levels / max(1, levels - 1) * np.sum(sums**2))


def expanded_tail(k: int) -> float:
    """The tail probability that gives a percentile interval of k groups the width of a t interval."""
    half = (1 - LEVEL) / 2
    return float(ndtr(-math.sqrt(k / (k - 1)) * stdtrit(k - 1, 1 - half)))


def percentile_interval(replicates: Floats, k: int) -> tuple[float, float] | None:
    """The 95 % interval of bootstrap replicates over k groups.

    Resamples without the needed samples are left out; None where they are more than one in twenty.
    """
    valid = replicates[np.isfinite(replicates)]
    if len(valid) < 0.95 * len(replicates):
        return None
    tail = expanded_tail(k)
    low, high = np.quantile(valid, [tail, 1 - tail])
    return float(low), float(high)


def exact_mean(values: Floats) -> float:
    """The mean, correctly rounded, whatever the order."""
    return math.fsum(values.tolist()) / len(values)


def percentile_bounds(replicates: Floats, k: int) -> tuple[float | None, float | None, str]:
    """Low, high and the note of an interval from its replicates."""
    found = percentile_interval(replicates, k)
    if found is None:
        return None, None, "too many resamples without the needed samples: no interval"
    return *found, ""
