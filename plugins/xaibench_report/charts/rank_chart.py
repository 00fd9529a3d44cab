"""Ranks with their intervals; explainers that are not told apart share a rank and are joined."""

from __future__ import annotations

from functools import partial
from itertools import groupby
from typing import Final

from xaibench_report.boards import wording
from xaibench_report.boards.leaderboard import Board
from xaibench_report.charts.chart_theme import DIM, INK, SERIES
from xaibench_report.charts.run_chart import Drawing, Rows, RunChart, data, listed
from xaibench_report.values.run_values import score_name

KIND: Final = "ranks"
_ROW: Final = 18  # pixels


def rank_charts(board: Board) -> list[RunChart]:
    """One chart for every score of the board that ranks two explainers or more."""
    charts = []
    for i, column in enumerate(board.columns):
        rows = _rows(board, i)
        if len(rows) < 2:
            continue
        title = score_name(column.metric, column.score)
        joined = [[row["explainer"] for row in part] for _, part in groupby(rows, key=lambda row: row["rank"])]
        charts.append(
            RunChart(
                kind=KIND,
                where=board.where,
                parts=(board.family, title),
                title=f"Ranks by {title}",
                note="rank and its 95 % set; joined: explainers that share a rank, not told apart from one better",
                alt=f"Ranks by {title}: {listed(_text(row) for row in rows)}. {_joined_text(joined)}",
                height=_ROW * len(rows),
                draw=partial(_draw, rows, [names for names in joined if len(names) > 1]),
            )
        )
    return charts


def _rows(board: Board, i: int) -> Rows:
    ranks = [(wording.row_title(row), cell.rank) for row in board.rows if (cell := row.cells[i]) is not None]
    rows = [
        {"explainer": name, "rank": r.rank, "low": r.low, "high": r.high, "text": wording.rank(r) or f"#{r.rank}"}
        for name, r in ranks
        if r is not None
    ]
    return sorted(rows, key=lambda row: row["rank"])


def _text(row: dict[str, object]) -> str:
    return f"{row['explainer']} rank {row['rank']} ({row['text']})"


def _joined_text(joined: list[list[str]]) -> str:
    shared = [f"{', '.join(names)} share one rank" for names in joined if len(names) > 1]
    return f"{'; '.join(shared)}." if shared else "No two explainers share a rank."


def _draw(rows: Rows, joined: list[list[str]]) -> Drawing:
    import altair as alt

    y = alt.Y("explainer:N", title=None, sort=[row["explainer"] for row in rows])
    axis = alt.Axis(values=list(range(1, len(rows) + 1)), format="d")
    x = alt.X("rank:Q", title="rank, 1 is best", axis=axis, scale=alt.Scale(domain=[0.5, len(rows) + 0.5], nice=False))
    base = alt.Chart(data(rows)).encode(y=y, tooltip=["explainer:N", alt.Tooltip("text:N", title="rank")])
    ranks = {row["explainer"]: row["rank"] for row in rows}
    links: Rows = [{"explainer": names[0], "last": names[-1], "rank": ranks[names[0]]} for names in joined]
    layers = [
        base.mark_rule(strokeWidth=2, color=DIM).encode(x=alt.X("low:Q", title="rank, 1 is best"), x2="high:Q"),
        base.mark_point(filled=True, size=60, opacity=1, color=SERIES[0]).encode(x=x),
    ]
    if links:
        link = alt.Chart(data(links)).mark_rule(strokeWidth=4, color=INK, opacity=0.6)
        layers.insert(0, link.encode(y=y, y2="last:N", x=x))
    return alt.layer(*layers)
