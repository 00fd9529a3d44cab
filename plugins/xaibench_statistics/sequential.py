"""An order of explainers that is tested while samples are added, and when nothing more has to be added.

The order of explainers by one score is *settled* where every pair of them was told apart. It is tested at checkpoints
``k = 1, 2, ...``, which follow from the order of the samples alone: the first with :data:`FIRST` groups, each further
one with :data:`GROWTH` times as many groups, or as many samples once all groups are there. Checkpoint k has the level
``alpha / (k (k + 1))``, and these add up to alpha whatever the number of checkpoints. At each of them all ordered pairs
are tested together, as ranks are (:mod:`~xaibench_statistics.ranking`), and a pair that was told apart stays so.

A pair is told apart only where the skewness of its mean difference (:mod:`~xaibench_statistics.cluster_moments`) is at
most :data:`SKEWNESS` in size: ``groups >= 100 G_1^2``, G_1 the skewness of the groups' differences. Cochran (1977,
"Sampling Techniques", third edition, section 2.15) asks for ``25 G_1^2`` where 5 % are left outside an interval; the
levels here are smaller. Few groups of a skewed score often hold none of its large values. Their mean then looks
steadier than it is, and equal explainers would be told apart too often.

By the union bound, with probability 1 - alpha no pair is ever told apart in the wrong order, whenever the run stops:
the sequence of claims is valid at any time (Johari, Koomen, Pekelis and Walsh 2022, "Always Valid Inference: Continuous
Monitoring of A/B Tests", Operations Research 70(3), for the notion; the spending of alpha is the simplest one).
Estimates and intervals at the stop are not: they favour what made the run stop.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import ceil
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from xaibench_statistics.bootstrap import LEVEL, RESAMPLES, SEED, Design
from xaibench_statistics.cluster_moments import ClusteredMean
from xaibench_statistics.ranking import covered, shown_better
from xaibench_statistics.values import Values, common_samples

FIRST: Final = 20
GROWTH: Final = 1.5
SKEWNESS: Final = 0.1
_DRAWS: Final = 20  # resamples for each that lies beyond the level


def checkpoint_level(number: int, alpha: float = 1 - LEVEL) -> float:
    """The level of checkpoint ``number`` (from 1 on): ``alpha / (k (k + 1))``."""
    return alpha / (number * (number + 1))


def checkpoints(groups: Sequence[str], *, first: int = FIRST) -> tuple[int, ...]:
    """The numbers of samples at which an order is tested, from the group of every sample in order; all of them last.

    ``first``: the number of groups at the first of them.
    """
    seen: set[str] = set()
    counts = []
    for group in groups:
        seen.add(group)
        counts.append(len(seen))
    places, due = list[int](), float(first)
    place = next((i for i, n in enumerate(counts, 1) if n >= due), None)
    while place is not None:
        places.append(place)
        due = GROWTH * counts[place - 1]
        after = next((i for i in range(place + 1, len(counts) + 1) if counts[i - 1] >= due), None)
        grown = ceil(GROWTH * place)
        place = after if after is not None else grown if grown < len(counts) else None
    return tuple(dict.fromkeys((*places, len(groups)))) if groups else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderSoFar:
    """What was told of the order of explainers up to a checkpoint.

    Parameters
    ----------
    checkpoint: the number of the last one; 0 before the first.
    explainers: those that are compared, in the order of their means, the best first; equal means by name.
    apart: the pairs told apart, the better one first.
    too_few: why nothing could be tested; empty where it could.
    """

    checkpoint: int = 0
    explainers: tuple[str, ...] = ()
    apart: frozenset[tuple[str, str]] = frozenset()
    too_few: str = ""

    @property
    def unsettled(self) -> tuple[tuple[str, str], ...]:
        """The pairs not told apart, each in the order of the means."""
        return tuple(p for p in combinations(self.explainers, 2) if not self.apart & {p, p[::-1]})

    @property
    def ranked(self) -> tuple[str, ...]:
        """The explainers by how many others each was told better than, then by their means.

        A pair that was told apart stays so, and its means may have changed sides since.
        """
        wins = {name: sum(a == name and b in self.explainers for a, b in self.apart) for name in self.explainers}
        return tuple(sorted(self.explainers, key=lambda name: -wins[name]))

    @property
    def is_settled(self) -> bool:
        """Whether every pair was told apart."""
        return not self.too_few and len(self.explainers) > 1 and not self.unsettled

    @property
    def best_is_settled(self) -> bool:
        """Whether one explainer was shown better than all others."""
        # apart may hold pairs with an explainer that is compared no longer: those prove nothing of the others
        names = self.explainers
        beats = (all((name, other) in self.apart for other in names if other != name) for name in names)
        return len(names) > 1 and any(beats)


def next_checkpoint(
    before: OrderSoFar,
    values: Mapping[str, Values],
    better: Literal["higher", "lower"],
    *,
    questions: int = 1,
    seed: int = SEED,
) -> OrderSoFar:
    """Test the order at the next checkpoint, on the samples that all explainers have.

    Parameters
    ----------
    before: what was told up to the checkpoint before.
    values: the values of every explainer on all samples so far, by its name. One with less than half of the samples of
        the best covered one has no part.
    better: the direction of the score.
    questions: the number of orders that are tested in one run; they share alpha (Bonferroni).
    seed: of the resamples.
    """
    number = before.checkpoint + 1
    compared = covered(values)
    samples = common_samples(compared.values())
    on = {name: v.on(samples) for name, v in compared.items()}
    too_few = _too_few(list(on.values()))
    if too_few:
        return OrderSoFar(checkpoint=number, explainers=tuple(on), apart=before.apart, too_few=too_few)
    sign = 1.0 if better == "higher" else -1.0
    rows = [v.with_values(sign * v.values) for v in on.values()]
    names = sorted(on, key=lambda name: (-sign * float(on[name].values.mean()), name))
    level = checkpoint_level(number) / questions
    resamples = max(RESAMPLES, ceil(_DRAWS / level))
    shown = shown_better(rows, [0.0] * len(rows), seed=seed, resamples=resamples, level=level)
    listed = list(on)
    found = (shown & evenly_spread(rows)).nonzero()
    told = {(listed[i], listed[j]) for i, j in zip(*map(list, found), strict=True)}
    kept = {pair for pair in told if pair[::-1] not in before.apart}
    return OrderSoFar(checkpoint=number, explainers=tuple(names), apart=before.apart | kept)


def evenly_spread(rows: Sequence[Values]) -> npt.NDArray[np.bool_]:
    """``(n, n)``: whether the skewness of the mean difference of two rows is small enough for a test.

    All rows are of the same samples, in three groups or more.
    """
    values = np.asarray([r.values for r in rows])
    design = Design.of(rows[0].groups, rows[0].cross)
    moments = ClusteredMean.of(rows[0], design).moments(values[:, None] - values)
    return np.abs(moments.skewness) <= SKEWNESS


def _too_few(rows: Sequence[Values]) -> str:
    """Why nothing can be tested; empty where it can."""
    if len(rows) < 2:
        return "fewer than two explainers have values"
    if not len(rows[0]):
        return "no common samples"
    return Design.of(rows[0].groups, rows[0].cross).too_few().replace("no interval", "no test")
