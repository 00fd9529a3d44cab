"""Two explainers, or two runs, on the same samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr

from xaibench_statistics.bootstrap import RESAMPLES, SEED, Design, mean_replicates, percentile_interval
from xaibench_statistics.intervals import interval, kind_of
from xaibench_statistics.values import Floats, Strings, Values, common_samples

FLIPS: Final = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Mean of ``a - b`` over the ``n`` samples that both have; ``dropped`` samples have only one of the two.

    ``value`` is None without common samples. ``low`` and ``high`` are None where there is no interval, ``p`` where
    there are too few groups; ``note`` says why. ``method`` names how the interval is computed, ``test`` the test behind
    ``p``. ``p_holm`` is filled by whoever knows the family of comparisons.
    """

    value: float | None
    n: int
    dropped: int
    groups: int = 0
    low: float | None = None
    high: float | None = None
    method: str = ""
    p: float | None = None
    p_holm: float | None = None
    test: str = ""
    note: str = ""

    def favours_first(self, better: str) -> bool | None:
        """Whether the interval lies wholly on the better side; None where there is no interval."""
        if self.low is None or self.high is None:
            return None
        return self.low > 0 if better == "higher" else self.high < 0


def paired_difference(
    a: Values,
    b: Values,
    *,
    strata: Strings | None = None,
    seed: int = SEED,
    resamples: int = RESAMPLES,
    test: bool = True,
) -> Difference:
    """Mean difference on the common samples, its clustered 95 % interval and, with ``test``, a two-sided p value.

    The interval is that of :mod:`xaibench_statistics.intervals`: of the difference of two shares where all values of
    both are 0 or 1, else of numbers. Differences of numbers that are all equal have no interval.

    With ``strata``, which follows the rows of ``a``, it is the mean over strata of their mean differences, and the
    interval only: there is no test.

    With one factor, p comes from flipping the sign of whole groups: the share of flips whose absolute sum
    reaches the observed one, all ``2^G`` of them or 20,000 random ones, ``(1 + hits) / (1 + flips)``. With
    crossed factors it is a t test of the mean over the pigeonhole bootstrap's standard error, with (levels of
    the rarer factor - 1) degrees of freedom.
    """
    samples = common_samples([a, b])
    dropped = len(np.union1d(a.samples, b.samples)) - len(samples)
    if not len(samples):
        return Difference(value=None, n=0, dropped=dropped, note="no common samples")
    first = a.on(samples)
    second = b.on(samples)
    delta = first.with_values(first.values - second.values)
    scale = float(max(np.abs(first.values).max(), np.abs(second.values).max()))
    kept = None if strata is None else strata[np.isin(a.samples, samples)]
    shares = kind_of(a.values) == kind_of(b.values) == "share"
    estimate = interval(delta, kept, "signed share" if shares else "number", scale)
    difference = Difference(
        value=estimate.value,
        n=len(delta),
        dropped=dropped,
        groups=estimate.groups,
        low=estimate.low,
        high=estimate.high,
        method=estimate.method,
        note=estimate.note,
    )
    design = Design.of(delta.groups, delta.cross)
    return _tested(difference, design, delta.values, seed, resamples) if test and strata is None else difference


def _tested(difference: Difference, design: Design, delta: Floats, seed: int, resamples: int) -> Difference:
    if design.too_few():
        return difference
    if not design.cross_groups:
        return replace(difference, p=_sign_flip(design, delta, seed), test="sign flips by group")
    replicates = mean_replicates(design, delta, seed, resamples)
    if percentile_interval(replicates, design.smallest) is None:
        return replace(difference, note="too many resamples without the needed samples: no p value")
    value = difference.value
    assert value is not None
    return replace(difference, p=_t_test(value, replicates, design.smallest), test="bootstrap t test")


def _sign_flip(design: Design, delta: Floats, seed: int) -> float:
    sums = np.bincount(design.group[design.cell], weights=delta, minlength=design.groups)
    scale = float(np.abs(sums).sum())
    if scale == 0.0:
        return 1.0
    signs = flip_signs(design.groups, seed)
    extra = int(2**design.groups > FLIPS)  # where all flips are tried, the observed signs are among them
    totals = np.abs(np.einsum("fg,g->f", signs, sums))
    hits = int((totals >= abs(float(sums.sum())) - 1e-12 * scale).sum())
    return (extra + hits) / (extra + len(signs))


@lru_cache(maxsize=2)
def flip_signs(groups: int, seed: int) -> npt.NDArray[np.int8]:
    """Signs of the groups, one flip a row: all of them, that without a flip last, or :data:`FLIPS` random ones."""
    if 2**groups <= FLIPS:
        bits = ((np.arange(2**groups)[:, None] >> np.arange(groups)) & 1).astype(np.int8)
    else:
        generator = np.random.Generator(np.random.PCG64([seed, 2]))
        bits = generator.integers(0, 2, size=(FLIPS, groups), dtype=np.int8)
    signs: npt.NDArray[np.int8] = 2 * bits - 1
    signs.flags.writeable = False
    return signs


def _t_test(value: float, replicates: Floats, k: int) -> float:
    deviation = float(np.nanstd(replicates, ddof=1))
    if deviation == 0.0:
        return 1.0 if value == 0.0 else 0.0
    return float(2 * stdtr(k - 1, -abs(value) / deviation * math.sqrt((k - 1) / k)))


def holm(p: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down adjustment: the i-th smallest of m becomes ``max over j <= i of (m - j + 1) p_j``, at
    most 1.

    None stays None and does not count among the m.
    """
    known = sorted((value, i) for i, value in enumerate(p) if value is not None)
    adjusted: list[float | None] = [None] * len(p)
    running = 0.0
    for step, (value, i) in enumerate(known):
        running = max(running, min(1.0, (len(known) - step) * value))
        adjusted[i] = running
    return adjusted
