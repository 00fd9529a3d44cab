"""Variance, skewness and degrees of freedom of a mean whose rows come in clusters, for one set of values or many.

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

Everything takes values of shape ``(..., n)``, n rows in one design, and gives arrays of shape ``(...)``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xaibench_statistics.bootstrap import Design, exact_mean
from xaibench_statistics.values import Floats, Ints, Strings, Values


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Moments:
    """Of one estimator: its value, variance, skewness, the degrees of freedom of the variance and the clusters."""

    value: Floats
    variance: Floats
    skewness: Floats
    df: Floats
    levels: int


@dataclass(frozen=True, slots=True, eq=False)
class Factor:
    """The clusters of one factor.

    ``level`` of every row (-1: none); ``sizes``: ``(levels, strata)`` rows in each; ``shares``: of the stratum's rows;
    ``scales``: ``1 / (M n_m sqrt(1 - h_gm))``.
    """

    level: Ints
    stratum: Ints
    sizes: Floats
    shares: Floats
    scales: Floats

    @staticmethod
    def of(level: Ints, levels: int, stratum: Ints, rows: Floats) -> Factor:
        """``rows``: ``(strata,)`` how many rows each stratum has."""
        held, strata = level >= 0, len(rows)
        places = level[held] * strata + stratum[held]
        sizes = np.bincount(places, minlength=levels * strata).reshape(levels, strata).astype(np.float64)
        shares = sizes / rows
        scales = 1 / (strata * rows * np.sqrt(np.where(shares < 1, 1 - shares, 1.0)))
        return Factor(level, stratum, sizes, shares, scales)

    def contributions(self, residuals: Floats) -> Floats:
        """``u_g`` of every level, ``(..., levels)``."""
        sums = self._sums(residuals)
        return np.asarray(np.einsum("...gm,gm->...g", sums, self.scales), dtype=np.float64)

    def degrees(self, residuals: Floats) -> Floats:
        """Bell's and McCaffrey's degrees of freedom under the estimated correlation within levels."""
        rho = self._correlation(residuals)[..., None]
        n, c, b = self.sizes, self.scales, self.scales * self.shares
        total = np.einsum("gm,gm->g", c, n)
        own = (1 - rho) * np.einsum("gm,gm,gm->g", c, c, n) + rho * total**2
        rho = rho[..., None]
        with_stratum = (1 - rho) * (n * c) + rho * (n * total[:, None])
        of_strata = (1 - rho) * np.diag(n.sum(axis=0)) + rho * np.einsum("gm,gl->ml", n, n)
        return _satterthwaite(own, with_stratum, b, of_strata)

    def levels_of_rarer(self, values: Floats) -> Ints:
        """How many levels hold the rarer of 0 and 1."""
        ones, rows = self._sums(values).sum(axis=-1), self.sizes.sum(axis=1)
        fewer = np.minimum(np.count_nonzero(ones > 0, axis=-1), np.count_nonzero(ones < rows, axis=-1))
        return np.asarray(fewer, dtype=np.intp)

    def equal_levels(self) -> float:
        """How many equal levels have weights as uneven as these: ``1 / sum_g (sum of w in g)^2`` (Kish 1965)."""
        weights = self.shares.sum(axis=1) / self.shares.sum()
        return float(1 / np.sum(weights**2))

    def _sums(self, values: Floats) -> Floats:
        """Over the rows of every level and stratum, ``(..., levels, strata)``."""
        held = self.level >= 0
        places = self.level[held] * self.sizes.shape[1] + self.stratum[held]
        many = values[..., held].reshape(-1, int(held.sum()))
        shifted = places + self.sizes.size * np.arange(len(many))[:, None]
        sums = np.bincount(shifted.reshape(-1), weights=many.reshape(-1), minlength=self.sizes.size * len(many))
        return np.asarray(sums.reshape(*values.shape[:-1], *self.sizes.shape), dtype=np.float64)

    def _correlation(self, residuals: Floats) -> Floats:
        """Of two rows of one level: the mean product of their residuals over the mean square, within [0, 1]."""
        rows = self.sizes.sum(axis=1)
        pairs = max(1.0, float(np.sum(rows * (rows - 1))))  # without pairs the products below add up to 0
        squares = np.sum(residuals[..., self.level >= 0] ** 2, axis=-1)
        products = np.sum(self._sums(residuals).sum(axis=-1) ** 2, axis=-1) - squares
        mean_square = np.where(squares > 0, squares, 1.0) / rows.sum()
        return np.asarray(np.clip(products / pairs / mean_square, 0.0, 1.0))


def _satterthwaite(own: Floats, q: Floats, b: Floats, strata: Floats) -> Floats:
    """``tr(C)^2 / tr(C^2)`` of ``C = diag(own) + L``, ``L = b S b' - q b' - b q'``, in time linear in the clusters.

    ``own``: ``(..., levels)``, ``q``: ``(..., levels, strata)``, ``b``: ``(levels, strata)``, S = ``strata``.
    """
    # einsum rather than BLAS: the same bits whatever the number of threads
    bb = np.einsum("gm,gl->ml", b, b)
    bq = np.einsum("gm,...gl->...ml", b, q)
    qq = np.einsum("...gm,...gl->...ml", q, q)
    bs = np.einsum("ml,...lk->...mk", bb, strata)
    diagonal = np.einsum("...gl,gl->...g", np.einsum("gm,...ml->...gl", b, strata) - 2 * q, b)
    squares = (
        np.sum(own**2 + 2 * own * diagonal, axis=-1)
        + 2 * np.einsum("...ml,...lm->...", bq, bq)
        + 2 * np.einsum("ml,...lm->...", bb, qq)
        - 4 * np.einsum("...ml,...lm->...", bq, bs)
        + np.einsum("...ml,...lm->...", bs, bs)
    )
    return np.asarray(np.sum(own + diagonal, axis=-1) ** 2 / squares)


@dataclass(frozen=True, slots=True, eq=False)
class ClusteredMean:
    """The mean over strata of rows in clusters: ``stratum`` of every row, ``rows`` of the strata, and the factors.

    ``factors`` holds A, or A, B and their pairs. ``levels``: those of the rarer factor.
    """

    stratum: Ints
    rows: Floats
    factors: tuple[Factor, ...]
    levels: int

    @staticmethod
    def of(values: Values, design: Design, strata: Strings | None = None) -> ClusteredMean:
        """The mean over ``strata`` (None: one) of rows with this design."""
        if strata is None:
            stratum, counts = np.zeros(len(values), dtype=np.intp), np.asarray([len(values)])
        else:
            _, stratum, counts = np.unique(strata, return_inverse=True, return_counts=True)
        rows = counts.astype(np.float64)
        group, donor = design.group[design.cell], design.cross[design.cell]
        levels = [(group, design.groups)]
        if design.cross_groups:
            levels += [(donor, design.cross_groups), (np.where(donor < 0, -1, design.cell), len(design.group))]
        factors = tuple(Factor.of(level, count, stratum, rows) for level, count in levels)
        return ClusteredMean(stratum, rows, factors, design.smallest)

    def mean(self, values: Floats) -> Floats:
        """The mean over strata, whatever the order of rows."""
        return _exact_means(self._stratum_means(values))

    def moments(self, values: Floats) -> Moments:
        """Value, variance, skewness and degrees of freedom."""
        means = self._stratum_means(values)
        residuals = values - means[..., self.stratum]
        parts = [f.contributions(residuals) for f in self.factors]
        variance = _crossed([np.sum(u**2, axis=-1) for u in parts])
        third = _signed_sum([np.sum(u**3, axis=-1) for u in parts])
        k = self.levels
        small = k * k / ((k - 1) * (k - 2)) * ((k - 1) / k) ** 1.5
        return Moments(
            value=_exact_means(means),
            variance=variance,
            skewness=small * third / np.where(variance > 0, variance, 1.0) ** 1.5,
            df=np.minimum.reduce([f.degrees(residuals) for f in self.factors[:2]]),
            levels=k,
        )

    def variance(self, values: Floats) -> Floats:
        """The variance of the mean."""
        residuals = values - self._stratum_means(values)[..., self.stratum]
        return _crossed([np.sum(f.contributions(residuals) ** 2, axis=-1) for f in self.factors])

    @property
    def most_rows(self) -> float:
        """How many independent rows weigh as these do: ``1 / sum w^2``, n for one stratum."""
        return float(len(self.rows) ** 2 / np.sum(1 / self.rows))

    @property
    def equal_levels(self) -> float:
        """How many equal clusters have weights as uneven as these; of two crossed factors the smaller number."""
        return min(f.equal_levels() for f in self.factors[:2])

    def levels_of_rarer(self, values: Floats) -> Ints:
        """How many clusters hold the rarer of 0 and 1; of two crossed factors the smaller number."""
        return np.asarray(np.minimum.reduce([f.levels_of_rarer(values) for f in self.factors[:2]]), dtype=np.intp)

    def unknown_spread(self) -> str:
        """Why the spread of a stratum cannot be known; empty where it can."""
        lone = any(float(f.shares.max()) >= 1 for f in self.factors[:2])
        return "all samples of a stratum are of one group: no interval" if lone else ""

    def _stratum_means(self, values: Floats) -> Floats:
        return np.stack([_exact_means(values[..., self.stratum == m]) for m in range(len(self.rows))], axis=-1)


def _exact_means(values: Floats) -> Floats:
    return np.asarray([exact_mean(row) for row in values.reshape(-1, values.shape[-1])]).reshape(values.shape[:-1])


def _signed_sum(parts: list[Floats]) -> Floats:
    return parts[0] if len(parts) == 1 else parts[0] + parts[1] - parts[2]


def _crossed(parts: list[Floats]) -> Floats:
    return parts[0] if len(parts) == 1 else np.maximum(_signed_sum(parts), parts[2])
