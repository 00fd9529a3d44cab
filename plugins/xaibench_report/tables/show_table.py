"""Tables on stdout: as text as wide as the terminal, or as the object of ``--json``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from xaibench.api import literal, make_console, print_json
from xaibench_report.tables.run_table import RunTable
from xaibench_report.tables.table_grid import Grid
from xaibench_report.tables.text_format import RULE

SCHEMA: Final = "xaibench.table/1"


def show_table(table: RunTable, *, json: bool, out: Path | None = None) -> None:
    """Print the tables; ``out`` is the file that they were written to."""
    if json:
        print_json(to_json(table) | ({"out": str(out)} if out else {}))
        return
    console: Any = make_console()
    text = table.to_text(console.width)
    for line in (text if console.encoding.startswith("utf") else text.replace(RULE, "-")).splitlines():
        console.print(literal(console, line), soft_wrap=True)


def to_json(table: RunTable) -> dict[str, Any]:
    """Every table with its title, caption, notes and cells: a cell a number, with the labels of its keys."""
    return {"schema": SCHEMA, "tables": [_grid(grid) for grid in table.grids]}


def _grid(grid: Grid) -> dict[str, Any]:
    return {
        "title": grid.title,
        "caption": grid.caption,
        "by": dict(grid.by),
        "rows": [dict(zip(grid.row_keys, r.labels, strict=True)) for r in grid.rows],
        "columns": [dict(zip(grid.column_keys, c.labels, strict=True)) for c in grid.columns],
        "cells": [
            [_cell(cell, notes, grid.verdicts) for cell, notes in zip(cells, texts, strict=True)]
            for cells, texts in zip(grid.cells, grid.texts, strict=True)
        ],
        "notes": [{"mark": n.mark, "text": n.text} for n in grid.notes],
    }


def _cell(cell: Any, notes: tuple[str, ...], verdicts: bool) -> dict[str, Any]:
    e = cell.estimate
    verdict = {"verdict": cell.verdict.word or None, "control": cell.verdict.control_name or None} if verdicts else {}
    return {
        "value": e and e.value, "low": e and e.low, "high": e and e.high, "n": e and e.n, "groups": e and e.groups,
        "best": cell.best, **verdict, "notes": list(notes),
    }  # fmt: skip
