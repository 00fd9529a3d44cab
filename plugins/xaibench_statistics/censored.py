"""The median of right-censored values.

A value is censored where the event did not come within what was tried: all that is known is that it is larger than
the largest tried, ``L``, which is stored in its place. With one such ``L`` the median is exact while fewer than half
are censored; else it is only known to exceed the median of ``min(value, L)``, which is L once more than half are
censored. The mean of ``min(value, L)`` is the *restricted mean* and needs nothing of its own
(:func:`~xaibench_statistics.bootstrap.mean_interval`). A mean over the values that are not censored would drop exactly
the largest ones, and is computed nowhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from xaibench_statistics.bootstrap import RESAMPLES, SEED, Design, expanded_tail
from xaibench_statistics.values import Floats, Values

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class CensoredMedian:
    """The median of ``n`` values, ``censored`` of them right-censored at ``largest`` (None where none is).

    ``above``: the median is only known to lie above ``value``. ``low`` and ``high`` are the 95 % interval, None without
    one (``note`` says why); ``high_above``: its upper end is only known to lie above ``high``.
    """

    value: float
    n: int
    censored: int
    largest: float | None
    above: bool
    low: float | None = None
    high: float | None = None
    high_above: bool = False
    note: str = ""


def censored_median(values: Values, censored: Flags, *, seed: int = SEED, resamples: int = RESAMPLES) -> CensoredMedian:
    """The median over samples with its 95 % interval by the clustered bootstrap.

    Parameters
    ----------
    values: ``min(value, largest tried)``, one a sample.
    censored: ``(len(values),)`` bool, True where the value is the largest tried, in the order of ``values``.

    A replicate is the median of the resampled values; the interval's ends are observed medians (inverse of the
    distribution function), so that each is either exact or known to lie above. Raises ValueError for no samples, and
    where a value that is not censored exceeds one that is.
    """
    if not len(values) or len(censored) != len(values):
        raise ValueError("a median needs samples, and a mark for each")
    largest = float(values.values[censored].max()) if censored.any() else None
    if largest is not None and (values.values[censored].min() < largest or values.values.max() > largest):
        raise ValueError("values are censored at more than one place")
    order = np.lexsort((values.samples, censored, values.values))
    ordered, marks = values.values[order], censored[order]
    one = np.ones((1, len(values)))
    points, open_points = _medians(ordered, marks, one)
    design = Design.of(values.groups, values.cross)
    found = CensoredMedian(
        value=float(points[0]), n=len(values), censored=int(censored.sum()), largest=largest,
        above=bool(open_points[0]), note=design.too_few(),
    )  # fmt: skip
    return found if found.note else _with_interval(found, design, ordered, marks, order, seed, resamples)


def _with_interval(
    found: CensoredMedian,
    design: Design,
    ordered: Floats,
    marks: Flags,
    order: npt.NDArray[np.intp],
    seed: int,
    resamples: int,
) -> CensoredMedian:
    parts = [_medians(ordered, marks, w[:, design.cell[order]]) for w in design.weights(seed, resamples)]
    replicates, is_open = (np.concatenate(p) for p in zip(*parts, strict=True))
    tail = expanded_tail(design.smallest)
    rank = np.lexsort((is_open, replicates))  # an open median lies above an exact one of the same value
    low, high = (rank[_index(q, len(rank))] for q in (tail, 1 - tail))
    return CensoredMedian(
        value=found.value, n=found.n, censored=found.censored, largest=found.largest, above=found.above,
        low=float(replicates[low]), high=float(replicates[high]), high_above=bool(is_open[high]),
    )  # fmt: skip


def _index(q: float, n: int) -> int:
    return min(n - 1, max(0, int(np.ceil(q * n)) - 1))


def _medians(ordered: Floats, marks: Flags, weights: Floats) -> tuple[Floats, Flags]:
    """Medians of ascending values taken ``weights`` times, ``(B, n)``, and whether either middle one is censored."""
    so_far = np.cumsum(weights, axis=1)
    half = so_far[:, -1:] / 2
    lower = (so_far < half).sum(axis=1)  # the first position at which half of the weight is reached
    upper = (so_far <= half).sum(axis=1)  # the first beyond half: the same one where the total is odd
    middle: Floats = (ordered[lower] + ordered[np.minimum(upper, len(ordered) - 1)]) / 2
    return middle, marks[np.minimum(upper, len(ordered) - 1)]
