"""The area under the ROC curve and its interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from xaibench_statistics.bootstrap import MINIMUM_GROUPS, RESAMPLES, SEED, Design, Estimate, percentile_bounds
from xaibench_statistics.runs import Runs, t_interval
from xaibench_statistics.values import Floats, Values


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


def auc_interval(
    scores: Values, positive: npt.NDArray[np.bool_], *, seed: int = SEED, resamples: int = RESAMPLES
) -> Estimate:
    """AUC with its 95 % interval by the clustered bootstrap; ``positive`` follows the rows of ``scores``.

    There is no interval where positives or negatives come from fewer than :data:`MINIMUM_GROUPS` groups.
    """
    design = Design.of(scores.groups, scores.cross)
    note, low, high = design.too_few() or _one_sided(scores, positive), None, None
    if not note:
        replicates = _replicates(design, scores, positive, seed, resamples)
        low, high, note = percentile_bounds(replicates, _smallest(scores, positive))
    return Estimate(
        value=roc_auc(scores.values[positive], scores.values[~positive]), n=len(scores), groups=design.groups,
        cross_groups=design.cross_groups, low=low, high=high, note=note,
    )  # fmt: skip


def mean_auc_interval(
    runs: Sequence[Values], positive: npt.NDArray[np.bool_], *, seed: int = SEED, resamples: int = RESAMPLES
) -> Estimate:
    """The mean AUC of a family's runs on the same samples, with its 95 % interval over runs crossed with people.

    ``AUC -+ t(df) sqrt(V_runs + V_people)``, clipped to [0, 1], as in :mod:`xaibench_statistics.runs`: ``V_people`` is
    the variance of the mean AUC when people are resampled, the same ones for every run. One run: :func:`auc_interval`.
    """
    if len(runs) == 1:
        return auc_interval(runs[0], positive, seed=seed, resamples=resamples)
    family = Runs.of_values([roc_auc(r.values[positive], r.values[~positive]) for r in runs])
    first = runs[0]
    design = Design.of(first.groups, first.cross)
    found = Estimate(value=family.value, n=len(first), groups=design.groups, cross_groups=design.cross_groups)
    note = design.too_few() or _one_sided(first, positive)
    if note:
        return replace(found, note=note)
    replicates = np.mean([_replicates(design, r, positive, seed, resamples) for r in runs], axis=0)
    k = _smallest(first, positive)
    people = (float(np.nanvar(replicates, ddof=1)) * k / (k - 1), k - 1)
    low, high = t_interval(family.value, [(family.variance or 0.0, len(runs) - 1), people])
    return replace(found, low=max(0.0, low), high=min(1.0, high))


def _smallest(scores: Values, positive: npt.NDArray[np.bool_]) -> int:
    parts = (scores.where(positive), scores.where(~positive))
    return min(Design.of(part.groups, part.cross).smallest for part in parts)


def _one_sided(scores: Values, positive: npt.NDArray[np.bool_]) -> str:
    for name, part in (("fake", scores.where(positive)), ("real", scores.where(~positive))):
        groups = len(np.unique(part.groups))
        if groups < MINIMUM_GROUPS:
            return f"{name} samples of {groups} group(s), fewer than {MINIMUM_GROUPS}: no interval"
    return ""


def _replicates(design: Design, scores: Values, positive: npt.NDArray[np.bool_], seed: int, resamples: int) -> Floats:
    """Weighted AUC of every resample: sum over pairs of ``w_i w_j ([x_i > y_j] + [x_i = y_j] / 2) / (W+
    W-)``."""
    order = np.argsort(scores.values, kind="stable")
    ordered, is_positive = scores.values[order], positive[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    out = []
    for weights in design.weights(seed, resamples):
        rows = weights[:, design.cell[order]]
        above = np.add.reduceat(rows * is_positive, starts, axis=1)
        below = np.add.reduceat(rows * ~is_positive, starts, axis=1)
        seen = np.cumsum(below, axis=1) - below / 2
        with np.errstate(invalid="ignore", divide="ignore"):
            out.append((above * seen).sum(axis=1) / (above.sum(axis=1) * below.sum(axis=1)))
    return np.concatenate(out)
