"""What a detector says of the untouched pictures, beside what explanations make of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from xaibench_report.boards.board_cells import Cell
from xaibench_report.tables.sample_parts import Part
from xaibench_report.values.run_values import CellKey, RunTables, ScoreInfo, Table, Where, texts
from xaibench_statistics import Values, exact_mean, mean_interval, proportion_interval

NONE_SUCH: Final = "the score has no value on an untouched picture"

Untouched = tuple[Cell, tuple[str, ...]]


def untouched_cells(
    groups: Mapping[CellKey, Sequence[Cell]], part: Part, tables: RunTables, info: ScoreInfo
) -> dict[CellKey, Untouched]:
    """The cell and its notes for every key. ``groups``: the cells of the explainers beside each.

    A score that is an accuracy (``ScoreSpec.is_accuracy``) has the share of pictures that the detector calls by their
    label, among those of the part with a label that the score is defined for. A score of a curve
    (``ScoreSpec.untouched``) has the mean of that end of the curves. Others have none.
    """
    return {key: _cell(key, cells, part, tables, info) for key, cells in groups.items()}


def _cell(key: CellKey, cells: Sequence[Cell], part: Part, tables: RunTables, info: ScoreInfo) -> Untouched:
    spec = info.spec(key.metric, key.score)
    if spec is not None and spec.is_accuracy:
        labels = sorted({label for cell in cells for label in cell.labels})
        values, which = _correct(key.where, labels, part, tables.predictions), " and ".join(labels)
        note = f"the share of the {which} pictures that the detector calls by their label, whether or not an explainer "
        note += "has a value there"
        return _of_values(values, note, share=True)
    if spec is not None and spec.untouched is not None:
        values = _curve_ends(key, spec.untouched, part, tables.curves)
        return _of_values(values, "P(target) of the untouched pictures", share=False)
    return Cell(estimate=None, labels={}, why=NONE_SUCH), (NONE_SUCH,)


def _of_values(values: Values, note: str, share: bool) -> Untouched:
    if not len(values):
        return Cell(estimate=None, labels={}, why="no such picture"), ("no such picture",)
    estimate = proportion_interval(values) if share else mean_interval(values)
    return Cell(estimate=estimate, labels={}), (note,)


def _correct(where: Where, labels: Sequence[str], part: Part, predictions: Table) -> Values:
    rows = _here(predictions, where, part)
    rows = rows.filter(pc.and_(pc.is_valid(rows["correct"]), pc.is_in(rows["label"], pa.array(labels, pa.string()))))
    correct = np.asarray(rows["correct"].to_pylist(), dtype=np.float64)
    return Values.of(texts(rows, "sample"), correct, texts(rows, "group"), texts(rows, "cross_group"))


def _curve_ends(key: CellKey, end: str, part: Part, curves: Table | None) -> Values:
    """One value a picture: the untouched end is the same on the curves of every explainer."""
    if curves is None or not len(curves):
        return Values.of([], [])
    rows = _here(curves, key.where, part)
    rows = rows.filter(pc.equal(rows["metric"], key.metric))
    ends = dict(_ends(rows, end))
    first = {s: at for at, s in reversed(list(enumerate(texts(rows, "sample").tolist())))}
    taken = rows.take(pa.array([first[s] for s in ends], pa.int64()))
    return Values.of(list(ends), list(ends.values()), texts(taken, "group"), texts(taken, "cross_group"))


def _ends(rows: Table, end: str) -> Iterator[tuple[str, float]]:
    """The mean over all curves of a sample, which differ by rounding at most."""
    keys = ["sample", "explainer", "curve", "item", "repeat"]
    point = rows.group_by(keys).aggregate([("point", "min" if end == "start" else "max")])
    at_end = rows.join(point.rename_columns([*keys, "wanted"]), keys=keys).filter(
        pc.field("point") == pc.field("wanted")
    )
    values: dict[str, list[float]] = {}
    for row in at_end.select(["sample", "y"]).to_pylist():
        values.setdefault(row["sample"], []).append(row["y"])
    for sample, found in sorted(values.items()):
        yield sample, exact_mean(np.asarray(found, dtype=np.float64))


def _here(table: Table, where: Where, part: Part) -> Table:
    """The rows of one detector and dataset, and of the samples of the part."""
    rows = table
    for column, value in where._asdict().items():
        rows = rows.filter(pc.equal(rows[column], value))
    if part.holds is None:
        return rows
    return rows.filter(pc.is_in(rows["sample"], pa.array(sorted(part.holds.get(where.dataset, ())), pa.string())))
