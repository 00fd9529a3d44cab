"""Tables in HTML, for notebooks and pages: headers span what they stand over."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import Final

from xaibench.api import printable
from xaibench_report.tables.table_grid import Grid, GridCell
from xaibench_report.tables.text_format import digits_of, spans_of
from xaibench_report.values.number_format import interval, number

_TABLE: Final = "border-collapse:collapse"
_NUMBER: Final = "text-align:right;padding:0.2em 0.7em"
_NAME: Final = "text-align:left;padding:0.2em 0.7em"
_CENTRE: Final = "text-align:center;padding:0.2em 0.7em;border-bottom:1px solid"


def to_html(grids: Sequence[Grid]) -> str:
    """All tables as fragments of HTML, each a ``table`` with caption and notes; nothing is loaded from anywhere."""
    return "\n".join("\n".join(_lines(grid)) for grid in grids) + "\n"


def _lines(grid: Grid) -> Iterator[str]:
    yield f'<table class="xaibench" style="{_TABLE}">'
    yield f"<caption>{_text(grid.title)}</caption>"
    yield "<thead>"
    yield from _head(grid)
    yield "</thead>"
    yield "<tbody>"
    yield from _body(grid)
    yield "</tbody>"
    yield "</table>"
    yield f"<p>{_text(grid.caption)}</p>"
    for note in grid.notes:
        yield f"<p><small>{_mark(note.mark)}{' ' if note.mark else ''}{_text(note.text)}</small></p>"


def _head(grid: Grid) -> Iterator[str]:
    levels = len(grid.column_keys)
    for level in range(levels):
        cells = []
        if level == 0:
            cells = [f'<th rowspan="{levels}" style="{_NAME}">{_text(k)}</th>' for k in grid.row_keys]
        for label, mark, columns in spans_of(grid.columns, level):
            style = _NUMBER if level == levels - 1 else _CENTRE
            span = f' colspan="{len(columns)}"' if len(columns) > 1 else ""
            size = grid.columns[columns[0]].size if level == levels - 1 else None
            below = f"<br><small>n={size}</small>" if size is not None else ""
            cells.append(f'<th{span} style="{style}">{_text(label)}{_mark(mark)}{below}</th>')
        yield f"<tr>{''.join(cells)}</tr>"


def _body(grid: Grid) -> Iterator[str]:
    spans = [list(spans_of(grid.rows, level)) for level in range(len(grid.row_keys))]
    for at, cells in enumerate(grid.cells):
        heads = [
            f'<th rowspan="{len(rows)}" style="{_NAME}">{_text(label)}{_mark(mark)}</th>'
            for level in spans
            for label, mark, rows in level
            if rows[0] == at
        ]
        yield f"<tr>{''.join(heads)}{''.join(_cell(c, grid) for c in cells)}</tr>"


def _cell(cell: GridCell, grid: Grid) -> str:
    digits, estimate = digits_of(grid), cell.estimate
    value = number(estimate.value if estimate else None, digits)
    lines = [f"{f'<b>{value}</b>' if cell.best else value}{_mark(cell.mark)}"]
    if estimate is not None and grid.intervals and estimate.low is not None:
        lines.append(f"<small>{interval(estimate, digits)}</small>")
    if cell.size is not None:
        lines.append(f"<small>n={cell.size}</small>")
    lines += [f"<small>{_text(line)}</small>" for line in cell.verdict.lines]
    return f'<td style="{_NUMBER}">{"<br>".join(lines)}</td>'


def _mark(mark: str) -> str:
    return f"<sup>{mark}</sup>" if mark else ""


def _text(text: str) -> str:
    return escape(printable(text))
