"""Measures of a detector itself, without any map: one table a metric family, one row a detector."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from xaibench_report.boards.board_cells import Cell, Column, make_cell, make_column
from xaibench_report.detectors.detection import LeftOut
from xaibench_report.values.run_values import CellKey, CellValues, ScoreInfo, Where, family_order, score_order, short
from xaibench_report.values.score_items import without_item

ScoreKey = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorRow:
    """One detector; ``cells`` follow the table's columns."""

    where: Where
    cells: tuple[Cell | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorTable:
    """One metric family on one dataset; nothing is ranked here: see :mod:`xaibench_report.comparisons.ranking`."""

    family: str
    dataset: str
    columns: tuple[Column, ...]
    rows: tuple[DetectorRow, ...]
    left_out: tuple[LeftOut, ...] = ()


def of_detector(cell: CellValues) -> bool:
    """Whether a cell is of a detector itself, so that its empty explainer is none."""
    return cell.scope == "model"


def detector_tables(cells: Mapping[CellKey, CellValues], info: ScoreInfo, seed: int) -> tuple[DetectorTable, ...]:
    """One table for every dataset and metric family that has primary scores of scope ``model``."""
    found = {k: c for k, c in cells.items() if of_detector(c)}
    keys = sorted({(k.where.dataset, info.family(k.metric)) for k in found}, key=lambda k: (k[0], family_order(k[1])))
    tables = (
        _table(dataset, family, {
            k: c for k, c in found.items() if k.where.dataset == dataset and info.family(k.metric) == family
        }, info, seed)
        for dataset, family in keys
    )  # fmt: skip
    return tuple(t for t in tables if t.columns)


def _table(dataset: str, family: str, cells: Mapping[CellKey, CellValues], info: ScoreInfo, seed: int) -> DetectorTable:
    scores = {(k.metric, k.score) for k in cells if k.score and info.primary(k.metric, k.score)}
    order = sorted(scores - without_item(scores, info), key=score_order(info))
    by_score = {s: {k.where: c for k, c in cells.items() if (k.metric, k.score) == s} for s in order}
    wheres = sorted({k.where for k in cells})
    return DetectorTable(
        family=family,
        dataset=dataset,
        columns=tuple(make_column(s, {str(w): c for w, c in by_score[s].items()}, 0, info) for s in order),
        rows=tuple(
            DetectorRow(
                where=w, cells=tuple(make_cell(by_score[s][w], seed) if w in by_score[s] else None for s in order)
            )
            for w in wheres
        ),
        left_out=_left_out(cells),
    )


def _left_out(cells: Mapping[CellKey, CellValues]) -> tuple[LeftOut, ...]:
    counts: Counter[tuple[str, str, str]] = Counter()
    for key, cell in cells.items():
        for (status, reason), n in cell.left_out.items():
            counts[key.metric, status, reason] += n
    return tuple(
        LeftOut(what=f"values of {short(m)}", status=s, reason=r, count=n) for (m, s, r), n in sorted(counts.items())
    )
