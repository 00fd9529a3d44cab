"""Cells of a family of training runs: the mean over its runs in place of a cell for each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from xaibench_report.boards.board_cells import Cell, make_cell
from xaibench_report.comparisons.family_values import family_alone
from xaibench_report.values.run_values import CellKey, CellValues
from xaibench_statistics import runs_interval

FAMILY_SCOPE: Final = "family"


def family_cells(cells: Mapping[CellKey, CellValues], seed: int) -> dict[CellKey, tuple[CellValues, Cell]]:
    """For every model, score and explainer the values of its first run, which say what the score is, and the cell of
    the family: the mean over runs with its interval over runs crossed with people.

    A family with a run that lacks values, or whose runs share fewer than half of the samples, has none, and the cell
    says which run and why. Scores of a whole family are as they are.
    """
    groups: dict[CellKey, dict[str, CellValues]] = {}
    for key, cell in cells.items():
        groups.setdefault(key._replace(where=key.where._replace(member="")), {})[key.where.member] = cell
    return {key: (next(iter(runs.values())), _cell(runs, seed)) for key, runs in groups.items()}


def _cell(runs: Mapping[str, CellValues], seed: int) -> Cell:
    first = next(iter(runs.values()))
    if len(runs) == 1 and first.scope == FAMILY_SCOPE:
        return make_cell(first, seed)
    found = family_alone(runs)
    if found.runs is None:
        return Cell(estimate=None, labels={}, why=found.why)
    estimate = first.within(runs_interval(found.runs, seed=seed))
    note = "; ".join(part for part in (estimate.note, found.why) if part)
    return Cell(estimate=replace(estimate, note=note), labels=first.labels)
