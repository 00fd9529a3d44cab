"""Ranks of explainers: what is told apart, and what shares a rank.

All ordered pairs of explainers are tested together on the samples that all of them have ("the first is no better than
the second"), by the step-down maximum of the studentised clustered bootstrap (:mod:`~xaibench_statistics.step_down`).
An explainer's rank is 1 + the number of those shown better. The interval of its rank runs from there to the number of
explainers less those shown worse; with probability .95 every true rank of the column lies in its interval (Mogstad,
Romano, Shaikh and Wilhelm 2024, "Inference for Ranks with Applications to Mobility across Neighbourhoods and Academic
Achievement across Countries", Review of Economic Studies 91(1), section 3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from xaibench_statistics.bootstrap import LEVEL, RESAMPLES, SEED, Design, exact_mean
from xaibench_statistics.step_down import Means, adjusted_p
from xaibench_statistics.values import Values, common_samples

COVERAGE: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Rank:
    """1 + the number of explainers shown better; those not told apart may share it. ``low`` to ``high`` is the 95 %
    confidence set, simultaneous over the column; None without one."""

    rank: int
    low: int | None = None
    high: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """Ranks on the ``n`` samples that all ranked explainers have, empty where nothing can be told.

    ``order``: the ranked explainers by their means on these samples, the best first, equal means by name. ``unranked``
    are explainers with less than half of the samples of the best covered one: ranking them would cost all others most
    of their samples. ``apart``: the pairs told apart, the better one first. ``note`` says what is not as one would
    expect.
    """

    ranks: Mapping[str, Rank]
    samples: tuple[str, ...]
    order: tuple[str, ...] = ()
    unranked: tuple[str, ...] = ()
    apart: frozenset[tuple[str, str]] = frozenset()
    note: str = ""

    @property
    def n(self) -> int:
        """How many samples the ranks rest on."""
        return len(self.samples)


def rank_explainers(
    values: Mapping[str, Values],
    better: Literal["higher", "lower"],
    *,
    margins: Mapping[str, float] = {},
    seed: int = SEED,
    resamples: int = RESAMPLES,
) -> Ranking:
    """Rank by the means over common samples, as far as these are told apart.

    ``margins``: what ties alone move an explainer's mean by. Two explainers are told apart only if their means differ
    by more than both of their margins. With too few groups there are no ranks.
    """
    ranked = covered(values)
    unranked = tuple(n for n in sorted(values) if n not in ranked)
    samples = common_samples(ranked.values())
    if not len(samples):
        return Ranking(ranks={}, samples=(), unranked=tuple(sorted(values)), note="no common samples: no ranks")
    sign = 1.0 if better == "higher" else -1.0
    on = {n: v.on(samples) for n, v in ranked.items()}
    on = {n: v.with_values(sign * v.values) for n, v in on.items()}
    first = next(iter(on.values()))
    note = Design.of(first.groups, first.cross).too_few().replace("no interval", "no ranks")
    shown = np.zeros((len(on), len(on)), dtype=np.bool_)
    if not note and len(on) > 1:
        shown = shown_better(list(on.values()), [margins.get(n, 0.0) for n in on], seed=seed, resamples=resamples)
    names = list(on)
    return Ranking(
        ranks={} if note else _ranks(names, shown),
        samples=tuple(samples.tolist()),
        order=tuple(sorted(on, key=lambda n: (-exact_mean(on[n].values), n))),
        unranked=unranked,
        apart=frozenset((names[i], names[j]) for i, j in np.argwhere(shown).tolist()),
        note=note,
    )


def covered(values: Mapping[str, Values]) -> dict[str, Values]:
    """Those that are ranked, by name: with at least half of the samples of the best covered one."""
    most = max((len(v) for v in values.values()), default=0)
    return {n: v for n, v in sorted(values.items()) if len(v) and len(v) >= COVERAGE * most}


def shown_better(
    rows: Sequence[Values], margins: Sequence[float], *, seed: int, resamples: int, level: float = 1 - LEVEL
) -> npt.NDArray[np.bool_]:
    """``[i, j]``: whether the mean of row i is shown above that of row j, of ``(E, E)``. All rows have the same
    samples."""
    pairs = list(combinations(range(len(rows)), 2))
    means = Means.of([rows[i].with_values(rows[i].values - rows[j].values) for i, j in pairs])
    replicates = means.replicates(seed, resamples)
    p = adjusted_p(
        np.concatenate([means.t, -means.t]), np.concatenate([replicates, -replicates], axis=1),
        np.concatenate([means.differing, means.differing]), tests=2 * len(pairs), balance=False, level=level,
    )  # fmt: skip
    found = np.zeros((len(rows), len(rows)), dtype=np.bool_)
    for (i, j), mean, up, down in zip(pairs, means.mean, p[: len(pairs)], p[len(pairs) :], strict=True):
        beyond = abs(mean) > max(margins[i], margins[j])
        found[i, j], found[j, i] = beyond and up <= level, beyond and down <= level
    return found


def _ranks(names: Sequence[str], shown: npt.NDArray[np.bool_]) -> dict[str, Rank]:
    beaten_by, beats = shown.sum(axis=0), shown.sum(axis=1)
    return {
        name: Rank(rank=int(1 + lost), low=int(1 + lost), high=int(len(names) - won))
        for name, lost, won in zip(names, beaten_by, beats, strict=True)
    }
