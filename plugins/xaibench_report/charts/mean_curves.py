"""Mean curves of metrics, with pointwise intervals clustered by group."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from xaibench_report.values.run_values import ScoreInfo, Table, Where, encode
from xaibench_statistics import Floats, Ints, Strings, Values, mean_interval

_GRID = 101


class CurveKey(NamedTuple):
    """One kind of curve on one detector and dataset."""

    where: Where
    metric: str
    curve: str
    item: str


@dataclass(frozen=True, slots=True, eq=False)
class MeanCurve:
    """The mean over ``n`` samples, 0 for a curve of a whole set; ``x`` and ``y`` are of equal length.

    ``low`` and ``high``: the 95 % interval of the mean at each point by itself, NaN where there is none.
    """

    x: Floats
    y: Floats
    n: int
    low: Floats
    high: Floats


def mean_curves(curves: Table) -> dict[CurveKey, dict[str, MeanCurve]]:
    """Mean curves by explainer, over the samples that all explainers of a key have, repeats averaged first.

    Curves on different abscissae are interpolated linearly onto 101 even points of the range that all of them cover.
    """
    names = ("dataset", "model", "member", "metric", "curve", "item", "explainer")
    columns = [encode(curves, n) for n in names]
    sample, group, cross = (encode(curves, n) for n in ("sample", "group", "cross_group"))
    numbers = {n: np.asarray(curves[n].to_numpy()) for n in ("repeat", "point", "x", "y")}
    keys = np.stack([c.codes for c in columns], axis=1)
    order = np.lexsort((numbers["point"], numbers["repeat"], sample.codes, *keys.T[::-1]))
    cuts = np.flatnonzero((np.diff(keys[order], axis=0) != 0).any(axis=1)) + 1
    found: dict[CurveKey, dict[str, _Series]] = {}
    for rows in np.split(order, cuts) if len(order) else []:
        text = [str(c.names[c.codes[rows[0]]]) for c in columns]
        key = CurveKey(Where(*text[:3]), *text[3:6])
        clusters = (sample.take(rows), group.take(rows), cross.take(rows))
        found.setdefault(key, {})[text[6]] = _series(numbers, clusters, rows)
    return {key: _common_means(series) for key, series in found.items()}


def untouched_score(metric: str, lines: Mapping[str, MeanCurve], info: ScoreInfo) -> float | None:
    """The untouched pictures' mean score, at the end of the curves that the metric declares; None where it declares
    none. All lines rest on the same samples."""
    end = next((s.untouched for (m, _), s in info.specs.items() if m == metric and s.untouched is not None), None)
    first = next(iter(lines.values()), None)
    if end is None or first is None:
        return None
    return float(first.y[0] if end == "start" else first.y[-1])


class _Series(NamedTuple):
    samples: Strings
    groups: Strings
    cross: Strings
    x: Floats
    y: Floats  # (samples, len(x))


def _series(numbers: Mapping[str, npt.NDArray[Any]], clusters: tuple[Strings, Strings, Strings], rows: Ints) -> _Series:
    """Bring the curves of one explainer to one abscissa and average the repeats of each sample."""
    x, y, repeat = (numbers[n][rows] for n in ("x", "y", "repeat"))
    sample, group, cross = clusters
    new = np.concatenate([[True], (sample[1:] != sample[:-1]) | (repeat[1:] != repeat[:-1])])
    starts = np.flatnonzero(new)
    sizes = np.diff(np.append(starts, len(rows)))
    if (sizes == sizes[0]).all() and (x.reshape(-1, sizes[0]) == x[: sizes[0]]).all():
        grid, values = x[: sizes[0]], y.reshape(-1, sizes[0])
    else:
        ends = starts + sizes - 1
        grid = np.linspace(x[starts].max(), x[ends].min(), _GRID)
        parts = [slice(a, a + n) for a, n in zip(starts, sizes, strict=True)]
        values = np.stack([np.interp(grid, x[p], y[p]) for p in parts])
    names, first, owner = np.unique(sample[starts], return_index=True, return_inverse=True)
    means = (
        values if len(names) == len(values) else np.stack([values[owner == i].mean(axis=0) for i in range(len(names))])
    )
    return _Series(names, group[starts][first], cross[starts][first], grid, means)


def _common_means(series: Mapping[str, _Series]) -> dict[str, MeanCurve]:
    common = set.intersection(*(set(s.samples.tolist()) for s in series.values()))
    wanted = np.asarray(sorted(common), dtype=np.str_)
    return {e: _mean(s, np.isin(s.samples, wanted)) for e, s in sorted(series.items()) if len(wanted)}


def _mean(series: _Series, keep: npt.NDArray[np.bool_]) -> MeanCurve:
    y = series.y[keep]
    n = int((series.samples[keep] != "").sum())
    low, high = _bounds(series, keep) if n else np.full((2, len(series.x)), np.nan)
    return MeanCurve(series.x, y.mean(axis=0), n, low, high)


def _bounds(series: _Series, keep: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    samples, groups, cross = series.samples[keep], series.groups[keep], series.cross[keep]
    of_points = [mean_interval(Values.of(samples, y, groups, cross)) for y in series.y[keep].T]
    return np.asarray([[e.low for e in of_points], [e.high for e in of_points]], dtype=np.float64)
