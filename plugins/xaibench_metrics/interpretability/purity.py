"""How well axis j stands for patch j: the mathematics, on arrays.

``responses[i, p, j]`` is the pooled activation of axis j on patch p of picture i alone: ``(N, P, P)`` where the axes
are as many as the patches, ``(N, P, K)`` for all channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, stdev

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from xaibench_metrics.interpretability.layer import Figures

Floats = npt.NDArray[np.float64]
Responses = npt.NDArray[np.floating]
Ints = npt.NDArray[np.intp]

HITS = (1, 3, 5)

_COLUMNS = 256
"""Channels ranked at once."""


def folds(pictures: int, splits: int, generator: np.random.Generator) -> list[Ints]:
    """``splits`` random parts of the pictures, of equal size as far as that goes; needs as many pictures as parts."""
    return [np.sort(part) for part in np.array_split(generator.permutation(pictures), splits)]


def patch_aucs(responses: Responses) -> Floats:
    """``(P, K)`` of ``(N, P, K)``: the one-vs-rest AUC of every channel for every patch, in [0, 1].

    The chance that the channel is higher on patch p of some picture than on another patch of some picture, ties half:
    ``(R - n (n + 1) / 2) / (n m)``, R the sum of the midranks of patch p, n = N, m = N (P - 1). Needs P >= 2.
    """
    n, patches, channels = responses.shape
    rows = responses.reshape(n * patches, channels)
    found = np.empty((patches, channels))
    for start in range(0, channels, _COLUMNS):
        part = slice(start, start + _COLUMNS)
        ranks = rankdata(rows[:, part], axis=0).reshape(n, patches, -1)
        found[:, part] = (ranks.sum(axis=0) - n * (n + 1) / 2) / (n * n * (patches - 1))
    return found


def fold_aucs(responses: Responses, parts: Sequence[Ints]) -> Floats:
    """``(S, P, K)``: :func:`patch_aucs` in each part of the pictures."""
    return np.stack([patch_aucs(responses[part]) for part in parts])


def diagonal_share(matrix: Floats) -> float:
    """Share of axes j whose largest entry ``matrix[j, p]`` is at p = j, of ``(P, P)``, in [0, 1].

    Where t patches tie for the largest, j among them, the axis counts 1 / t, so a constant axis counts what chance
    does.
    """
    largest = matrix == matrix.max(axis=1, keepdims=True)
    return float((largest.diagonal() / largest.sum(axis=1)).mean())


def mean_margin(matrix: Floats, deviation: Floats) -> float:
    """Mean over axes of ``(r_jj - max_{p != j} r_jp) / s_j``; an axis with ``s_j`` = 0 tells nothing apart and counts
    0.

    ``matrix``: ``(P, P)`` mean responses, axes first; ``deviation``: ``(P,)``.
    """
    others = np.where(np.eye(len(matrix), dtype=np.bool_), -np.inf, matrix).max(axis=1)
    gaps = np.where(deviation > 0, matrix.diagonal() - others, 0.0)
    return float((gaps / np.where(deviation > 0, deviation, 1.0)).mean())


def ranks_of_own(responses: Responses) -> tuple[Ints, Ints]:
    """For each patch picture ``(N, P)`` of ``(N, P, P)``: how many other axes are higher than axis p, how many tie."""
    own = responses[:, np.arange(responses.shape[1]), np.arange(responses.shape[1])][..., None]
    return (responses > own).sum(axis=2), (responses == own).sum(axis=2) - 1


def hit_rate(above: Ints, tied: Ints, k: int) -> float:
    """Chance that the designated axis is among the k highest, ties broken at random: ``clip((k - above) / (tied +
    1))``."""
    return float(np.clip((k - above) / (tied + 1), 0, 1).mean())


def energy_ratio(responses: Responses) -> float | None:
    """Mean ``|a_p|`` over mean ``|a|_2``, a the axes' activations on patch p; None where all are 0.

    1 where only the designated axis answers; about ``sqrt(1 / P)`` for a random one of P even axes.
    """
    exact = responses.astype(np.float64)
    own = np.abs(np.diagonal(exact, axis1=1, axis2=2))
    norm = np.sqrt(np.square(exact).sum(axis=2))
    return min(1.0, float(own.sum() / norm.sum())) if norm.any() else None


def importance(aucs: Floats) -> Floats:
    """``max(0, 2 AUC - 1)``, the share of pairs that the axis puts right beyond chance."""
    return np.maximum(0.0, 2 * aucs - 1)


def patch_gap(weights: Floats) -> float:
    """Mean over patches (rows of ``(P, K)``) of the highest weight minus the second, in [0, 1]."""
    two = np.sort(weights, axis=1)[:, -2:]
    return float((two[:, 1] - two[:, 0]).mean())


def concentration(weights: Floats) -> float | None:
    """Mean over rows of ``1 - H(w / sum w) / log n`` for rows of n, each row by its share of all weight, in [0, 1].

    None where there is no weight.
    """
    total = weights.sum(axis=1)
    heavy = total > 0
    if not heavy.any():
        return None
    shares = weights[heavy] / total[heavy, None]
    logs = np.log(np.where(shares > 0, shares, 1.0))
    even = 1 + (shares * logs).sum(axis=1) / np.log(weights.shape[1])
    return float(np.clip((even * total[heavy]).sum() / total.sum(), 0, 1))


def axis_aucs(aucs: Floats) -> Floats:
    """``(S, P)``: the AUC of axis p for patch p in each part, of ``(S, P, K)`` with K >= P."""
    return np.diagonal(aucs, axis1=1, axis2=2).copy()


def axis_figures(responses: Responses, drops: Floats, parts: Sequence[Ints]) -> Figures:
    """All figures of P axes.

    Parameters
    ----------
    responses: ``(N, P, P)``.
    drops: ``(P, P)``: mean fall of axis j (rows) when patch p (columns) of a whole picture is hidden.
    parts: the parts of the pictures in which AUCs are taken.
    """
    aucs = fold_aucs(responses, parts)
    by_part = axis_aucs(aucs).mean(axis=1)
    weights = importance(aucs.mean(axis=0))
    matrix = responses.mean(axis=0, dtype=np.float64).T
    deviation = responses.std(axis=(0, 1), dtype=np.float64) * (np.ptp(responses, axis=(0, 1)) > 0)
    above, tied = ranks_of_own(responses)
    return {
        "axis-auc": float(by_part.mean()),
        "axis-auc-sd": stdev(by_part) if len(by_part) > 1 else "one part of the pictures has no spread",
        "diagonal-share": diagonal_share(matrix),
        "margin": mean_margin(matrix, deviation),
        "mean-rank": float((1 + above + tied / 2).mean()),
        **{f"hit-{k}": _hit(above, tied, k, len(matrix)) for k in HITS},
        "energy-ratio": _or("the axes are 0 on every patch", energy_ratio(responses)),
        "gap": patch_gap(weights),
        "disentanglement": _or(_NO_WEIGHT, concentration(weights.T)),
        "completeness": _or(_NO_WEIGHT, concentration(weights)),
        "occlusion-diagonal-share": diagonal_share(drops),
    }


_NO_WEIGHT = "no axis tells any patch from the others"


def _or(reason: str, value: float | None) -> float | str:
    return reason if value is None else value


def _hit(above: Ints, tied: Ints, k: int, axes: int) -> float | str:
    return hit_rate(above, tied, k) if k < axes else f"there are only {axes} axes: {k} of them are all"


def mean_figures(many: Sequence[Figures]) -> Figures:
    """The mean of each figure; where one of them has no value, its reason."""
    return {name: _mean([figures[name] for figures in many]) for name in many[0]}


def _mean(values: Sequence[float | str]) -> float | str:
    numbers = [v for v in values if not isinstance(v, str)]
    return fmean(numbers) if len(numbers) == len(values) else next(v for v in values if isinstance(v, str))
