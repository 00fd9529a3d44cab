"""How many groups of pictures would tell explainers apart that a score does not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations
from math import comb, sqrt
from typing import Final

import numpy as np

from xaibench_report.judgement.board_scores import BoardScore
from xaibench_report.judgement.manipulation_methods import even
from xaibench_report.judgement.tie_spread import margin
from xaibench_report.values.number_format import number, plural
from xaibench_report.values.run_values import score_name, short
from xaibench_statistics import Design, Ranking, Values, clustered_variance, exact_mean, groups_needed

POWER: Final = 0.8
SMALL: Final = 0.05
"""The difference, in units of the score, that is asked about where none is seen."""
_FEWEST: Final = 3  # groups from which a deviation is estimated
_LEAST_EFFECT: Final = 0.01  # in deviations: below it some 100,000 groups are needed
_ROUNDING: Final = 1e-12  # relative: below it a deviation of floats is 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelPair:
    """Two ranked explainers that a score does not tell apart, ``first`` with the better mean.

    ``difference``: of their means on the samples of the ranks, at least 0. ``groups``: those that there are.
    ``needed``: the groups that tell such a difference (power 0.8, corrected over the pairs of the score);
    None where no difference is seen, or the spread is unknown, or ties decide it. ``ties``: what the order of tied
    pixels moves a mean by, where that is at least the difference, so that no number of pictures tells it; else 0.
    """

    metric: str
    score: str
    first: str
    second: str
    difference: float
    groups: int
    needed: int | None
    ties: float = 0.0


def level_pairs(scores: Iterable[BoardScore]) -> tuple[LevelPair, ...]:
    """Every pair of explainers that a score ranks and does not tell apart, in the order of their means."""
    return tuple(pair for s in scores if s.ranking is not None and s.ranking.ranks for pair in _level(s, s.ranking))


def _level(score: BoardScore, ranking: Ranking) -> Iterator[LevelPair]:
    for first, second in combinations(ranking.order, 2):
        if not {(first, second), (second, first)} & ranking.apart:
            delta = _delta(score, ranking, first, second)
            groups, deviation = group_deviation(delta)
            seen = abs(exact_mean(delta.values))
            ties = _ties(score, ranking, first, second)
            known = groups >= _FEWEST and seen > max(_LEAST_EFFECT * deviation, ties) and deviation > 0
            yield LevelPair(
                metric=score.key[0],
                score=score.key[1],
                first=first,
                second=second,
                difference=seen,
                groups=groups,
                ties=ties if ties >= seen > 0 else 0.0,
                needed=_needed(seen / deviation, ranking) if known else None,
            )


def _delta(score: BoardScore, ranking: Ranking, first: str, second: str) -> Values:
    samples = np.asarray(ranking.samples, dtype=np.str_)
    a, b = (even(score.cells[e], samples).on(samples) for e in (first, second))
    return a.with_values(a.values - b.values)


def _ties(score: BoardScore, ranking: Ranking, *explainers: str) -> float:
    """What ties alone move the mean of one of two explainers by at most."""
    samples = np.asarray(ranking.samples, dtype=np.str_)
    return max(margin(score.spreads.get(e), samples) for e in explainers)


def pictures_note(scores: Iterable[BoardScore]) -> list[str]:
    """One line about the first score that ranks two explainers, none where there is no such score.

    The difference is that seen between the first two, or 0.05 where it is 0. The deviation is that of the paired
    differences by group. The number of groups is for power 0.8 under the correction over all pairs of the score's
    explainers.
    """
    lines = (_note(s, s.ranking) for s in scores if s.ranking is not None and len(s.ranking.order) > 1)
    return [line for line in lines if line][:1]


def _note(score: BoardScore, ranking: Ranking) -> str:
    best, second = ranking.order[:2]
    delta = _delta(score, ranking, best, second)
    groups, deviation = group_deviation(delta)
    if groups < _FEWEST or deviation <= _ROUNDING * float(np.abs(delta.values).max()):
        return ""
    seen = abs(exact_mean(delta.values))
    pair = f"{score_name(*score.key)}: {short(best)} and {short(second)}"
    if (ties := _ties(score, ranking, best, second)) >= seen > 0:
        return f"{pair} differ by {number(seen)}, and ties move that by {number(ties)}: more pictures do not tell"
    here = f"(power {POWER:g}), and here are {groups}"
    if seen > _LEAST_EFFECT * deviation:
        return f"{pair} differ by {number(seen)}; about {_groups(seen / deviation, ranking)} tell that {here}"
    if _LEAST_EFFECT * deviation < SMALL:
        return f"{pair} do not differ; {SMALL:g} would be told with about {_groups(SMALL / deviation, ranking)} {here}"
    return ""


def _groups(effect: float, ranking: Ranking) -> str:
    """``64 groups``: so many tell a pair apart that differs by ``effect`` deviations."""
    return plural(_needed(effect, ranking), "group")


def _needed(effect: float, ranking: Ranking) -> int:
    return groups_needed(effect, 1.0, tests=comb(len(ranking.order), 2), controls=1, power=POWER)


def group_deviation(delta: Values) -> tuple[int, float]:
    """The number of groups G and the standard deviation of differences by group, ``sqrt(G V)``, V being the clustered
    variance of their mean. Of two crossed factors the rarer one counts."""
    design = Design.of(delta.groups, delta.cross)
    influence = (delta.values - exact_mean(delta.values)) / len(delta)
    return design.smallest, sqrt(design.smallest * clustered_variance(design, influence))
