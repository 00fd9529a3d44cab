"""The rows of boards and of tables of detectors, every cell as text, as the templates show them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from xaibench_report.boards import wording
from xaibench_report.boards.board_cells import Cell
from xaibench_report.boards.by_column import ByColumn, ColumnCell
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


def board_parts(boards: Sequence[Board], by_columns: Sequence[ByColumn]) -> dict[str, Any]:
    """The cells of every board over the pictures of one value of a column: number of the board, ``label: fake``, name
    of the explainer, a cell a column of the board, None where there is none."""
    return {str(i): dict(_parts_of_board(board, by_columns)) for i, board in enumerate(boards)}


def part_names(by_columns: Sequence[ByColumn]) -> list[str]:
    """``label: fake`` and every other value of a column that some board has."""
    return list(dict.fromkeys(_part(c, value) for c in by_columns for board in c.boards for value in board.values))


def _part(column: ByColumn, value: str) -> str:
    return f"{column.column}: {value}"


def _parts_of_board(board: Board, by_columns: Sequence[ByColumn]) -> Iterator[tuple[str, dict[str, Any]]]:
    keys = [(column.metric, column.score) for column in board.columns]
    for column in by_columns:
        for split in (b for b in column.boards if (b.family, b.where) == (board.family, board.where)):
            scores = {(s.metric, s.score): {c.explainer: c for c in s.cells} for s in split.scores}
            for at, value in enumerate(split.values):
                yield (
                    _part(column, value),
                    {
                        wording.row_title(row): [_part_cell(scores.get(k, {}).get(row.explainer), at) for k in keys]
                        for row in board.rows
                    },
                )


def _part_cell(cell: ColumnCell | None, at: int) -> dict[str, Any] | None:
    mean = cell.means[at] if cell is not None else None
    if mean is None:
        return None
    below = [x for x in (interval(mean), f"n={mean.n}") if x]
    return {"value": mean.value, "text": number(mean.value), "below": below}


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
        return {"data": ""} | dict.fromkeys(("value", "rank", "interval", "median", "size", "why", "versus"), "")
    e = cell.estimate
    return {
        "data": repr(e.value) if e else "",
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
