"""How a measure ranks maps whose order is known: shares of pictures, Kendall's tau, and differences between measures.

Intervals are the 95 % intervals of :mod:`xaibench_statistics`: groups of pictures are drawn again, and every map and
every measure meets the same draws.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from xaibench_statistics import (
    RESAMPLES,
    SEED,
    Design,
    Estimate,
    Values,
    exact_mean,
    mean_interval,
    mean_replicates,
    percentile_bounds,
)

Floats = npt.NDArray[np.float64]
Table = Mapping[str, Mapping[str, float]]
"""Numbers by map and by sample."""

APART = 0.05
"""Maps whose correlations with the truth are no further apart than this have no known order."""

RESOLUTION = 1e-3
"""Scores that differ by no more than this share of the score's range are equal: a leaderboard prints them so."""

_COVERED = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Tau:
    """Kendall's tau with the truth and its interval, over ``maps`` maps and ``n`` pictures; ``reason`` where undefined.

    ``low`` and ``high`` are None without an interval; ``reason`` then says why, too.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    maps: int = 0
    n: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Ladder:
    """Scores of the maps ``names`` whose order is known, on the pictures that all of them have; higher is better.

    ``scores``: ``(maps, pictures)``; means no further apart than ``slack`` are equal. ``order``: ``(maps, maps)``, 1
    where the first is truly better, -1 worse, 0 where the truth does not tell them apart.
    """

    names: tuple[str, ...]
    samples: tuple[str, ...]
    groups: tuple[str, ...]
    scores: Floats
    order: npt.NDArray[np.int8]
    slack: float


def slack_of(scores: Floats, width: float) -> float:
    """:data:`RESOLUTION` of the declared range; where that is infinite, of the largest absolute score."""
    return RESOLUTION * (width if np.isfinite(width) else float(np.abs(scores).max(initial=0.0)))


def ladder(values: Table, better: str, width: float, truth: Table, groups: Mapping[str, str]) -> Ladder | str:
    """The ladder of a measure, or why there is none.

    A map that has a score on fewer than half of the pictures is left out; of the others, the pictures that all have.
    """
    wanted = _COVERED * len(groups)
    names = [n for n in truth if len(values.get(n, {})) >= wanted and len(truth[n]) >= wanted]
    common = sorted(set(groups).intersection(*(values[n].keys() & truth[n].keys() for n in names)))
    if len(names) < 3:
        return f"{len(names)} of {len(truth)} maps have a score on half of the pictures"
    if len(common) < wanted:
        return f"{len(common)} of {len(groups)} pictures have a score of every map"
    sign = 1.0 if better == "higher" else -1.0
    scores = sign * np.array([[values[n][s] for s in common] for n in names])
    known = np.array([exact_mean(np.array([truth[n][s] for s in common])) for n in names])
    apart = known[:, None] - known
    order = np.where(np.abs(apart) > APART, np.sign(apart), 0).astype(np.int8)
    slack = slack_of(scores.mean(axis=1), width)
    if np.ptp(scores, axis=0).max() <= slack:
        return "saturated: every map scores the same"
    return Ladder(tuple(names), tuple(common), tuple(groups[s] for s in common), scores, order, slack)


def kendall(order: npt.NDArray[np.int8], means: Floats, slack: float = 0.0) -> Floats:
    """``(C - D) / P`` for every column of ``means`` ``(maps, columns)``.

    Of the P pairs of maps whose order is known, C are ranked as they should be and D the other way round; pairs of
    means no further apart than ``slack`` count as neither. Without ties in either ranking this is Kendall's tau; with
    them it is Somers' D of the scores given the truth, which a measure cannot raise by answering nothing. In [-1, 1].
    """
    first, second = np.nonzero(np.triu(order, 1))
    if not len(first):
        return np.full(means.shape[1], np.nan)
    apart = means[first] - means[second]
    signs = np.where(np.abs(apart) <= slack, 0.0, np.sign(apart))
    found: Floats = (signs * order[first, second][:, None]).mean(axis=0)
    return found


def tau(found: Ladder | str) -> Tau:
    """Tau of the mean scores, and its interval."""
    if isinstance(found, str):
        return Tau(reason=found)
    point = kendall(found.order, found.scores.mean(axis=1, keepdims=True), found.slack)[0]
    if not np.isfinite(point):
        return Tau(reason="the truth tells no two of the maps apart")
    design, replicates = _replicates(found)
    low, high, note = (
        (None, None, design.too_few()) if replicates is None else percentile_bounds(replicates, design.smallest)
    )
    return Tau(
        value=float(point), low=low, high=high, maps=len(found.scores), n=len(found.samples), reason=note
    )  # fmt: skip


def difference(a: Ladder | str, b: Ladder | str) -> Tau:
    """``tau(a) - tau(b)`` on the maps and the pictures that both have, with the same draws."""
    if isinstance(a, str) or isinstance(b, str):
        return Tau(reason=a if isinstance(a, str) else f"the other measure: {b}")
    common = [s for s in a.samples if s in set(b.samples)]
    if not common:
        return Tau(reason="no common pictures")
    names = [n for n in a.names if n in b.names]
    first, second = _on(a, names, common), _on(b, names, common)
    points = [kendall(x.order, x.scores.mean(axis=1, keepdims=True), x.slack)[0] for x in (first, second)]
    value, maps, n = float(points[0] - points[1]), len(names), len(common)
    if not np.isfinite(value):
        return Tau(reason="the truth tells no two of the common maps apart")
    (design, of_first), (_, of_second) = _replicates(first), _replicates(second)
    if of_first is None or of_second is None:
        return Tau(value=value, maps=maps, n=n, reason=design.too_few())
    low, high, note = percentile_bounds(of_first - of_second, design.smallest)
    return Tau(value=value, low=low, high=high, maps=maps, n=n, reason=note)


def _on(found: Ladder, names: Sequence[str], samples: Sequence[str]) -> Ladder:
    """Less maps and pictures. The order stays that of all pictures the measure has."""
    rows, columns = [found.names.index(n) for n in names], [found.samples.index(s) for s in samples]
    groups = tuple(found.groups[i] for i in columns)
    scores, order = found.scores[np.ix_(rows, columns)], found.order[np.ix_(rows, rows)]
    return Ladder(tuple(names), tuple(samples), groups, scores, order, found.slack)


def _replicates(found: Ladder) -> tuple[Design, Floats | None]:
    """Tau in every resample of the groups; None where there are too few of them."""
    design = Design.of(np.array(found.groups), np.array([""] * len(found.groups)))
    if design.too_few():
        return design, None
    means = np.stack([mean_replicates(design, row, SEED, RESAMPLES) for row in found.scores])
    return design, kendall(found.order, means, found.slack)


def above(
    values: Table, better: str, width: float, truth: str, rivals: Sequence[str], groups: Mapping[str, str]
) -> Estimate | str:
    """On what share of pictures the truth scores better than the rivals; equal scores (:func:`slack_of`) count a half.

    Several rivals (draws of one kind) are averaged per picture. Pictures where either has no score are left out.
    """
    shares: dict[str, float] = {}
    sign = 1.0 if better == "higher" else -1.0
    every = [v for name in (truth, *rivals) for v in values.get(name, {}).values()]
    slack = slack_of(np.array(every), width)
    for sample, own in values.get(truth, {}).items():
        others = [values[r][sample] for r in rivals if sample in values.get(r, {})]
        if others:
            shares[sample] = float(np.mean([_wins(sign * (own - other), slack) for other in others]))
    if not shares:
        return "no picture has a score of both"
    samples = sorted(shares)
    return mean_interval(Values.of(samples, [shares[s] for s in samples], [groups[s] for s in samples]))


def _wins(lead: float, slack: float) -> float:
    return 0.5 if abs(lead) <= slack else float(lead > 0)
