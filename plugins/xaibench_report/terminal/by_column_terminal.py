"""Boards by the values of a column as tables for a terminal, and as plain data for ``--json``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from xaibench.api import literal, longest_piece, say
from xaibench_report.boards.by_column import EXPLANATION, ByColumn, ColumnBoard, ColumnScore, cell_name, gap_lines
from xaibench_report.boards.wording import ARROWS, place
from xaibench_report.terminal.text_columns import broken
from xaibench_report.values.number_format import interval, number
from xaibench_report.values.plain_data import plain_data
from xaibench_report.values.run_values import score_name
from xaibench_statistics import Estimate, Gap

_NAME_WIDTH: Final = 10
_CELL_WIDTH: Final = 14


def to_json(found: Sequence[ByColumn]) -> dict[str, Any]:
    """Everything that is printed, and the numbers behind it, as JSON-able data."""
    return {"by_column": [plain_data(one) for one in found]}


def print_by_column(found: ByColumn, console: Console) -> None:
    """Print every board by the values of the column, a table a score."""
    several = len({board.where for board in found.boards}) > 1
    for board in found.boards:
        where = f", {place(board.where)}" if several else ""
        say(console, f"\n{board.family} by {found.column}{where}", style="bold")
        for score in board.scores:
            _print_score(board, score, console)
        for note in board.notes:
            say(console, f"  note: {note}", style="dim")
    say(console, EXPLANATION, style="dim")


def _print_score(board: ColumnBoard, score: ColumnScore, console: Console) -> None:
    """The gap first; where the values do not fit beside it, they go on in further tables."""
    width = _name_width(score)
    fit = max(1, (console.width - width - 2) // (_CELL_WIDTH + 2))
    cuts = [0, *range(fit - 1, len(board.values), fit)] if fit > 1 else range(len(board.values))
    for start, stop in zip(cuts, [*cuts[1:], len(board.values)], strict=True):
        console.print(_table(board, score, range(start, stop), width, console))


def _name_width(score: ColumnScore) -> int:
    """The width in which no name is cut inside a word."""
    return max(_NAME_WIDTH, *(longest_piece(text) for text in (_title(score), *map(cell_name, score.cells))))


def _title(score: ColumnScore) -> str:
    return f"{score_name(score.metric, score.score, chr(10))} {ARROWS.get(score.better, '')}".rstrip()


def _table(board: ColumnBoard, score: ColumnScore, values: range, width: int, console: Console) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column(broken(console, _title(score), width), overflow="fold", max_width=width)
    if values.start == 0:
        table.add_column("gap", overflow="fold", max_width=_CELL_WIDTH)
    sizes = [_shared_size(score, i) for i in values]
    for i, size in zip(values, sizes, strict=True):
        header = literal(console, board.values[i])
        if size:
            header.append(f"\nn={size}", style="dim")
        table.add_column(header, overflow="fold", max_width=_CELL_WIDTH)
    for cell in score.cells:
        means = [_mean(cell.means[i], console, with_size=size is None) for i, size in zip(values, sizes, strict=True)]
        gap = [_gap(cell.gap, console)] if values.start == 0 else []
        style = "" if cell.role == "explainer" else "dim"
        table.add_row(broken(console, cell_name(cell), width), *gap, *means, style=style)
    return table


def _shared_size(score: ColumnScore, value: int) -> int | None:
    """The number of samples of a value that every explainer has; None where they differ."""
    sizes = {mean.n if (mean := cell.means[value]) else 0 for cell in score.cells}
    return sizes.pop() if len(sizes) == 1 else None


def _mean(mean: Estimate | None, console: Console, with_size: bool) -> Text:
    if mean is None:
        return Text("")
    return _lines(number(mean.value), [interval(mean), f"n={mean.n}" if with_size else ""], console)


def _gap(gap: Gap, console: Console) -> Text:
    if gap.value is None:
        return literal(console, number(None), style="dim")
    return _lines(number(gap.value), gap_lines(gap), console)


def _lines(first: str, below: Sequence[str], console: Console) -> Text:
    text = literal(console, first)
    for line in below:
        if line:
            text.append("\n")
            text.append_text(literal(console, line, style="dim"))
    return text
