"""Many means tested at once: the studentised clustered bootstrap and the step-down maximum.

**Studentised mean.** Of n rows with mean m in k groups, group g has n_g rows and the sum of errors
``r_g = sum_{i in g} (x_i - m)``. The statistic is ``t = m / s`` with ``s^2 = k/(k-1) sum_g (r_g / n)^2``. A resample
draws group g ``w_g`` times. Its mean lies ``e = sum_g w_g r_g / n*`` from m, of ``n* = sum_g w_g n_g`` rows, and its
statistic, centred on what was observed, is ``t* = e / s*`` with
``s*^2 = k/(k-1) sum_g w_g (r_g - n_g e)^2 / n*^2``. The distribution of t* has the skewness of the data, which a t
table has not. With two crossed factors each is drawn with the other fixed, and the errors and the variances add up, as
in :func:`~xaibench_statistics.bootstrap.clustered_variance`; what they vary together is counted twice. All means of one
call share the draws, so that their dependence is kept.

**Least spread of a resample.** Where all but a few groups have one value, as hits of 23 pictures of 24, many resamples
hold only those, and t* would be infinite in more of them than any level allows. ``s*^2`` is therefore taken to be at
least :data:`LEAST_SPREAD` of ``s^2``. (Of three explainers that hit with probability .9 where four controls never do,
98 % are told at 24 groups, and 1 % without this rule. A value of .05 is too large: with 17 groups of lognormal
differences 16 % of null boards then claimed something, with .02 1 %.)

**Step-down.** Of hypotheses "the mean is at most 0" sorted by t, the adjusted p of the j-th is the share of resamples
whose largest t* over it and all after it reaches its t, ``(1 + hits) / (1 + resamples)``, never less than that of the
one before (Romano and Wolf 2005, "Exact and approximate stepdown methods for multiple hypothesis testing", Journal of
the American Statistical Association 100(469), with the studentised maximum of their section 4). The family-wise error
is held whichever of the hypotheses are true.

**Balance.** A mean with an outlier has a t* of long tails, and would raise the bar for all others. Where the 99th
percentile of a t* exceeds that of nine tenths of the family, t and t* are divided by the ratio of the two (an
incomplete form of the prepivoting of Beran 1988, Journal of the American Statistical Association 83(403)). The others
are left as they are: a sample of a skewed distribution that happens to hold none of its large values looks harmless,
and the rest of its family tells that it is not. A family that holds both directions of one difference is not balanced,
since half of its tails are short by nature.

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

from xaibench_statistics.bootstrap import exact_mean, level_weights
from xaibench_statistics.values import Floats, Ints, Strings, Values

_BLOCK: Final = 2_000_000  # weights held at once
LEAST_SPREAD: Final = 0.02
_REACH: Final = 0.99
_USUAL: Final = 0.9
_ROUNDING: Final = 1e-12  # relative: below it a sum of floats is 0


@dataclass(frozen=True, slots=True, eq=False)
class Factor:
    """The errors of M means by the L levels of one factor.

    ``residual``: ``(L + 1, M)`` sums of ``x - m``; ``size``: ``(L + 1, M)`` numbers of rows, or ``(L + 1, 1)`` where
    the means share their rows. The last row holds what has no level and is never drawn. ``levels``: ``(M,)`` how many
    levels every mean has rows of.
    """

    residual: Floats
    size: Floats
    levels: Ints

    @property
    def variance(self) -> Floats:
        """What the factor adds to the variance of every mean."""
        squares = np.einsum("gm,gm->m", self.residual[:-1], self.residual[:-1])
        total: Floats = self._scale * squares / self.size.sum(axis=0) ** 2
        return total

    @property
    def _scale(self) -> Floats:
        """``k / (k - 1)`` for every mean."""
        scale: Floats = self.levels / np.maximum(1, self.levels - 1)
        return scale

    def resample(self, weights: Floats) -> tuple[Floats, Floats]:
        """The error of every mean in every resample, ``(B, M)``, and its variance, from ``(B, L + 1)`` draws."""
        # A mean over other rows may have none in a resample: it then has no error.
        total = np.maximum(1.0, _weighted(weights, self.size))
        error = _weighted(weights, self.residual) / total
        residual, size = self.residual[:-1], self.size[:-1]
        squares = _weighted(weights[:, :-1], residual**2)
        least = _ROUNDING * squares
        squares -= 2 * error * _weighted(weights[:, :-1], residual * size)
        squares += error**2 * _weighted(weights[:, :-1], size**2)
        return error, self._scale * np.where(squares > least, squares, 0.0) / total**2


def _weighted(weights: Floats, sums: Floats) -> Floats:
    # einsum rather than BLAS: the same bits whatever the number of threads
    found: Floats = np.einsum("bg,gm->bm", weights, sums)
    return found


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
        errors = [v.values - m for v, m in zip(many, mean, strict=True)]
        factors = [_factor([v.groups for v in many], errors)]
        differing = np.asarray([_differing(v.groups, v.values) for v in many], dtype=np.intp)
        if any((v.cross != "").any() for v in many):
            factors.append(_factor([v.cross for v in many], errors))
            donors = np.asarray([_differing(v.cross, v.values) for v in many], dtype=np.intp)
            differing = np.where(factors[1].levels > 0, np.minimum(differing, donors), differing)
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
            draws = level_weights(len(factor.size) - 1, resamples, seed, number)  # its last column is all ones
            rows = max(1, _BLOCK // len(factor.size))
            for part in (slice(start, start + rows) for start in range(0, resamples, rows)):
                more_error, more_variance = factor.resample(draws[part].astype(np.float64))
                error[part] += more_error
                variance[part] += more_variance
        observed = sum((f.variance for f in self.factors), np.zeros(len(self.mean)))
        return _ratio(error, np.sqrt(np.maximum(variance, LEAST_SPREAD * observed)))


def _factor(levels: Sequence[Strings], errors: Sequence[Floats]) -> Factor:
    """One factor from the level (empty: none) and the error of every row of every mean."""
    names = np.unique(np.concatenate(levels))
    names = names[names != ""]
    residual, size = np.zeros((2, len(names) + 1, len(errors)))
    for column, (own, error) in enumerate(zip(levels, errors, strict=True)):
        level = np.where(own == "", len(names), np.searchsorted(names, own))
        residual[:, column] = np.bincount(level, weights=error, minlength=len(names) + 1)
        size[:, column] = np.bincount(level, minlength=len(names) + 1)
    counts = np.count_nonzero(size[:-1], axis=0)
    shared = bool((size == size[:, :1]).all())
    return Factor(residual, size[:, :1] if shared else size, counts)


def _differing(levels: Strings, values: Floats) -> int:
    """How many levels (empty: none) have a sum that is not 0."""
    names, level = np.unique(levels, return_inverse=True)
    sums = np.bincount(level, weights=values, minlength=len(names))
    return int(((np.abs(sums) > _ROUNDING * np.abs(values).max(initial=0.0)) & (names != "")).sum())


def _ratio(error: Floats, deviation: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Floats = np.where(error == 0.0, 0.0, error / deviation)
    return found


def least_p(differing: Ints, tests: int) -> Floats:
    """``tests * 2^-k`` for k groups that differ from 0, at most 1."""
    found: Floats = np.minimum(1.0, tests * 0.5 ** np.asarray(differing, dtype=np.float64))
    return found


def adjusted_p(
    t: Floats, replicates: Floats, differing: Ints, *, tests: int, families: int = 1, balance: bool, level: float
) -> Floats:
    """The ``(H,)`` adjusted p of the hypotheses "the mean is at most 0" of one family, from their ``t`` and ``(B, H)``
    replicates. ``families`` are tested together (Bonferroni between them); ``tests`` counts the hypotheses of all of
    them, for the least p. ``balance``: only for a family whose t* have one kind of tail."""
    least = least_p(differing, tests)
    able = np.isfinite(t) & (least <= level)
    p = np.where(t == np.inf, 0.0, 1.0)
    if able.any():
        scale = widths(replicates[:, able]) if balance else 1.0
        p[able] = np.minimum(1.0, families * step_down(t[able] / scale, replicates[:, able] / scale))
    return np.maximum(p, least)


def widths(replicates: Floats) -> Floats:
    """How much further than that of nine tenths of all the 99th percentile of each t* reaches, at least 1."""
    reach = np.quantile(replicates, _REACH, axis=0)
    usual = np.quantile(reach, _USUAL)
    return np.maximum(1.0, reach / usual) if usual > 0 else np.ones_like(reach)


def step_down(t: Floats, replicates: Floats) -> Floats:
    """The ``(H,)`` adjusted p of one-sided hypotheses from their ``t`` and ``(B, H)`` replicates."""
    order = np.argsort(-t, kind="stable")
    tail = np.maximum.accumulate(replicates[:, order[::-1]], axis=1)[:, ::-1]  # the largest of each and all after it
    hits = np.count_nonzero(tail >= t[order], axis=0)
    adjusted = np.empty(len(t))
    adjusted[order] = np.maximum.accumulate((1 + hits) / (1 + len(replicates)))
    return adjusted
