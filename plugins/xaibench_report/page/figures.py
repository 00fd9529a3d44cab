"""The figures of the report as PNG bytes: mean curves, and maps over pictures."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from xaibench_report.values.run_values import Pixels, ScoreInfo, Table, Where, encode, short
from xaibench_statistics import Floats, Ints, Strings

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from xaibench_report.comparisons.balance import Balances

_GRID = 101
_MOST_PANELS = 12


class CurveKey(NamedTuple):
    """One kind of curve on one detector and dataset."""

    where: Where
    metric: str
    curve: str
    item: str


@dataclass(frozen=True, slots=True, eq=False)
class MeanCurve:
    """The mean over ``n`` samples, 0 for a curve of a whole set; ``x`` and ``y`` are of equal length."""

    x: Floats
    y: Floats
    n: int


def mean_curves(curves: Table) -> dict[CurveKey, dict[str, MeanCurve]]:
    """Mean curves by explainer, over the samples that all explainers of a key have, repeats averaged first.

    Curves on different abscissae are interpolated linearly onto 101 even points of the range that all of them cover.
    """
    names = ("dataset", "model", "member", "metric", "curve", "item", "explainer")
    columns = [encode(curves, n) for n in names]
    sample = encode(curves, "sample")
    numbers = {n: np.asarray(curves[n].to_numpy()) for n in ("repeat", "point", "x", "y")}
    keys = np.stack([c.codes for c in columns], axis=1)
    order = np.lexsort((numbers["point"], numbers["repeat"], sample.codes, *keys.T[::-1]))
    cuts = np.flatnonzero((np.diff(keys[order], axis=0) != 0).any(axis=1)) + 1
    found: dict[CurveKey, dict[str, _Series]] = {}
    for rows in np.split(order, cuts) if len(order) else []:
        text = [str(c.names[c.codes[rows[0]]]) for c in columns]
        key = CurveKey(Where(*text[:3]), *text[3:6])
        found.setdefault(key, {})[text[6]] = _series(numbers, sample.take(rows), rows)
    return {key: _common_means(series) for key, series in found.items()}


class _Series(NamedTuple):
    samples: Strings
    x: Floats
    y: Floats  # (samples, len(x))


def _series(numbers: Mapping[str, npt.NDArray[Any]], sample: Strings, rows: Ints) -> _Series:
    """Bring the curves of one explainer to one abscissa and average the repeats of each sample."""
    x, y, repeat = (numbers[n][rows] for n in ("x", "y", "repeat"))
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
    names, owner = np.unique(sample[starts], return_inverse=True)
    means = np.stack([values[owner == i].mean(axis=0) for i in range(len(names))])
    return _Series(names, grid, means)


def _common_means(series: Mapping[str, _Series]) -> dict[str, MeanCurve]:
    common = set.intersection(*(set(s.samples.tolist()) for s in series.values()))
    wanted = np.asarray(sorted(common), dtype=np.str_)
    return {
        e: MeanCurve(s.x, s.y[np.isin(s.samples, wanted)].mean(axis=0), int((wanted != "").sum()))
        for e, s in sorted(series.items())
        if len(wanted)
    }


def curve_figure(curves: Mapping[CurveKey, Mapping[str, MeanCurve]], info: ScoreInfo) -> bytes | None:
    """One panel a kind of curve, explainers in colour, controls in dashed grey. None where there is nothing to draw.

    At most twelve panels are drawn, in the order of their names.
    """
    from matplotlib.figure import Figure

    shown = [(key, lines) for key, lines in sorted(curves.items()) if lines][:_MOST_PANELS]
    if not shown:
        return None
    columns = min(2, len(shown))
    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(5.2 * columns, 3.6 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).reshape(-1)
    for axis, (key, lines) in zip(axes, shown, strict=False):
        _draw_panel(axis, key, lines, info)
    for axis in axes[len(shown) :]:
        axis.set_visible(False)
    return _png(figure)


def _draw_panel(axis: Axes, key: CurveKey, lines: Mapping[str, MeanCurve], info: ScoreInfo) -> None:
    greys = iter(("0.15", "0.35", "0.5", "0.6", "0.7", "0.75") * len(lines))
    styles = iter((":", "--", "-.") * len(lines))
    for explainer, line in sorted(lines.items(), key=lambda item: (info.role(item[0]) != "explainer", item[0])):
        name = short(explainer) or "(detector)"
        if info.role(explainer) == "explainer":
            axis.plot(line.x, line.y, label=name, linewidth=1.8)
        else:
            axis.plot(line.x, line.y, label=name, color=next(greys), linestyle=next(styles), linewidth=1.1)
    untouched = untouched_score(key.metric, lines, info)
    if untouched is not None:
        axis.axhline(untouched, color="0.2", linewidth=0.8, linestyle=(0, (1, 3)), label="untouched picture")
    item = f" {key.item}" if key.item else ""
    same = "" if key.curve == short(key.metric) else f" {key.curve}"
    n = next(iter(lines.values())).n
    size = f" (mean of {n} sample{'' if n == 1 else 's'})" if n else ""
    axis.set_title(f"{short(key.metric)}{same}{item}{size}", fontsize=10)
    axis.grid(alpha=0.25)
    axis.legend(fontsize=7, frameon=False)


def untouched_score(metric: str, lines: Mapping[str, MeanCurve], info: ScoreInfo) -> float | None:
    """The untouched pictures' mean score, at the end of the curves that the metric declares; None where it declares
    none. All lines rest on the same samples."""
    end = next((s.untouched for (m, _), s in info.specs.items() if m == metric and s.untouched is not None), None)
    first = next(iter(lines.values()), None)
    if end is None or first is None:
        return None
    return float(first.y[0] if end == "start" else first.y[-1])


def pareto_figure(found: Balances) -> bytes | None:
    """Change of AUC against change of interpretability, one point a detector, the baseline at the origin.

    Filled points are on the front: nobody has both more. None where fewer than two detectors have both.
    """
    from matplotlib.figure import Figure

    points = [(r, r.auc_change, r.gained) for r in found.rows if r.auc_change is not None and r.gained is not None]
    if len(points) < 2:
        return None
    figure = Figure(figsize=(5.2, 4.0), layout="constrained")
    axis = figure.subplots()
    axis.axhline(0, color="0.8", linewidth=0.8)
    axis.axvline(0, color="0.8", linewidth=0.8)
    for row, x, y in points:
        axis.plot(x, y, "o", color="#0b5cad", fillstyle="full" if row.front else "none")
        axis.annotate(short(row.model), (x, y), xytext=(5, 4), textcoords="offset points", fontsize=8)
    front = sorted((x, y) for row, x, y in points if row.front)
    axis.plot([x for x, _ in front], [y for _, y in front], color="#0b5cad", linewidth=0.8, linestyle=":")
    axis.margins(0.15)
    axis.set_xlabel(f"AUC minus that of {short(found.baseline)}")
    axis.set_ylabel("interpretability I minus that of it")
    return _png(figure)


def _png(figure: Figure) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=110, metadata={"Software": None})
    return out.getvalue()


def overlay(image: Pixels, saliency: npt.NDArray[np.floating[Any]], *, side: int | None = None) -> bytes:
    """A saliency map over its picture, as PNG.

    ``image``: ``(H, W, 3)`` uint8 RGB, scaled to the map's size where they differ; ``saliency``: ``(h, w)`` finite.
    Maps without negative values run from transparent (their 1st percentile) to bright (their 99th); signed maps are
    red where they speak for the target and blue where they speak against it, opacity following the absolute value up to
    its 99th percentile, so that a few extreme pixels do not hide the rest. ``side`` limits the longer side in pixels.
    """
    import matplotlib as mpl
    from PIL import Image

    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or saliency.ndim != 2:
        raise ValueError("overlay needs an (H, W, 3) uint8 picture and an (h, w) map")
    height, width = saliency.shape
    under = np.asarray(Image.fromarray(image).resize((width, height)), dtype=np.float64) / 255
    values = saliency.astype(np.float64)
    signed = bool((values < 0).any())
    low = 0.0 if signed else float(np.percentile(values, 1))
    top = float(np.percentile(np.abs(values - low), 99)) or float(np.abs(values - low).max(initial=0.0))
    values = np.clip((values - low) / top, -1 if signed else 0, 1) if top > 0 else np.zeros_like(values)
    colours = mpl.colormaps["seismic" if signed else "inferno"]((values + 1) / 2 if signed else values)[..., :3]
    grey = under.mean(axis=2, keepdims=True)
    alpha = 0.75 * np.abs(values)[..., None]
    return png_bytes(np.rint(((1 - alpha) * (0.5 * under + 0.5 * grey) + alpha * colours) * 255).astype(np.uint8), side)


def png_bytes(image: Pixels, side: int | None = None) -> bytes:
    """A uint8 RGB picture as PNG, its longer side at most ``side`` pixels."""
    from PIL import Image

    picture = Image.fromarray(image)
    if side is not None:
        picture.thumbnail((side, side))
    out = io.BytesIO()
    picture.save(out, format="png", optimize=True)
    return out.getvalue()


def data_uri(png: bytes) -> str:
    """PNG bytes as a ``data:`` URI, which a page holds inline."""
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"
