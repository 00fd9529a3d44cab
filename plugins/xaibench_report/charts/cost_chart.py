"""Quality against cost: the mean of a score over what a map of the explainer costs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from functools import partial
from typing import Final, Literal, NamedTuple, TypeAlias

from xaibench_report.boards.leaderboard import Board
from xaibench_report.charts.chart_theme import DIM, SERIES, SHAPES
from xaibench_report.charts.interval_chart import interval_rows
from xaibench_report.charts.run_chart import Drawing, Rows, RunChart, data, direction, listed, with_interval
from xaibench_report.values.number_format import number
from xaibench_report.values.run_values import RunTables, Where, score_name, short

KIND: Final = "cost"
Unit: TypeAlias = Literal["passes", "seconds"]
_AXES: Final[Mapping[str, str]] = {
    "passes": "detector passes a picture, forward and backward",
    "seconds": "seconds a picture, on the machine of the run",
}


class Cost(NamedTuple):
    """What one map costs on average."""

    passes: float
    seconds: float


Costs: TypeAlias = Mapping[tuple[Where, str], Cost]


def map_costs(tables: RunTables) -> Costs:
    """Passes and seconds a picture of every detector and explainer, over all maps that the run drew; repeats count as
    pictures."""
    sums: dict[tuple[Where, str], list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
    columns = ["kind", "dataset", "model", "member", "explainer", "seconds", "forward", "backward", "done"]
    for row in tables.commits.select(columns).to_pylist():
        if row["kind"] == "explain" and row["done"]:
            total = sums[Where(row["dataset"], row["model"], row["member"]), row["explainer"]]
            total[0] += row["forward"] + row["backward"]
            total[1] += row["seconds"]
            total[2] += row["done"]
    return {key: Cost(passes / done, seconds / done) for key, (passes, seconds, done) in sums.items()}


def cost_charts(board: Board, costs: Costs, unit: Unit = "passes") -> list[RunChart]:
    """One chart a score of the board that has means of two rows or more with a known cost."""
    by_name = {short(e): cost for (where, e), cost in costs.items() if where == board.where}
    charts = []
    for i, column in enumerate(board.columns):
        rows: Rows = [
            row | {"passes": cost.passes, "seconds": cost.seconds}
            for row in interval_rows(board, i)
            if (cost := by_name.get(row["explainer"].removesuffix(" (reference)"))) is not None
        ]
        if len(rows) < 2:
            continue
        title = score_name(column.metric, column.score)
        better = direction(column.better)
        said = (f"{r['explainer']} {number(r['mean'])} at {number(r[unit])}" for r in rows)
        charts.append(
            RunChart(
                kind=KIND,
                where=board.where,
                parts=(board.family, title, *(() if unit == "passes" else (unit,))),
                title=f"{title} against {unit}",
                note="; ".join(
                    filter(None, (better, "mean and 95 % interval", "the axis of cost is logarithmic above 1"))
                ),
                alt=f"Mean of {title}{f' ({better})' if better else ''} against {_AXES[unit]}: {listed(said)}.",
                height=220,
                draw=partial(_draw, rows, title, unit),
            )
        )
    return charts


def _draw(rows: Rows, title: str, unit: Unit) -> Drawing:
    import altair as alt

    roles = list(dict.fromkeys(row["role"] for row in rows))
    colours = [SERIES[0] if r == "explainer" else DIM for r in roles]
    axis = alt.Axis(values=[0, 1, 10, 100, 1000, 10_000, 100_000], format="~s")
    x = alt.X(f"{unit}:Q", title=_AXES[unit], scale=alt.Scale(type="symlog", constant=1 if unit == "passes" else 0.01),
              axis=axis if unit == "passes" else alt.Axis(tickCount=5))  # fmt: skip
    y = alt.Y("mean:Q", title=title, scale=alt.Scale(zero=False))
    tips = [
        alt.Tooltip("explainer:N"),
        alt.Tooltip("text:N", title="mean"),
        alt.Tooltip("passes:Q"),
        alt.Tooltip("seconds:Q"),
    ]
    base = alt.Chart(data(rows)).encode(x=x, tooltip=tips)
    named = alt.Chart(data([row for row in rows if row["role"] == "explainer"]))
    colour = alt.Color("role:N", title=None, scale=alt.Scale(domain=roles, range=colours))
    shape = alt.Shape("role:N", title=None, scale=alt.Scale(domain=roles, range=[SHAPES[r] for r in roles]))
    layers = [
        base.mark_point(filled=True, size=60, opacity=1).encode(y=y, color=colour, shape=shape),
        named.mark_text(align="left", dx=7, dy=-6, limit=120).encode(x=x, y=y, text="explainer:N"),
    ]
    if spans := with_interval(rows):
        low = alt.Y("low:Q", title=title, scale=alt.Scale(zero=False))
        layers.insert(0, alt.Chart(data(spans)).mark_rule().encode(x=x, y=low, y2="high:Q", color=colour, tooltip=tips))
    return alt.layer(*layers)
