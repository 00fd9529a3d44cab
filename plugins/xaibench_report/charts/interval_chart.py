"""Means with their intervals: explainers and controls of one score on one axis, the best control shaded."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from xaibench_report.boards import wording
from xaibench_report.boards.board_cells import Cell, Column
from xaibench_report.boards.leaderboard import Board
from xaibench_report.charts.chart_theme import DIM, INK, SERIES, SHADE, SHAPES
from xaibench_report.charts.run_chart import Drawing, Rows, RunChart, data, direction, listed, with_interval
from xaibench_report.values.number_format import interval, number
from xaibench_report.values.run_values import score_name

KIND: Final = "intervals"
_ROW: Final = 18  # pixels


def interval_charts(board: Board) -> list[RunChart]:
    """One chart a score of the board that has any mean."""
    charts = (_chart(board, i, column) for i, column in enumerate(board.columns))
    return [chart for chart in charts if chart is not None]


def _chart(board: Board, i: int, column: Column) -> RunChart | None:
    rows = interval_rows(board, i)
    if not rows:
        return None
    best = best_control(rows, column.better)
    title = score_name(column.metric, column.score)
    shade = f"shaded: the best control, {best['explainer']}" if best else "no control has a mean"
    return RunChart(
        kind=KIND,
        where=board.where,
        parts=(board.family, title),
        title=f"{title} {wording.ARROWS.get(column.better, '')}".strip(),
        note="; ".join(filter(None, (direction(column.better), "mean and 95 % interval", shade))),
        alt=_alt(title, rows, best, column.better),
        height=_ROW * len(rows),
        draw=partial(_draw, rows, best, title),
    )


def interval_rows(board: Board, i: int) -> Rows:
    """Explainer, role, mean, ends of the interval and samples of every row of a board that has a mean."""
    return [
        _row(wording.row_title(row), row.role, cell)
        for row in board.rows
        if (cell := row.cells[i]) is not None and cell.estimate
    ]


def _row(name: str, role: str, cell: Cell) -> dict[str, Any]:
    e = cell.estimate
    assert e is not None
    return {"explainer": name, "role": role, "mean": e.value, "low": e.low, "high": e.high, "samples": e.n,
            "text": f"{number(e.value)} {interval(e)}".strip(), "rank": wording.rank(cell.rank)}  # fmt: skip


def best_control(rows: Rows, better: str) -> dict[str, Any] | None:
    """The control of the best mean; None without controls or direction."""
    controls = [row for row in rows if row["role"] == "control"]
    if not controls or better not in ("higher", "lower"):
        return None
    return (max if better == "higher" else min)(controls, key=lambda row: row["mean"])


def _beyond(row: dict[str, Any], best: dict[str, Any], better: str) -> bool:
    """Whether the interval of a row lies wholly on the better side of the best control's."""
    ends = (row["low"], row["high"], best["low"], best["high"])
    if None in ends:
        return False
    return bool(row["low"] > best["high"] if better == "higher" else row["high"] < best["low"])


def _alt(title: str, rows: Rows, best: dict[str, Any] | None, better: str) -> str:
    explainers = [r for r in rows if r["role"] == "explainer"]
    others = [r for r in rows if r["role"] != "explainer"]
    said = [f"Means of {title} with 95 % intervals, {direction(better) or 'no direction is better'}."]
    if explainers:
        said.append(f"Explainers: {_means(explainers)}.")
    if others:
        said.append(f"Controls and references: {_means(others)}.")
    if best:
        n = sum(_beyond(row, best, better) for row in explainers)
        which = f"{n} of {len(explainers)} explainers"
        said.append(f"Wholly better than the interval of the best control, {best['explainer']}: those of {which}.")
    return " ".join(said)


def _means(rows: Rows) -> str:
    return listed(f"{row['explainer']} {row['text']}" for row in rows)


def _draw(rows: Rows, best: dict[str, Any] | None, title: str) -> Drawing:
    import altair as alt

    roles = list(dict.fromkeys(row["role"] for row in rows))
    y = alt.Y("explainer:N", title=None, sort=[row["explainer"] for row in rows])
    x = alt.X("mean:Q", title=title, scale=alt.Scale(zero=False))
    shape = alt.Shape("role:N", title=None, scale=alt.Scale(domain=roles, range=[SHAPES[r] for r in roles]))
    colour = alt.Color(
        "role:N", title=None,
        scale=alt.Scale(domain=roles, range=[SERIES[0] if r == "explainer" else DIM for r in roles]),
    )  # fmt: skip
    tips = [
        alt.Tooltip("explainer:N"),
        alt.Tooltip("text:N", title="mean"),
        alt.Tooltip("rank:N"),
        alt.Tooltip("samples:Q"),
    ]
    base = alt.Chart(data(rows)).encode(y=y, color=colour, tooltip=tips)
    layers: list[Any] = []
    if best is not None:
        shade = alt.Chart(data([best]))
        if best["low"] is not None:
            layers.append(shade.mark_rect(color=SHADE, opacity=0.8).encode(x=alt.X("low:Q", title=title), x2="high:Q"))
        layers.append(shade.mark_rule(color=INK, strokeDash=[3, 3]).encode(x=alt.X("mean:Q", title=title)))
    if spans := with_interval(rows):
        low = alt.X("low:Q", title=title, scale=alt.Scale(zero=False))
        span = alt.Chart(data(spans)).mark_rule(strokeWidth=2)
        layers.append(span.encode(x=low, x2="high:Q", y=y, color=colour, tooltip=tips))
    layers.append(base.mark_point(filled=True, size=60, opacity=1).encode(x=x, shape=shape))
    return alt.layer(*layers)
