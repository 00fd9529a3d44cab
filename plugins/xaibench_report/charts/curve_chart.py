"""Mean curves with bands: deletion, insertion, attack budgets, and whatever else a metric draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from math import isfinite
from typing import Final

import numpy as np

from xaibench_report.charts.chart_theme import INK, line_colours
from xaibench_report.charts.mean_curves import CurveKey, MeanCurve, untouched_score
from xaibench_report.charts.run_chart import Drawing, Rows, RunChart, data, listed, with_interval
from xaibench_report.values.number_format import number, plural
from xaibench_report.values.run_values import ScoreInfo, short

KIND: Final = "curves"
_POINTS: Final = 41  # of a line; a curve of more is thinned


def curve_charts(curves: Mapping[CurveKey, Mapping[str, MeanCurve]], info: ScoreInfo) -> list[RunChart]:
    """One chart a kind of curve, detector and data set."""
    return [_chart(key, lines, info) for key, lines in sorted(curves.items()) if lines]


def _chart(key: CurveKey, lines: Mapping[str, MeanCurve], info: ScoreInfo) -> RunChart:
    order = sorted(lines, key=lambda e: (info.role(e) != "explainer", e))
    names = {e: short(e) or "(detector)" for e in order}
    roles = [info.role(e) for e in order]
    untouched = untouched_score(key.metric, lines, info)
    same = "" if key.curve == short(key.metric) else f" {key.curve}"
    n = next(iter(lines.values())).n
    title = f"{short(key.metric)}{same}{f' {key.item}' if key.item else ''}"
    ends = (f"{names[e]} from {number(float(lines[e].y[0]))} to {number(float(lines[e].y[-1]))}" for e in order)
    dotted = "" if untouched is None else f" The untouched pictures have {number(untouched)}, a dotted line."
    return RunChart(
        kind=KIND,
        where=key.where,
        parts=(title,),
        title=title,
        note=f"mean of {plural(n, 'sample')}; bands: 95 % intervals at each point" if n else "of the whole set",
        alt=f"Mean curves of {title}: {listed(ends)}.{dotted}",
        height=240,
        draw=partial(_draw, [r for e in order for r in _rows(names[e], lines[e])], [*names.values()], roles, untouched),
    )


def _rows(name: str, line: MeanCurve) -> Rows:
    at = np.unique(np.linspace(0, len(line.x) - 1, min(_POINTS, len(line.x))).round().astype(int))
    return [
        {"explainer": name, "x": float(line.x[i]), "mean": float(line.y[i]), "low": _known(line.low[i]),
         "high": _known(line.high[i])}
        for i in at.tolist()
    ]  # fmt: skip


def _known(value: float) -> float | None:
    return float(value) if isfinite(value) else None


def _draw(rows: Rows, names: list[str], roles: Sequence[str], untouched: float | None) -> Drawing:
    import altair as alt

    colours, dashes = line_colours(roles)
    coloured = [name for name, role in zip(names, roles, strict=True) if role == "explainer"]
    key = alt.Legend(symbolType="stroke", symbolStrokeWidth=2, symbolSize=320)
    chosen = alt.selection_point(name="chosen", fields=["explainer"], bind="legend")
    near = alt.selection_point(name="near", nearest=True, on="pointerover", empty=False)
    colour = alt.Color("explainer:N", title=None, scale=alt.Scale(domain=names, range=colours), legend=key)
    dash = alt.StrokeDash(
        "explainer:N", title=None, scale=alt.Scale(domain=names, range=[list(d) for d in dashes]), legend=key
    )
    x = alt.X("x:Q", title=None, scale=alt.Scale(nice=False))
    y = alt.Y("mean:Q", title=None, scale=alt.Scale(zero=False))
    tips = [alt.Tooltip("explainer:N"), *(alt.Tooltip(f"{k}:Q", format=".4") for k in ("x", "mean", "low", "high"))]
    base = alt.Chart(data(rows)).encode(x=x, color=colour)
    width = alt.condition(alt.FieldOneOfPredicate("explainer", coloured), alt.value(2), alt.value(1.1))
    bands = with_interval([row for row in rows if row["explainer"] in coloured])
    band = alt.Chart(data(bands)).mark_area(opacity=0.14).transform_filter(chosen).encode(
        x=x, color=colour, y=alt.Y("low:Q", title=None), y2="high:Q"
    )  # fmt: skip
    line = base.mark_line().encode(
        y=y, strokeDash=dash, strokeWidth=width, opacity=alt.condition(chosen, alt.value(1), alt.value(0.15))
    )
    point = base.mark_point(filled=True, size=50).encode(
        y=y, tooltip=tips, opacity=alt.condition(near, alt.value(1), alt.value(0))
    ).add_params(near)  # fmt: skip
    layers = [*([band] if bands else []), line.add_params(chosen), point]
    if untouched is not None:
        rule = alt.Chart(data([{"untouched": untouched, "text": "untouched picture"}]))
        layers.append(rule.mark_rule(color=INK, strokeDash=[1, 3]).encode(y=alt.Y("untouched:Q", title=None)))
        text = rule.mark_text(align="right", baseline="bottom", dy=-2, x="width")
        layers.append(text.encode(y=alt.Y("untouched:Q", title=None), text="text:N"))
    return alt.layer(*layers)
