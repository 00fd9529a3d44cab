"""Many means tested at once: the studentised clustered bootstrap and the step-down maximum.

**Studentised mean.** Of n rows in k groups with mean m, ``u_g = sum_{i in g} (x_i - m) / n`` is what group g adds to
the error of the mean. The statistic is ``t = m / s`` with ``s^2 = k/(k-1) sum_g u_g^2`` (that of a ratio estimator:
groups need not be of one size). A resample draws groups ``w_g`` times; its statistic, centred on what was observed, is
``t* = sum_g w_g u_g / s*`` with ``s*^2 = k/(k-1) (sum_g w_g u_g^2 - (sum_g w_g u_g)^2 / k)``. Its distribution has the
skewness of the data, which a t table has not. With two crossed factors both are drawn, and their sums and their
variances add up (:func:`~xaibench_statistics.bootstrap.clustered_variance`). All means of one call share the draws, so
that their dependence is kept.

**Step-down.** Of hypotheses "the mean is at most 0" sorted by t, the adjusted p of the j-th is the share of resamples
whose largest t* over it and all after it reaches its t, ``(1 + hits) / (1 + resamples)``, never less than that of the
one before (Romano and Wolf 2005, "Exact and approximate stepdown methods for multiple hypothesis testing", Journal of
the American Statistical Association 100(469), with the studentised maximum of their section 4). The family-wise error
is held whichever of the hypotheses are true.

**Least p.** Where all of k groups that differ from 0 agree in sign, a test that flips their signs has ``p = 2^-k``, and
no p here is smaller, times the number of hypotheses. Data whose spread is 0 (all rows equal) have this p and no t. The
rule takes it that a difference the other way may be as large as the one seen. A mean that cannot reach the level for
this reason has no part in the maximum, since its t* is 0/0 in many resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np

from xaibench_statistics.bootstrap import LEVEL, exact_mean, level_weights
from xaibench_statistics.values import Floats, Ints, Strings, Values

_ROUNDING: Final = 1e-12  # relative: below it a sum of floats is 0


@dataclass(frozen=True, slots=True, eq=False)
class Factor:
    """The errors of M means by the levels of one factor.

    ``influence``: ``(levels, M)``, columns add up to 0; 0 where a mean has no row of a level. ``levels``: ``(M,)`` how
    many levels every mean has rows of, 0 where it does not have the factor.
    """

    influence: Floats
    levels: Ints

    @property
    def scale(self) -> Floats:
        """``k / (k - 1)`` for every mean, 0 where it does not have the factor."""
        return np.where(self.levels > 1, self.levels / np.maximum(1, self.levels - 1), 0.0)

    @property
    def variance(self) -> Floats:
        """What the factor adds to the variance of every mean."""
        total: Floats = self.scale * np.einsum("gm,gm->m", self.influence, self.influence)
        return total

    def resample(self, weights: Floats) -> tuple[Floats, Floats]:
        """The error of every mean in every resample, ``(B, M)``, and its variance, from ``(B, levels)`` draws."""
        # einsum rather than BLAS: the same bits whatever the number of threads
        error = np.einsum("bg,gm->bm", weights, self.influence)
        squares = np.einsum("bg,gm->bm", weights, self.influence**2)
        variance = self.scale * (squares - error**2 / np.maximum(1, self.levels))
        return error, np.where(variance > _ROUNDING * self.variance, variance, 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class Means:
    """M means to be tested against 0: their values, factors (one, or two crossed) and, for each, how many groups (of
    the rarer factor) differ from 0."""

    mean: Floats
    factors: tuple[Factor, ...]
    differing: Ints

    @classmethod
    def of(cls, many: Sequence[Values]) -> Self:
        """Those of ``many`` sets of differences, each over its own samples, of which it has some."""
        mean = np.asarray([exact_mean(v.values) for v in many])
        errors = [v.with_values((v.values - m) / len(v)) for v, m in zip(many, mean, strict=True)]
        factors = [_factor([(v.groups, v.values) for v in errors])]
        differing = np.asarray([_differing(v.groups, v.values) for v in many], dtype=np.intp)
        if any((v.cross != "").any() for v in many):
            errors = [v.where(v.cross != "") for v in errors]
            factors.append(_factor([(v.cross, v.values) for v in errors]))
            donors = [_differing(v.cross[v.cross != ""], v.values[v.cross != ""]) for v in many]
            has_donor = factors[1].levels > 0
            differing = np.where(has_donor, np.minimum(differing, donors), differing)
        return cls(mean, tuple(factors), differing)

    @property
    def t(self) -> Floats:
        """``m / s``; infinite where the spread is 0, and 0 where the mean is 0 too."""
        deviation = np.sqrt(sum((f.variance for f in self.factors), np.zeros(len(self.mean))))
        return _ratio(self.mean, np.where(deviation > _ROUNDING * np.abs(self.mean), deviation, 0.0))

    def replicates(self, seed: int, resamples: int) -> Floats:
        """``t*`` of every mean in every resample, ``(resamples, M)``."""
        error, variance = np.zeros((2, resamples, len(self.mean)))
        for number, factor in enumerate(self.factors):
            draws = level_weights(len(factor.influence), resamples, seed, number)[:, :-1].astype(np.float64)
            more_error, more_variance = factor.resample(draws)
            error += more_error
            variance += more_variance
        return _ratio(error, np.sqrt(variance))


def _factor(rows: Sequence[tuple[Strings, Floats]]) -> Factor:
    """One factor from the level and the error of every row of every mean."""
    names = np.unique(np.concatenate([levels for levels, _ in rows]))
    influence = np.zeros((len(names), len(rows)))
    counts = np.zeros(len(rows), dtype=np.intp)
    for column, (levels, errors) in enumerate(rows):
        own, level = np.unique(levels, return_inverse=True)
        counts[column] = len(own)
        influence[np.searchsorted(names, own), column] = np.bincount(level, weights=errors, minlength=len(own))
    return Factor(influence, counts)


def _differing(levels: Strings, values: Floats) -> int:
    """How many levels have a sum that is not 0."""
    names, level = np.unique(levels, return_inverse=True)
    sums = np.bincount(level, weights=values, minlength=len(names))
    return int((np.abs(sums) > _ROUNDING * np.abs(values).max(initial=0.0)).sum())


def _ratio(error: Floats, deviation: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Floats = np.where(error == 0.0, 0.0, error / deviation)
    return found


def least_p(differing: Ints, tests: int) -> Floats:
    """``tests * 2^-k`` for k groups that differ from 0, at most 1."""
    found: Floats = np.minimum(1.0, tests * 0.5 ** np.asarray(differing, dtype=np.float64))
    return found


def adjusted_p(
    t: Floats, replicates: Floats, differing: Ints, *, tests: int, families: int = 1, level: float = 1 - LEVEL
) -> Floats:
    """The ``(H,)`` adjusted p of the hypotheses "the mean is at most 0" of one family, of ``families`` that are tested
    together (Bonferroni between them). ``tests``: hypotheses of all families, for the least p."""
    least = least_p(differing, tests)
    able = np.isfinite(t) & (least <= level)
    p = np.where(t == np.inf, 0.0, 1.0)
    if able.any():
        p[able] = np.minimum(1.0, families * step_down(t[able], replicates[:, able]))
    return np.maximum(p, least)


def step_down(t: Floats, replicates: Floats) -> Floats:
    """The ``(H,)`` adjusted p of one-sided hypotheses from their ``t`` and ``(B, H)`` replicates."""
    order = np.argsort(-t, kind="stable")
    tail = np.maximum.accumulate(replicates[:, order[::-1]], axis=1)[:, ::-1]  # the largest of each and all after it
    hits = np.count_nonzero(tail >= t[order], axis=0)
    adjusted = np.empty(len(t))
    adjusted[order] = np.maximum.accumulate((1 + hits) / (1 + len(replicates)))
    return adjusted
