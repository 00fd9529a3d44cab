"""How often removing pixels raises the target's score above the untouched picture's.

A map cannot be to blame for that: what is put in the place of the pixels is evidence for the target itself. The curves
of measures that remove pixels, or bring them back, hold the untouched picture's score at one end
(:attr:`xaibench.api.ScoreSpec.untouched`); a curve *rises above* it where it exceeds it by more than :data:`MARGIN`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from xaibench_report.values.run_values import ScoreInfo, Table, Where, encode, short
from xaibench_statistics import Floats, Ints, exact_mean

MARGIN: Final = 0.01
_NAMED: Final = 3


class CurvesKey(NamedTuple):
    """The curves of one explainer under one metric, on one detector and dataset."""

    where: Where
    metric: str
    explainer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AboveUntouched:
    """Of ``n`` samples. ``anywhere``: share whose curve rises above the untouched picture's score at some point;
    ``average``: share of which the mean over the curve does. Repeats, items and several curves of a sample are averaged
    within it."""

    n: int
    anywhere: float
    average: float


def above_untouched(curves: Table | None, info: ScoreInfo) -> dict[CurvesKey, AboveUntouched]:
    """For every metric that declares which end of its curves is the untouched picture, and every explainer."""
    ends = {metric: spec.untouched for (metric, _), spec in info.specs.items() if spec.untouched is not None}
    if curves is None or not len(curves) or not ends:
        return {}
    names = [encode(curves, n) for n in ("dataset", "model", "member", "metric", "explainer", "sample")]
    apart = [*(c.codes for c in names), *(encode(curves, n).codes for n in ("curve", "item"))]
    numbers = {n: np.asarray(curves[n].to_numpy()) for n in ("repeat", "point", "x", "y")}
    keys = np.stack([*apart, numbers["repeat"].astype(np.intp)], axis=1)
    order = np.lexsort((numbers["point"], *keys.T[::-1]))
    new = (np.diff(keys[order], axis=0) != 0).any(axis=1)
    starts = np.concatenate([[0], np.flatnonzero(new) + 1]).astype(np.intp)
    at_end = np.asarray([ends.get(str(m)) == "end" for m in names[3].names], dtype=np.bool_)
    first = order[starts]
    anywhere, average = _rises(numbers["x"][order], numbers["y"][order], starts, at_end[names[3].codes[first]])
    found: dict[CurvesKey, dict[str, list[tuple[bool, bool]]]] = {}
    for i, row in enumerate(first.tolist()):
        dataset, model, member, metric, explainer, sample = (str(c.names[c.codes[row]]) for c in names)
        if metric in ends:
            key = CurvesKey(Where(dataset, model, member), metric, explainer)
            found.setdefault(key, {}).setdefault(sample, []).append((bool(anywhere[i]), bool(average[i])))
    return {key: _shares(by_sample) for key, by_sample in sorted(found.items())}


def _rises(
    x: Floats, y: Floats, starts: Ints, at_end: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """For each curve, whether its largest value, and its mean over x (trapezoids), exceed that of the untouched end."""
    stops = np.append(starts[1:], len(y)) - 1
    untouched = np.where(at_end, y[stops], y[starts])
    areas = np.append(np.diff(x) * (y[1:] + y[:-1]) / 2, 0.0)
    areas[stops] = 0.0  # from the last point of a curve to the first of the next
    width = x[stops] - x[starts]
    means = np.divide(np.add.reduceat(areas, starts), width, out=untouched.copy(), where=width > 0)
    return np.maximum.reduceat(y, starts) > untouched + MARGIN, means > untouched + MARGIN


def _shares(by_sample: Mapping[str, Sequence[tuple[bool, bool]]]) -> AboveUntouched:
    means = np.asarray([np.mean(rows, axis=0) for _, rows in sorted(by_sample.items())], dtype=np.float64)
    return AboveUntouched(n=len(means), anywhere=exact_mean(means[:, 0]), average=exact_mean(means[:, 1]))


def above_notes(where: Where, family: str, found: Mapping[CurvesKey, AboveUntouched], info: ScoreInfo) -> Iterable[str]:
    """One line for each metric of a board by which some curve rises above the untouched picture."""
    by_metric: dict[str, dict[str, AboveUntouched]] = {}
    for key, share in found.items():
        if key.where == where and info.family(key.metric) == family and share.anywhere > 0:
            by_metric.setdefault(key.metric, {})[key.explainer] = share
    for metric, shares in by_metric.items():
        names = sorted(shares, key=lambda e: (info.role(e) != "explainer", -shares[e].anywhere, e))
        each = [f"{short(e)} {shares[e].anywhere:.0%}" for e in names]
        more = f" and {len(each) - _NAMED} more" if len(each) > _NAMED else ""
        yield (
            f"{short(metric)}: the fill is evidence itself where the curve rises above the untouched picture's score; "
            f"share of samples: {', '.join(each[:_NAMED])}{more}"
        )
