"""Pairs of explainers in a terminal: a table a score, a row a pair."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, Final

from rich.console import Console

from xaibench.api import literal, say
from xaibench_report.boards.wording import ARROWS, place
from xaibench_report.comparisons.compare import ComparedScore, RunComparison
from xaibench_report.terminal.boards_terminal import print_marks
from xaibench_report.terminal.text_columns import plain_table
from xaibench_report.values.number_format import interval, number, p_value
from xaibench_report.values.run_values import score_name

_FOOT: Final = (
    "First minus second on common samples, with 95 % intervals clustered by group, which are not adjusted; p adjusted "
    "by Holm over all rows. better, worse: that p is below .05 and the interval excludes 0."
)


def print_pairs(comparison: RunComparison, console: Console) -> None:
    """Print the differences of every pair, score by score."""
    print_marks(comparison.first_marks, console, "")
    for title, rows in _by_score(comparison.rows):
        say(console, f"\n{title}", style="bold")
        console.print(_table(rows, console))
    say(console, _FOOT, style="dim")


def _by_score(rows: Sequence[ComparedScore]) -> Iterator[tuple[str, list[ComparedScore]]]:
    for (where, metric, score), group in groupby(rows, key=lambda r: (r.where, r.metric, r.score)):
        members = list(group)
        arrow = ARROWS.get(members[0].better, "")
        yield f"{f'{score_name(metric, score)} {arrow}'.rstrip()}, {place(where)}", members


def _table(rows: Sequence[ComparedScore], console: Console) -> Any:
    table = plain_table()
    table.add_column("first\n- second", overflow="fold")
    for name in ("first", "second", "difference", "p", "n"):
        table.add_column(name, justify="right", overflow="fold")
    for row in rows:
        table.add_row(*(literal(console, text) for text in _cells(row)))
    return table


def _cells(row: ComparedScore) -> tuple[str, ...]:
    """The texts of a row."""
    d = row.difference
    word = {True: " better", False: " worse", None: ""}[row.improved]
    change = f"{number(d.value)} {interval(d) or d.note}{word}"
    size = f"{d.n} (-{d.dropped})" if d.dropped else str(d.n)
    return (
        _pair(row.explainer), number(row.first), number(row.second), change, p_value(d.p_holm), size
    )  # fmt: skip


def _pair(text: str) -> str:
    """The pair on two lines."""
    return text.replace(" - ", "\n- ")
