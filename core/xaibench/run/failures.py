"""Results of cells that did not run: every planned cell has rows, and every status but ``ok`` has a reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import pyarrow as pa

from xaibench.api import Explanation, Passes, Sample, ScoreSpec
from xaibench.api.vocabulary import Status
from xaibench.plan.parts import Plan
from xaibench.plan.tasks import (
    ArtefactTask,
    CellPart,
    CellResult,
    ExplainTask,
    ExplainUnit,
    LookTask,
    ModelTask,
    PredictTask,
    ScoreUnit,
    SetTask,
    Setup,
    Task,
)
from xaibench.run.cell_results import columns_of, result_of
from xaibench.run.detector_looks import blank_look
from xaibench.run.explain import map_result
from xaibench.run.measure import MapSet, SampleMap
from xaibench.run.predict import failed_prediction
from xaibench.run.score_rows import ScoreRows, blank_scores, set_columns
from xaibench.store.commits import CellRows
from xaibench.store.relation import WHOLE, RelationCell
from xaibench.store.sample_columns import sample_columns
from xaibench.store.schema import ARTEFACTS, PREDICTIONS


def reason_of(cell: CellRows) -> str:
    """Why a cell failed, in one line."""
    return " ".join((cell.reason or cell.error).split())


def result_that_cannot_run(plan: Plan, setup: Setup, cell: RelationCell) -> CellResult:
    """The result of a cell that cannot run: one row, under the metric's first score."""
    status: Status = "failed" if cell.broken else "not_applicable"
    if cell.address.kind == "card":
        part = CellPart(address=cell.address, key=cell.key, due=(WHOLE,))
        return result_of(part, {"detectors": blank_look(setup.run, part, status, cell.reason)}, {WHOLE: [status]})
    metric = plan.metric(cell.address.metric)
    part = CellPart(address=cell.address, key=cell.key, due=(WHOLE,))
    rows = ScoreRows(metric.scores)
    columns = {**columns_of(setup.run, part), **set_columns(metric.record.scope, setup.seed, 0)}
    rows.add(columns, blank_scores(metric.scores[:1], status, cell.reason))
    return result_of(part, rows.tables(), {WHOLE: [status]}, reason=cell.reason if cell.broken else "")


def failed_results(plan: Plan, task: Task, error: str, trace: str = "") -> Iterator[CellResult]:
    """Failed results, with rows, for every cell of a task that could not run."""
    for result in _failed(plan, task, error):
        yield replace(result, cell=replace(result.cell, reason=error, error=error, trace=trace))


def _failed(plan: Plan, task: Task, reason: str) -> Iterator[CellResult]:
    if isinstance(task, PredictTask):
        columns = {**columns_of(task.setup.run, task.part), **failed_prediction((), reason)}
        rows = [columns | sample_columns(s) for s in task.chunk.samples]
        yield _all_failed(task.part, {"predictions": pa.Table.from_pylist(rows, schema=PREDICTIONS)})
    elif isinstance(task, LookTask):
        yield _all_failed(task.part, {"detectors": blank_look(task.setup.run, task.part, "failed", reason)})
    elif isinstance(task, ArtefactTask):
        yield _all_failed(task.part, {"artefacts": _failed_artefacts(task, reason)})
    elif isinstance(task, SetTask | ModelTask):
        scope, repeat = (task.scope, task.repeat) if isinstance(task, SetTask) else ("model", 0)
        yield _failed_scores(plan, task.setup, task.score, [set_columns(scope, task.setup.seed, repeat)], reason)
    else:
        for unit in task.units:
            if unit.part.due:
                yield _failed_maps(plan, task, unit, reason)
            for score in unit.scores:
                columns = {"scope": "sample", "seed": task.setup.seed}
                cases = [
                    {**columns, **sample_columns(s), "repeat": draw}
                    for s in _due(task, score.part)
                    for draw in _draws(plan, unit)
                ]
                yield _failed_scores(plan, task.setup, score, cases, reason)


def _all_failed(part: CellPart, tables: dict[str, pa.Table], count: int = 1) -> CellResult:
    return result_of(part, tables, {s: ["failed"] * count for s in part.due})


def _due(task: ExplainTask, part: CellPart) -> list[Sample]:
    due = set(part.due)
    return [s for s in task.chunk.samples if s.id in due]


def _draws(plan: Plan, unit: ExplainUnit) -> range:
    draws = plan.explainer(unit.name).draws
    return range(unit.repeat * draws, (unit.repeat + 1) * draws)


def _failed_maps(plan: Plan, task: ExplainTask, unit: ExplainUnit, reason: str) -> CellResult:
    failed = Explanation(map=None, status="failed", reason=reason)
    maps = [
        SampleMap(sample, -1, draw, failed, Passes())
        for sample in _due(task, unit.part)
        for draw in _draws(plan, unit)
    ]  # fmt: skip
    drawn = MapSet(plan.explainer(unit.name).use, tuple(maps), Passes(), 0.0, None)
    return map_result(unit, drawn, task.setup.run, None, Passes(), 0.0)


def _failed_artefacts(task: ArtefactTask, reason: str) -> pa.Table:
    kind, _, _ = task.name.partition(":")
    columns = {
        **columns_of(task.setup.run, task.part), "kind": kind, "parameters": "{}", "artefact": "", "numbers": [],
        "tensors": [], "forward": 0, "backward": 0, "status": "failed", "reason": reason,
    }  # fmt: skip
    return pa.Table.from_pylist([columns | sample_columns(s) for s in task.chunk.samples], schema=ARTEFACTS)


def _failed_scores(
    plan: Plan, setup: Setup, score: ScoreUnit, cases: Iterable[dict[str, Any]], reason: str
) -> CellResult:
    """A row for each case and score. A case holds the columns of its rows."""
    specs: tuple[ScoreSpec, ...] = plan.metric(score.name).scores
    shared = columns_of(setup.run, score.part)
    rows = ScoreRows(specs)
    for columns in cases:
        rows.add({**shared, **columns}, blank_scores(specs, "failed", reason))
    return _all_failed(score.part, rows.tables())
