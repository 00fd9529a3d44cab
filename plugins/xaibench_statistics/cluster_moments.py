"""Variance, skewness and degrees of freedom of a mean whose rows come in clusters.

The estimator is a mean over strata of their means, ``sum_i w_i x_i`` with ``w_i = 1 / (M n_m)`` for a row of stratum m
(one stratum: the plain mean). With residuals ``e_i = x_i - mean_m``, ``h_gm = n_gm / n_m`` the share of stratum m that
lies in cluster g and ``r_gm`` the sum of residuals there, cluster g contributes

    u_g = sum_m r_gm / (M n_m sqrt(1 - h_gm)).

**Variance.** ``V = sum_g u_g^2`` is the variance CR2 of Bell and McCaffrey (2002, "Bias reduction in standard errors
for linear regression with multi-stage samples", Survey Methodology 28(2)), unbiased where rows are independent.
Two crossed factors: ``V_A + V_B - V_AB``, AB being the pairs of levels (Cameron, Gelbach and Miller 2011, "Robust
inference with multiway clustering", Journal of Business and Economic Statistics 29(2)), and at least V_AB: likeness
within levels only adds to the variance. A row without a second factor counts in A alone.

**Third cumulant.** ``K = sum_g u_g^3``, with the same signs for crossed factors. ``K / V^1.5`` times
``k^2 / ((k - 1)(k - 2)) ((k - 1) / k)^1.5`` is the skewness of the estimator; with rows for clusters it is the usual
``G_1 / sqrt(k)``.

**Degrees of freedom** are those of Bell and McCaffrey, ``tr(C)^2 / tr(C^2)`` with C the covariance of the u_g. C needs
the correlation within clusters; it is estimated, as in Imbens and Kolesar (2016, "Robust standard errors in small
samples", Review of Economics and Statistics 98(4)). Equal clusters have k - 1. Of two crossed factors the smaller
number counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xaibench_statistics.bootstrap import Design, exact_mean
from xaibench_statistics.values import Floats, Ints, Strings, Values


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """Of one estimator: its value, variance, skewness, the degrees of freedom of the variance and the clusters."""

    value: float
    variance: float
    skewness: float
    df: float
    levels: int


@dataclass(frozen=True, slots=True, eq=False)
class Factor:
    """The clusters of one factor: ``level`` of every row (-1: none); ``sizes``: ``(levels, strata)`` rows in each."""

    level: Ints
    sizes: Floats

    @staticmethod
    def of(level: Ints, levels: int, stratum: Ints, strata: int) -> Factor:
        """Count the rows of every level and stratum."""
        held = level >= 0
        places = level[held] * strata + stratum[held]
        return Factor(level, np.bincount(places, minlength=levels * strata).reshape(levels, strata).astype(np.float64))

    def contributions(self, residuals: Floats, clusters: ClusteredMean) -> Floats:
        """``u_g`` of every level."""
        strata = len(clusters.sizes)
        held = self.level >= 0
        places = self.level[held] * strata + clusters.stratum[held]
        sums = np.bincount(places, weights=residuals[held], minlength=self.sizes.size).reshape(self.sizes.shape)
        return np.asarray((sums * self._scales(clusters)).sum(axis=1), dtype=np.float64)

    def degrees(self, residuals: Floats, clusters: ClusteredMean) -> float:
        """Bell's and McCaffrey's degrees of freedom under the estimated correlation within levels."""
        rho = self._correlation(residuals)
        n, c = self.sizes, self._scales(clusters)
        total = (c * n).sum(axis=1, keepdims=True)
        variance = ((1 - rho) * (c * c * n).sum(axis=1) + rho * total[:, 0] ** 2).astype(np.float64)
        with_stratum = n * ((1 - rho) * c + rho * total)
        of_strata = (1 - rho) * np.diag(n.sum(axis=0)) + rho * np.einsum("gm,gl->ml", n, n)
        return _satterthwaite(variance, with_stratum, c * n / clusters.sizes, of_strata)

    def largest_share(self, clusters: ClusteredMean) -> float:
        """The largest share of a stratum that lies in one level."""
        return float((self.sizes / clusters.sizes).max())

    def levels_of_rarer(self, values: Floats) -> int:
        """Levels that hold the rarer of 0 and 1."""
        held = self.level >= 0
        level, ones = self.level[held], values[held] > 0
        return min(len(np.unique(level[ones])), len(np.unique(level[~ones])))

    def kish(self, clusters: ClusteredMean) -> float:
        """How many equal levels have weights as uneven as these: ``1 / sum_g (sum of w in g)^2`` (Kish 1965)."""
        weights = (self.sizes / clusters.sizes).sum(axis=1) / len(clusters.sizes)
        weights = weights[weights > 0] / weights.sum()
        return float(1 / np.sum(weights**2))

    def _scales(self, clusters: ClusteredMean) -> Floats:
        share = np.minimum(self.sizes / clusters.sizes, 1.0)
        scales: Floats = 1 / (len(clusters.sizes) * clusters.sizes * np.sqrt(np.where(share < 1, 1 - share, 1.0)))
        return scales

    def _correlation(self, residuals: Floats) -> float:
        """Of two rows of one level: the mean product of their residuals over the mean square, within [0, 1]."""
        held = self.level >= 0
        pairs = float(np.sum((rows := self.sizes.sum(axis=1)) * (rows - 1)))
        squares = float(np.sum(residuals[held] ** 2))
        if pairs == 0.0 or squares == 0.0:
            return 0.0
        sums = np.bincount(self.level[held], weights=residuals[held])
        rho = (float(np.sum(sums**2)) - squares) / pairs / (squares / int(held.sum()))
        return min(1.0, max(0.0, rho))


def _satterthwaite(own: Floats, q: Floats, b: Floats, strata: Floats) -> float:
    """``tr(C)^2 / tr(C^2)`` of ``C = diag(own) - q b' - b q' + b S b'``, in time linear in the clusters."""
    m = b.shape[1]
    u = np.concatenate([q, b], axis=1)
    s = np.block([[np.zeros((m, m)), -np.eye(m)], [-np.eye(m), strata]])
    low_rank = np.einsum("gi,ij,gj->g", u, s, u)
    # einsum rather than BLAS: the same bits whatever the number of threads
    inner = np.einsum("ij,jk->ik", s, np.einsum("gi,gj->ij", u, u))
    squares = np.sum(own**2) + 2 * np.sum(own * low_rank) + np.einsum("ij,ji->", inner, inner)
    return float((np.sum(own) + np.sum(low_rank)) ** 2 / squares)


