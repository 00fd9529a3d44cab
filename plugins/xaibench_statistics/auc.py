"""The area under the ROC curve and its interval.

**Variance.** The influence of a fake is the share of real pictures that it scores above, less the AUC, over the number
of fakes; that of a real picture likewise (DeLong, DeLong and Clarke-Pearson 1988, Biometrics 44(3)). Its sums over
clusters give the clustered variance (Obuchowski 1997, "Nonparametric analysis of clustered ROC curve data", Biometrics
53(2)).

**Interval.** It solves ``(AUC - a)^2 = t^2 D V(a)`` for a. ``V(a)`` is the variance that an area a has (method 5 of
Newcombe 2006, "Confidence intervals for an effect size measure based on the Mann-Whitney statistic, part 2", Statistics
in Medicine 25(4), after Hanley and McNeil 1982). D, the design effect, is the clustered variance over ``V(AUC)``, at
least one half. This is to the AUC what Wilson's interval is to a share. A percentile bootstrap of an AUC near 1 is too
short and of a perfect one a point: with 40 people it holds an AUC of .99 in 81 % of the trials, this interval in 95 %.
Where the variance cannot be estimated, since no fake stands below a real picture, each cluster of a label counts as one
picture.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from xaibench_statistics.bootstrap import LEVEL, MINIMUM_GROUPS, Design, Estimate, clustered_variance
from xaibench_statistics.runs import Runs, satterthwaite
from xaibench_statistics.values import Floats, Values

Bools = npt.NDArray[np.bool_]
_LEAST_DESIGN_EFFECT: Final = 0.5
_HALVINGS: Final = 50


def roc_auc(positive: Floats, negative: Floats) -> float:
    """The chance that a positive scores above a negative, ties counting half (Mann-Whitney U / (m n)), in [0,
    1].

    Raises ValueError where one of the two is empty.
    """
    if not len(positive) or not len(negative):
        raise ValueError("AUC needs positives and negatives")
    ordered = np.sort(negative)
    twice = np.searchsorted(ordered, positive, "left") + np.searchsorted(ordered, positive, "right")
    return float(twice.sum() / (2 * len(positive) * len(negative)))


def auc_interval(scores: Values, positive: Bools) -> Estimate:
    """AUC with its 95 % interval, clustered by group; ``positive`` follows the rows of ``scores``.

    There is no interval where positives or negatives come from fewer than :data:`MINIMUM_GROUPS` groups.
    """
    return mean_auc_interval([scores], positive)


def mean_auc_interval(runs: Sequence[Values], positive: Bools) -> Estimate:
    """The mean AUC of a family's runs on the same samples, with its 95 % interval over runs crossed with people.

    Its variance is ``V_runs + V_people``, as in :mod:`xaibench_statistics.runs`: ``V_people`` is the clustered variance
    of the mean AUC with the runs fixed. One run: :func:`auc_interval`.
    """
    first = runs[0]
    family = Runs.of_values([roc_auc(r.values[positive], r.values[~positive]) for r in runs])
    design = Design.of(first.groups, first.cross)
    found = Estimate(value=family.value, n=len(first), groups=design.groups, cross_groups=design.cross_groups)
    note = design.too_few() or _one_sided(first, positive)
    if note:
        return replace(found, note=note)
    influence = np.mean([auc_influence(r.values, positive) for r in runs], axis=0)
    sizes = _sizes(first, positive)
    terms = [(clustered_variance(design, influence), min(sizes) - 1)]
    if len(runs) > 1:
        terms.append((family.variance or 0.0, len(runs) - 1))
    low, high = _interval(family.value, (int(positive.sum()), int((~positive).sum())), sizes, terms)
    return replace(found, low=low, high=high)


def auc_influence(scores: Floats, positive: Bools) -> Floats:
    """What every row adds to the AUC's deviation from its expectation; the rows of each class add up to 0."""
    shares = np.empty(len(scores))
    for rows, others, sign in ((positive, ~positive, 1), (~positive, positive, -1)):
        below = np.sort(sign * scores[others])
        mine = sign * scores[rows]
        twice = np.searchsorted(below, mine, "left") + np.searchsorted(below, mine, "right")
        share = twice / (2 * len(below))
        shares[rows] = (share - share.mean()) / len(mine)
    return shares


def _sizes(scores: Values, positive: Bools) -> tuple[int, int]:
    """Clusters of the positives and of the negatives; of the rarer factor where two are crossed."""
    sides = (scores.where(positive), scores.where(~positive))
    one, other = (Design.of(side.groups, side.cross).smallest for side in sides)
    return one, other


def _one_sided(scores: Values, positive: Bools) -> str:
    for name, part in (("fake", scores.where(positive)), ("real", scores.where(~positive))):
        groups = len(np.unique(part.groups))
        if groups < MINIMUM_GROUPS:
            return f"{name} samples of {groups} group(s), fewer than {MINIMUM_GROUPS}: no interval"
    return ""


def _interval(
    auc: float, pictures: tuple[int, int], clusters: tuple[int, int], terms: Sequence[tuple[float, int]]
) -> tuple[float, float]:
    """``terms``: the independent parts of the AUC's variance with their degrees of freedom."""
    variance = sum(v for v, _ in terms)
    df: float
    if variance == 0.0 or auc in (0.0, 1.0):
        m, n = clusters
        effect, df = 1.0, min(clusters) - 1
    else:
        m, n = pictures
        effect, df = max(_LEAST_DESIGN_EFFECT, variance / _variance(auc, m, n)), satterthwaite(terms)
    factor = effect * float(stdtrit(df, (1 + LEVEL) / 2)) ** 2

    def outside(a: float) -> bool:
        return (auc - a) ** 2 > factor * _variance(a, m, n)

    return _bound(auc, 0.0, outside), _bound(auc, 1.0, outside)


def _bound(inside: float, limit: float, outside: Callable[[float], bool]) -> float:
    """Where ``outside`` turns True between ``inside`` and ``limit``, by bisection; the limit where it never does."""
    for _ in range(_HALVINGS):
        middle = (inside + limit) / 2
        inside, limit = (inside, middle) if outside(middle) else (middle, limit)
    return limit


def _variance(a: float, m: int, n: int) -> float:
    """Of an area ``a`` from m positives and n negatives that are independent: Newcombe's method 5."""
    half = (m + n) / 2 - 1
    return a * (1 - a) * (1 + half * ((1 - a) / (2 - a) + a / (1 + a))) / (m * n)
