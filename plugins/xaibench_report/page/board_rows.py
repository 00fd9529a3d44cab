"""The rows of boards and of tables of detectors, every cell as text, as the templates show them."""

from __future__ import annotations

from typing import Any

from xaibench_report.boards import wording
from xaibench_report.boards.board_cells import Cell
from xaibench_report.boards.detector_tables import DetectorTable
from xaibench_report.boards.leaderboard import Board
from xaibench_report.values.number_format import DASH, interval, number, p_value
from xaibench_report.values.run_values import score_name


def board_rows(board: Board) -> list[dict[str, Any]]:
    """The cells of a board as the template shows them."""
    sizes = [wording.column_size(board, i) for i in range(len(board.columns))]
    rows = []
    for row in board.rows:
        cells = [_cell_text(cell, with_size=size is None) for cell, size in zip(row.cells, sizes, strict=True)]
        rows.append({"name": wording.row_title(row), "role": row.role, "cells": cells})
    return rows


def beside_rows(board: Board) -> list[dict[str, Any]]:
    """The scores beside a board as the template shows them, a column for each of the board's rows."""
    return [
        {
            "name": score_name(c.column.metric, c.column.score),
            "description": c.column.description,
            "cells": [_cell_text(c.cells.get(row.explainer), with_size=True) for row in board.rows],
        }
        for c in board.beside
    ]


def detector_rows(table: DetectorTable) -> list[dict[str, Any]]:
    """The rows of a table of detectors as the template shows them."""
    return [
        {"name": wording.detector_title(row.where), "cells": [_cell_text(c, with_size=False) for c in row.cells]}
        for row in table.rows
    ]


def _cell_text(cell: Cell | None, *, with_size: bool) -> dict[str, str]:
    if cell is None:
        return dict.fromkeys(("value", "rank", "interval", "median", "size", "why", "versus"), "")
    e = cell.estimate
    return {
        "value": number(e.value) if e else DASH,
        "rank": wording.rank(cell.rank),
        "interval": interval(e) or wording.span(cell.span),
        "median": wording.median(cell.median),
        "size": f"n={e.n}" if e and with_size else "",
        "why": cell.why,
        "versus": _versus(cell.versus_best) if cell.versus_best else "",
    }


def method_rows(board: Board) -> list[dict[str, Any]]:
    """Every score and explainer by manipulation method, as the template shows them."""
    rows = []
    for i, column in enumerate(board.columns):
        for row in (r for r in board.rows if r.cells[i] is not None):
            by_method = [wording.method_cell(row.cells[i], m) for m in board.methods]
            cells = [
                {
                    "value": number(m.estimate.value if m else None),
                    "size": f"{interval(m.estimate)} n={m.n}".strip() if m else "",
                }
                for m in by_method
            ]
            score = score_name(column.metric, column.score)
            rows.append({"score": score, "name": wording.row_title(row), "role": row.role, "cells": cells})
    return rows


def _versus(difference: Any) -> str:
    p = p_value(difference.p_holm)
    return f"to the best: {number(difference.value)} {interval(difference)}, p (Holm) {p}"
