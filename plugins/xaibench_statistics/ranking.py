"""Ranks of explainers with their uncertainty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from xaibench_statistics.bootstrap import RESAMPLES, SEED, Design, exact_mean, expanded_tail, mean_replicates
from xaibench_statistics.values import Floats, Values, common_samples

COVERAGE: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Rank:
    """Rank 1 is best; equal means share the better rank. ``low`` to ``high`` is the 95 % interval, None
    without one."""

    rank: int
    low: int | None = None
    high: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """Ranks on the ``n`` samples that all ranked explainers have.

    ``unranked`` are explainers with less than half of the samples of the best covered one: ranking them would
    cost all others most of their samples. ``note`` says what is not as one would expect.
    """

    ranks: Mapping[str, Rank]
    samples: tuple[str, ...]
    unranked: tuple[str, ...] = ()
    note: str = ""

    @property
    def n(self) -> int:
        """How many samples the ranks rest on."""
        return len(self.samples)


def rank_explainers(
    values: Mapping[str, Values],
    better: Literal["higher", "lower"],
    *,
    seed: int = SEED,
    resamples: int = RESAMPLES,
) -> Ranking:
    """Rank by the mean over common samples; the interval ranks them anew in every joint clustered resample.

    The interval of a rank runs from a low quantile of ``1 + #(strictly better)`` to a high quantile of
    ``#(better or equal)``, so that two equal explainers both rank 1 to 2.
    """
    most = max((len(v) for v in values.values()), default=0)
    ranked = {n: v for n, v in sorted(values.items()) if len(v) and len(v) >= COVERAGE * most}
    unranked = tuple(n for n in sorted(values) if n not in ranked)
    samples = common_samples(ranked.values())
    if not len(samples):
        return Ranking(ranks={}, samples=(), unranked=tuple(sorted(values)), note="no common samples: no ranks")
    rows = [v.on(samples) for v in ranked.values()]
    sign = 1.0 if better == "higher" else -1.0
    points = np.array([[sign * exact_mean(r.values)] for r in rows])
    best = 1 + _beaten_by(points)[:, 0]
    design = Design.of(rows[0].groups, rows[0].cross)
    note = design.too_few()
    ranks = {n: Rank(rank=int(b)) for n, b in zip(ranked, best, strict=True)}
    if not note:
        means = np.stack([sign * mean_replicates(design, r.values, seed, resamples) for r in rows])
        ranks = _with_intervals(ranks, means[:, np.isfinite(means[0])], design.smallest)
    return Ranking(ranks=ranks, samples=tuple(samples.tolist()), unranked=unranked, note=note)


def _beaten_by(means: Floats) -> np.ndarray[tuple[int, ...], np.dtype[np.intp]]:
    """How many are strictly better, for every explainer (row) in every resample (column)."""
    return np.stack([(means > row).sum(axis=0) for row in means])


def _with_intervals(ranks: Mapping[str, Rank], means: Floats, k: int) -> dict[str, Rank]:
    if means.shape[1] == 0:
        return dict(ranks)
    tail = expanded_tail(k)
    first = 1 + _beaten_by(means)
    last = np.stack([(means >= row).sum(axis=0) for row in means])
    low = np.quantile(first, tail, axis=1, method="inverted_cdf")
    high = np.quantile(last, 1 - tail, axis=1, method="inverted_cdf")
    return {
        name: Rank(rank=rank.rank, low=min(int(a), rank.rank), high=max(int(b), rank.rank))
        for (name, rank), a, b in zip(ranks.items(), low, high, strict=True)
    }
