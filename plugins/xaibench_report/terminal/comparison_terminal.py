"""The comparison of two runs in a terminal: its answer, then every row; and as plain data for ``--json``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from xaibench.api import break_lines, literal, say
from xaibench_report.answer.comparison_answer import ComparisonAnswer, comparison_answer
from xaibench_report.boards.wording import ARROWS, place
from xaibench_report.comparisons.compare import ComparedScore, RunComparison
from xaibench_report.terminal.answer_terminal import say_text
from xaibench_report.terminal.boards_terminal import print_marks
from xaibench_report.terminal.text_columns import broken, name_width, plain_table
from xaibench_report.values.number_format import interval, number, p_value, plural
from xaibench_report.values.plain_data import plain_data
from xaibench_report.values.run_values import score_name, short
from xaibench_statistics import Difference

JSON_VERSION: Final = 1
_NAME_WIDTH: Final = 22


def comparison_to_json(comparison: RunComparison) -> dict[str, Any]:
    """The answer and every row as JSON-able data."""
    answer = plain_data(comparison_answer(comparison))
    del answer["aliases"]
    return {"version": JSON_VERSION, "answer": answer, **plain_data(comparison)}


def print_comparison(comparison: RunComparison, console: Console, *, detail: bool) -> None:
    """Print the answer of a comparison, and with ``detail`` all of it."""
    answer = comparison_answer(comparison)
    _print_answer(answer, console, detail=detail)
    if detail:
        say(console, "")
        print_all_rows(comparison, console)


def _print_answer(answer: ComparisonAnswer, console: Console, *, detail: bool) -> None:
    more = () if detail else ("All rows: --detail.",)
    say_text(" ".join((*answer.sentences, *more)), console, style="bold")
    if not answer.changed:
        return
    names = [answer.aliases(row.explainer) or "(detector)" for row in answer.changed]
    places = [place(row.where) for row in answer.changed]
    several = len(set(places)) > 1
    width = name_width(["explainer", *names])
    table = plain_table()
    table.add_column("explainer", no_wrap=True, min_width=width)
    for title in ("measure", "first", "second", "difference", "p"):
        table.add_column(title, overflow="fold")
    where = None
    for row, name, here in zip(answer.changed, names, places, strict=True):
        if several and here != where:
            table.add_row(broken(console, here, console.width // 2, "bold"))
            where = here
        table.add_row(broken(console, name, width), *_cells(row, answer, console))
    console.print(table)


def _cells(row: ComparedScore, answer: ComparisonAnswer, console: Console) -> list[Any]:
    d = row.difference
    title = f"{answer.aliases.score(row.metric, row.score)} {ARROWS.get(row.better, '')}".rstrip()
    word = {True: "better", False: "worse", None: "other"}[row.improved]
    change = f"{number(d.value)} {interval(d)} {word}"
    texts = (break_lines(title, _NAME_WIDTH), number(row.first), number(row.second), change, p_value(d.p_holm))
    return [literal(console, text) for text in texts]


def print_all_rows(comparison: RunComparison, console: Console) -> None:
    """Print the marks of both runs and the differences (second run minus first), row by row."""
    print_marks(comparison.first_marks, console, "first run: ")
    print_marks(comparison.second_marks, console, "second run: ")
    for note in comparison.notes:
        say(console, note, style="dim")
    where = None
    for group in _by_score(comparison.rows):
        if group[0].where != where:
            where = group[0].where
            say(console, f"\n{place(where)}", style="bold")
        console.print(_comparison_table(group, console))
    say(
        console,
        "Second run minus first on common samples, with 95 % intervals clustered by group; p adjusted by Holm over "
        "all rows. * the interval, which is not adjusted, excludes 0.",
        style="dim",
    )
    for name, missing in (("first", comparison.only_first), ("second", comparison.only_second)):
        if missing:
            say(console, f"only in the {name} run: {plural(len(missing), 'cell')} (see --json)", style="dim")


def _by_score(rows: Sequence[ComparedScore]) -> list[list[ComparedScore]]:
    groups: dict[tuple[object, ...], list[ComparedScore]] = {}
    for row in rows:
        groups.setdefault((row.where, row.metric, row.score), []).append(row)
    return list(groups.values())


def _comparison_table(rows: Sequence[ComparedScore], console: Console) -> Table:
    first = rows[0]
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    title = f"{score_name(first.metric, first.score)} {ARROWS.get(first.better, '')}".rstrip()
    table.add_column(broken(console, title, _NAME_WIDTH), overflow="fold", max_width=_NAME_WIDTH)
    for name in ("first", "second", "difference", "p", "n"):
        table.add_column(name, justify="right", overflow="fold")
    for row in rows:
        d = row.difference
        change = f"{number(d.value)}{_star(d)}\n{interval(d) or d.note}"
        size = f"{d.n}\n-{d.dropped}" if d.dropped else str(d.n)
        cells = (
            break_lines(short(row.explainer) or "(detector)", _NAME_WIDTH),
            number(row.first),
            number(row.second),
            change,
            p_value(d.p_holm),
            size,
        )
        table.add_row(*(literal(console, c) for c in cells))
    return table


def _star(difference: Difference) -> str:
    """A star where the interval excludes 0."""
    low, high = difference.low, difference.high
    return "*" if low is not None and high is not None and (low > 0 or high < 0) else ""
