"""Tables as CSV: one line a row, headers joined, numbers in full."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence

from xaibench.api import printable
from xaibench_report.tables.table_grid import Grid, GridCell
from xaibench_report.values.spreadsheet_text import spreadsheet_text

NOTES = "notes"


def to_csv(grids: Sequence[Grid]) -> str:
    """All tables under one header: the keys of tables and rows, then every column, then the notes of the row.

    Beside a mean stand its interval (``low``, ``high``), ``n`` and its verdict where the table shows them. A cell
    without a value is empty, and the notes of its row say why. Numbers have all digits unless the table was asked for
    some. Text that a spreadsheet would take for a formula begins with an apostrophe.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    by = list(dict.fromkeys(k for grid in grids for k in grid.by))
    columns = list(dict.fromkeys(c.names for grid in grids for c in grid.columns))
    first = grids[0]
    names = [name for labels in columns for name in _names(labels, first)]
    writer.writerow([spreadsheet_text(printable(t)) for t in (*by, *first.row_keys, *names, NOTES)])
    for grid in grids:
        for line in _rows(grid, by, columns):
            writer.writerow([spreadsheet_text(printable(t)) if isinstance(t, str) else t for t in line])
    return file.getvalue()


def _names(labels: Sequence[str], grid: Grid) -> list[str]:
    name = _joined(labels)
    return [name, *(f"{name} {what}" for what in _extras(grid))]


def _joined(names: Sequence[str]) -> str:
    """The levels of a header in one text."""
    return ", ".join(t for t in names if t)


def _extras(grid: Grid) -> list[str]:
    verdict = ("verdict", "control") if grid.verdicts else ()
    return [*(("low", "high") if grid.intervals else ()), *(("n",) if grid.n else ()), *verdict]


def _rows(grid: Grid, by: Sequence[str], columns: Sequence[tuple[str, ...]]) -> Iterator[list[object]]:
    at = {c.names: i for i, c in enumerate(grid.columns)}
    for row, cells, texts in zip(grid.rows, grid.cells, grid.texts, strict=True):
        found = [cells[at[c]] if c in at else None for c in columns]
        values = [value for cell in found for value in _values(cell, grid)]
        yield [*(grid.by.get(k, "") for k in by), *row.labels, *values, "; ".join(_notes(grid, texts))]


def _values(cell: GridCell | None, grid: Grid) -> list[object]:
    estimate = cell.estimate if cell else None
    if cell is None or estimate is None:
        return [""] * (1 + len(_extras(grid)))
    verdict = [cell.verdict.word, cell.verdict.control_name] if grid.verdicts else []
    ends = [_number(estimate.low, grid), _number(estimate.high, grid)] if grid.intervals else []
    return [_number(estimate.value, grid), *ends, *([estimate.n] if grid.n else []), *verdict]


def _number(value: float | None, grid: Grid) -> object:
    if value is None:
        return ""
    return value if grid.digits is None else round(value, grid.digits)


def _notes(grid: Grid, texts: Sequence[Sequence[str]]) -> Iterator[str]:
    """The notes of a row's cells, each once, with the columns that it is about where these are not all."""
    at: dict[str, list[str]] = {}
    for column, notes in zip(grid.columns, texts, strict=True):
        for note in notes:
            at.setdefault(note, []).append(_joined(column.names))
    for note, columns in at.items():
        yield note if len(columns) == len(grid.columns) else f"{' | '.join(columns)}: {note}"
