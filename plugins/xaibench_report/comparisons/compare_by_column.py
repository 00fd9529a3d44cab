"""Two runs on the same samples, by the values of a column of the table ``samples``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from xaibench.api import NothingToEvaluate, UsageError, closest_first
from xaibench_report.boards.wording import ARROWS, place
from xaibench_report.comparisons.compare import ComparedScore, compare_runs
from xaibench_report.tables.run_table import RunTable
from xaibench_report.tables.sample_parts import EVERY, sample_keys, split_tables
from xaibench_report.tables.table_grid import Grid, GridCell, Path
from xaibench_report.tables.table_marks import NoteAt, place_notes
from xaibench_report.values.run_values import RunTables, ScoreInfo, score_name, short
from xaibench_statistics import Difference, Estimate

CAPTION: Final = (
    "Second run minus first on common samples, with 95 % intervals clustered by group; *...*: the interval excludes 0. "
    "Intervals are not adjusted for how many there are."
)
_MARKED: Final = "a mark of the detector withholds whether this is better or worse"


def compare_by_column(first: RunTables, second: RunTables, info: ScoreInfo, column: str) -> RunTable:
    """One table a score: a row an explainer, a column a value, a cell the paired difference on the samples of both.

    Samples are sorted by what the second run knows of them. Raises UsageError for a column that it does not have, and
    NothingToEvaluate where the runs have no score in common.
    """
    offered = sample_keys(second.samples)
    if column not in offered:
        raise UsageError(f"no column '{column}' of samples", f"there are {closest_first(column, offered)}")
    values: dict[str, dict[tuple[object, ...], ComparedScore]] = {}
    for part in split_tables(second, [column]):
        found = compare_runs(_same_samples(first, part.tables), part.tables, info).rows
        rows: dict[tuple[object, ...], ComparedScore] = {(r.where, r.metric, r.score, r.explainer): r for r in found}
        if part.labels[column].text != EVERY and rows:
            values[part.labels[column].text] = rows
    grids = tuple(_grids(values, column))
    if not grids:
        raise NothingToEvaluate("the two runs have no score of samples in common", "compare runs on one dataset")
    return RunTable(grids)


def _same_samples(first: RunTables, second: RunTables) -> RunTables:
    there = pa.array(pc.unique(second.scores["sample"]).to_pylist(), pa.string())
    return replace(first, scores=first.scores.filter(pc.is_in(first.scores["sample"], there)))


def _grids(values: Mapping[str, Mapping[tuple[object, ...], ComparedScore]], column: str) -> Iterator[Grid]:
    groups: dict[tuple[object, ...], dict[str, dict[str, ComparedScore]]] = {}
    for value, rows in values.items():
        for row in rows.values():
            group = groups.setdefault((row.where, row.metric, row.score), {})
            group.setdefault(row.explainer, {})[value] = row
    for group in groups.values():
        if any(r.difference.value is not None for rows in group.values() for r in rows.values()):
            yield _grid(group, list(values), column)


def _grid(group: Mapping[str, Mapping[str, ComparedScore]], values: Sequence[str], column: str) -> Grid:
    explainers = sorted(group)
    first = next(iter(group[explainers[0]].values()))
    texts = [[_texts(group[e].get(v)) for v in values] for e in explainers]
    notes = [[NoteAt(t, _valued(group[e].get(v))) for t, v in zip(line, values, strict=True)]
             for e, line in zip(explainers, texts, strict=True)]  # fmt: skip
    names = [short(e) or "(detector)" for e in explainers]
    marked = place_notes([[n] for n in names], [[v] for v in values], notes)
    score = score_name(first.metric, first.score)
    sizes = [{r.difference.n for e in explainers if (r := group[e].get(v)) and r.difference.n} for v in values]
    shared = [found.copy().pop() if len(found) == 1 else None for found in sizes]
    return Grid(
        title=f"{score} {ARROWS.get(first.better, '')}".rstrip() + f" by {column}, {place(first.where)}",
        caption=CAPTION,
        row_keys=("explainer",),
        column_keys=(column,),
        rows=tuple(Path((n,), (n,), m, (n,)) for n, m in zip(names, marked.rows, strict=True)),
        columns=tuple(
            Path((v,), (v,), m, (v,), size=n) for v, m, n in zip(values, marked.columns, shared, strict=True)
        ),
        cells=tuple(
            tuple(_cell(group[e].get(v), mark, n is None) for v, mark, n in zip(values, marks, shared, strict=True))
            for e, marks in zip(explainers, marked.cells, strict=True)
        ),
        notes=marked.notes,
        texts=tuple(map(tuple, texts)),
        by={"score": score},
        intervals=True,
        n=True,
    )


def _valued(row: ComparedScore | None) -> bool:
    return row is not None and row.difference.value is not None


def _texts(row: ComparedScore | None) -> tuple[str, ...]:
    """Why there is no difference or no interval, and why none is called better."""
    if row is None:
        return ("no common samples",)
    d = row.difference
    withheld = _excludes_0(d) and row.improved is None and row.better != "none"
    return (*([d.note] if d.note else ()), *([_MARKED] if withheld else ()))


def _cell(row: ComparedScore | None, mark: str, sized: bool) -> GridCell:
    if row is None or row.difference.value is None:
        return GridCell(estimate=None, mark=mark)
    d = row.difference
    estimate = Estimate(value=d.value or 0.0, n=d.n, groups=d.groups, low=d.low, high=d.high, note=d.note)
    return GridCell(estimate=estimate, mark=mark, best=_excludes_0(d), size=d.n if sized else None)


def _excludes_0(d: Difference) -> bool:
    return d.low is not None and d.high is not None and not d.low <= 0 <= d.high
