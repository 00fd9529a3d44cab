"""Families of detectors compared: the training run is the unit of replication, crossed with people.

**Test.** Where every run has a value of its own, the p value is a permutation of runs: the share of all ways to deal
the runs out to the two families (of the same sizes) whose absolute difference of means reaches the observed one; all
``C(m + n, m)`` of them up to :data:`DEALS`, else that many random ones, ``(1 + hits) / (1 + deals)``. Two families of
five that do not overlap come to 2/252. It speaks of runs, on these pictures. Where only pairs of runs have values
(stability between runs), runs of different families cannot be dealt anew, and p comes from a t test over the
jackknife's standard error. Pairs that share a run are not independent and are never resampled.

**Interval.** ``D -+ t(df) sqrt(V)`` with ``V = V_first + V_second + V_people``. A family's V is
``(n - 1)/n sum (v_r - mean)^2`` over its values without run r (jackknife; ``s^2 / n`` for a mean); ``V_people`` is the
variance of D under the clustered bootstrap of people with the runs fixed, times ``k / (k - 1)`` for k groups. What runs
and people vary together is counted in both terms: too wide rather than too narrow, as in the pigeonhole bootstrap. df
is Satterthwaite's, ``V^2 / sum(V_j^2 / df_j)``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import comb, sqrt
from typing import Final

import numpy as np
from scipy.special import stdtr, stdtrit

from xaibench_statistics.bootstrap import LEVEL, RESAMPLES, SEED, Design, Estimate, exact_mean, mean_replicates
from xaibench_statistics.values import Floats, Values, common_samples

DEALS: Final = 200_000
LEAST_RUNS: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Runs:
    """One family under one measure.

    ``value``: the family's; ``own``: ``(R,)`` the value of every run, empty where only pairs of runs have one;
    ``without``: ``(R,)`` the family's value without each run, empty where there is none; ``mean``: the mean over runs
    for every sample, None where the measure has no samples.
    """

    value: float
    size: int
    own: Floats
    without: Floats
    mean: Values | None = None

    @staticmethod
    def of_values(values: Sequence[float]) -> Runs:
        """One value a run; the family's is their mean. Raises ValueError for none."""
        own = np.asarray(values, dtype=np.float64)
        if not len(own):
            raise ValueError("a family needs a run")
        value = exact_mean(own)
        without = (value * len(own) - own) / (len(own) - 1) if len(own) > 1 else own[:0]
        return Runs(value=value, size=len(own), own=own, without=without)

    @staticmethod
    def of_samples(runs: Sequence[Values]) -> Runs:
        """One value a run and sample; all runs have the same samples, and some."""
        first = runs[0]
        if any(not np.array_equal(r.samples, first.samples) for r in runs):
            raise ValueError("runs differ in their samples: take the common ones")
        over = first.with_values(np.mean([r.values for r in runs], axis=0))
        return replace(Runs.of_values([exact_mean(r.values) for r in runs]), mean=over)

    @staticmethod
    def of_pairs(pairs: Mapping[tuple[str, str], float], mean: Values | None = None) -> Runs:
        """One value for each pair of runs; the family's is their mean, and ``mean`` that over pairs for every sample.
        Raises ValueError where a pair is missing."""
        names = sorted({n for pair in pairs for n in pair})
        if not pairs or {frozenset(p) for p in pairs} != {frozenset(p) for p in combinations(names, 2)}:
            raise ValueError("not all pairs of runs are there")
        without = [[v for pair, v in pairs.items() if name not in pair] for name in names]
        return Runs(
            value=exact_mean(np.asarray(list(pairs.values()))),
            size=len(names),
            own=np.zeros(0),
            without=np.asarray([exact_mean(np.asarray(w)) for w in without]) if len(names) > 2 else np.zeros(0),
            mean=mean,
        )

    @property
    def variance(self) -> float | None:
        """Jackknife variance over runs; None where no run can be left out."""
        return jackknife_variance(self.without) if len(self.without) > 1 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunsDifference:
    """First family minus second.

    ``low`` and ``high``: the 95 % interval over runs, crossed with people where ``people``; None without one. ``p``:
    two-sided, None where there is no test (``note`` says why); ``test`` names it, ``deals`` counts the permutations.
    ``p_holm`` is filled by whoever knows the family of comparisons. ``deviation``: the pooled standard deviation of the
    runs of a family, from the jackknife; None where a family has no variance over runs.
    """

    value: float
    low: float | None = None
    high: float | None = None
    people: bool = False
    p: float | None = None
    p_holm: float | None = None
    test: str = ""
    deals: int = 0
    note: str = ""
    deviation: float | None = None


def jackknife_variance(without: Floats) -> float:
    """``(n - 1)/n sum (v_r - mean)^2`` of a statistic of n runs from its ``(n,)`` values without each run."""
    n = len(without)
    return float((n - 1) / n * np.sum((without - without.mean()) ** 2))