@dataclass(frozen=True, slots=True, eq=False)
class ClusteredMean:
    """The mean over strata of rows in clusters: ``stratum`` of every row, ``sizes`` of the strata, and the factors.

    ``factors`` holds A, or A, B and their pairs. ``levels``: those of the rarer factor.
    """

    stratum: Ints
    sizes: Floats
    factors: tuple[Factor, ...]
    levels: int

    @staticmethod
    def of(values: Values, design: Design, strata: Strings | None = None) -> ClusteredMean:
        """The mean over ``strata`` (None: one) of rows with this design."""
        if strata is None:
            stratum, sizes = np.zeros(len(values), dtype=np.intp), np.asarray([len(values)])
        else:
            _, stratum, sizes = np.unique(strata, return_inverse=True, return_counts=True)
        group, donor = design.group[design.cell], design.cross[design.cell]
        levels = [(group, design.groups)]
        if design.cross_groups:
            levels += [(donor, design.cross_groups), (np.where(donor < 0, -1, design.cell), len(design.group))]
        factors = tuple(Factor.of(level, count, stratum, len(sizes)) for level, count in levels)
        return ClusteredMean(stratum, sizes.astype(np.float64), factors, design.smallest)

    def mean(self, values: Floats) -> float:
        """The mean over strata, whatever the order of rows."""
        return exact_mean(self._stratum_means(values))

    def moments(self, values: Floats) -> Moments:
        """Value, variance, skewness and degrees of freedom."""
        means = self._stratum_means(values)
        residuals = values - means[self.stratum]
        parts = [f.contributions(residuals, self) for f in self.factors]
        variance = _crossed([float(np.sum(u**2)) for u in parts])
        third = _signed_sum([float(np.sum(u**3)) for u in parts])
        k = self.levels
        small = k * k / ((k - 1) * (k - 2)) * ((k - 1) / k) ** 1.5
        return Moments(
            value=exact_mean(means),
            variance=variance,
            skewness=small * third / variance**1.5 if variance > 0 else 0.0,
            df=min(f.degrees(residuals, self) for f in self.factors[:2]),
            levels=k,
        )

    def variance(self, values: Floats) -> float:
        """The variance of the mean."""
        residuals = values - self._stratum_means(values)[self.stratum]
        return _crossed([float(np.sum(f.contributions(residuals, self) ** 2)) for f in self.factors])

    @property
    def most_rows(self) -> float:
        """How many independent rows weigh as these do: ``1 / sum w^2``, n for one stratum."""
        return float(len(self.sizes) ** 2 / np.sum(1 / self.sizes))

    @property
    def equal_levels(self) -> float:
        """How many equal clusters have weights as uneven as these; of two crossed factors the smaller number."""
        return min(f.kish(self) for f in self.factors[:2])

    def levels_of_rarer(self, values: Floats) -> int:
        """How many clusters hold the rarer of 0 and 1; of two crossed factors the smaller number."""
        return min(f.levels_of_rarer(values) for f in self.factors[:2])

    def unknown_spread(self) -> str:
        """Why the spread of a stratum cannot be known; empty where it can."""
        lone = any(f.largest_share(self) >= 1 for f in self.factors[:2])
        return "all samples of a stratum are of one group: no interval" if lone else ""

    def _stratum_means(self, values: Floats) -> Floats:
        return np.asarray([exact_mean(values[self.stratum == m]) for m in range(len(self.sizes))])


def _signed_sum(parts: list[float]) -> float:
    return parts[0] if len(parts) == 1 else parts[0] + parts[1] - parts[2]


def _crossed(parts: list[float]) -> float:
    return parts[0] if len(parts) == 1 else max(_signed_sum(parts), parts[2])