def runs_difference(first: Runs, second: Runs, *, seed: int = SEED) -> RunsDifference:
    """Compare two families on the same samples: see the module. Fewer than :data:`LEAST_RUNS` runs are not tested."""
    value = first.value - second.value
    fewest = min(first.size, second.size)
    if fewest < LEAST_RUNS:
        return RunsDifference(value=value, note=f"{_runs(fewest)}, fewer than {LEAST_RUNS} cannot be significant")
    terms = [(v, r.size - 1) for r in (first, second) if (v := r.variance) is not None]
    if len(terms) < 2:
        return RunsDifference(value=value, note="no run can be left out of this measure")
    people = _people(first, second, seed)
    low, high = t_interval(value, [*terms, people] if people else terms)
    deviation = sqrt(sum(v * (df + 1) for v, df in terms) / 2)
    found = RunsDifference(value=value, low=low, high=high, people=people is not None, deviation=deviation)
    if len(first.own) and len(second.own):
        p, deals = permute_runs(first.own, second.own, seed=seed)
        return replace(found, p=p, deals=deals, test="permutation of runs")
    return replace(found, p=_t_test(value, terms), test="jackknife over runs")


def _runs(n: int) -> str:
    return f"{n} run{'' if n == 1 else 's'}"


def _people(first: Runs, second: Runs, seed: int) -> tuple[float, int] | None:
    """Variance of the difference over people and its degrees of freedom; None with too few of them."""
    if first.mean is None or second.mean is None:
        return None
    samples = common_samples([first.mean, second.mean])
    one, two = first.mean.on(samples), second.mean.on(samples)
    return people_variance(one.with_values(one.values - two.values), seed) if len(samples) else None


def people_variance(values: Values, seed: int = SEED) -> tuple[float, int] | None:
    """Variance of the mean under the clustered bootstrap, times k / (k - 1), and k - 1; None with too few groups."""
    design = Design.of(values.groups, values.cross)
    if design.too_few():
        return None
    k = design.smallest
    return float(np.nanvar(mean_replicates(design, values.values, seed, RESAMPLES), ddof=1)) * k / (k - 1), k - 1


def satterthwaite(terms: Sequence[tuple[float, int]]) -> float:
    """Degrees of freedom of a sum of (variance, degrees of freedom) terms, not all 0."""
    total = sum(v for v, _ in terms)
    return total**2 / sum(v**2 / df for v, df in terms)


def t_interval(value: float, terms: Sequence[tuple[float, int]]) -> tuple[float, float]:
    """``value -+ t sqrt(V)`` for independent (variance, degrees of freedom) terms of ``V``."""
    total = sum(v for v, _ in terms)
    if total == 0.0:
        return value, value
    half = float(stdtrit(satterthwaite(terms), (1 + LEVEL) / 2)) * sqrt(total)
    return value - half, value + half


def _t_test(value: float, terms: Sequence[tuple[float, int]]) -> float:
    total = sum(v for v, _ in terms)
    if total == 0.0:
        return 1.0 if value == 0.0 else 0.0
    return float(2 * stdtr(satterthwaite(terms), -abs(value) / sqrt(total)))


def permute_runs(first: Floats, second: Floats, *, seed: int = SEED) -> tuple[float, int]:
    """Two-sided p of the difference of means under all (or :data:`DEALS` random) ways to deal the runs out, and how
    many were tried."""
    both = np.concatenate([first, second])
    m, n = len(first), len(second)
    every = comb(m + n, m)
    observed = abs(float(first.sum()) / m - float(second.sum()) / n)
    if every <= DEALS:
        chosen = np.asarray(list(combinations(range(m + n), m)), dtype=np.intp)
    else:
        generator = np.random.Generator(np.random.PCG64([seed, 3]))
        chosen = np.argsort(generator.random((DEALS, m + n)), axis=1)[:, :m]
    sums = both[chosen].sum(axis=1)
    differences = np.abs(sums / m - (both.sum() - sums) / n)
    hits = int((differences >= observed - 1e-12 * float(np.abs(both).max(initial=0.0))).sum())
    extra = int(every > DEALS)  # where all are tried, the observed one is among them
    return (extra + hits) / (extra + len(chosen)), len(chosen)


def least_p(m: int, n: int) -> float:
    """The smallest p that :func:`permute_runs` can give families of m and n runs: that of the one deal observed, and,
    where ``m = n``, of the two families exchanged, whose absolute difference is the same."""
    every = comb(m + n, m)
    return 1 / (1 + DEALS) if every > DEALS else (2 if m == n else 1) / every


def runs_interval(family: Runs, *, seed: int = SEED) -> Estimate:
    """A family's value with its 95 % interval over runs, crossed with people where the measure has samples.

    One run has an interval over people alone (with too few of them, or without samples, none), and ``note`` says so.
    """
    groups = len(np.unique(family.mean.groups)) if family.mean is not None else 0
    found = Estimate(value=family.value, n=len(family.mean) if family.mean is not None else 0, groups=groups)
    people = people_variance(family.mean, seed) if family.mean is not None else None
    variance = family.variance
    terms = [t for t in ((variance, family.size - 1) if variance is not None else None, people) if t is not None]
    if not terms:
        return replace(found, note=f"{_runs(family.size)}: no interval")
    low, high = t_interval(family.value, terms)
    note = "over people alone" if variance is None else "over runs alone" if people is None else ""
    return replace(found, low=low, high=high, note=note)
