"""Results of units that did not run: every planned cell has rows, and every status but ``ok`` has a reason."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import pyarrow as pa

from xaibench.api import ScoreSpec, describe_error, trace_of
from xaibench.plan.parts import Cell, Plan
from xaibench.plan.tasks import Address, ArtefactTask, ModelTask, PredictTask, SetTask, Setup, Task, UnitResult
from xaibench.run.predict import failed_prediction
from xaibench.run.score_rows import ScoreRows, blank_scores, set_columns
from xaibench.run.unit_results import address_of
from xaibench.store.sample_columns import sample_columns
from xaibench.store.schema import PREDICTIONS


def reason_of(result: UnitResult) -> str:
    """Why a unit failed, in one line: how much of it failed, and the error or the most frequent reason."""
    # The reason of these kinds is a count, unless the whole task failed with one error.
    is_count = result.kind in ("predict", "artefact") and result.reason != result.error
    text = f"{result.reason}: {result.error}" if is_count else result.reason or result.error
    return " ".join(text.split())


def not_applicable_result(plan: Plan, setup: Setup, key: str, cell: Cell) -> UnitResult:
    """The result of a cell that cannot run: one row, under the metric's first score."""
    metric = next(m for m in plan.metrics if m.name == cell.metric)
    address = Address(
        run=setup.run,
        model=cell.model,
        member=cell.member,
        dataset=cell.dataset,
        explainer=cell.explainer,
        metric=cell.metric,
    )
    rows = ScoreRows(metric.scores)
    columns = {**address.columns(key), **set_columns(metric.record.scope, setup.seed, 0)}
    rows.add(columns, blank_scores(metric.scores[:1], "not_applicable", cell.reason))
    return UnitResult(
        key=key,
        kind="not-applicable",
        address=address,
        status="not_applicable",
        reason=cell.reason,
        tables=rows.tables(),
    )


def failed_results(plan: Plan, task: Task, error: BaseException | None, reason: str) -> list[UnitResult]:
    """Failed results, with rows, for every unit of a task that could not run. ``error`` or ``reason`` says why."""
    reason = describe_error(error) if error else reason
    trace = trace_of(error) if error else ""
    specs = {m.name: m.scores for m in plan.metrics}
    failed = partial(UnitResult, status="failed", reason=reason, error=reason, trace=trace)
    address = address_of(task)
    if isinstance(task, PredictTask):
        columns = {**address.columns(task.key), **failed_prediction((), reason)}
        rows = pa.Table.from_pylist([columns | sample_columns(s) for s in task.shard.samples], schema=PREDICTIONS)
        return [failed(key=task.key, kind="predict", address=address, tables={"predictions": rows})]
    if isinstance(task, ArtefactTask):
        return [failed(key=task.key, kind="artefact", address=address)]
    if isinstance(task, SetTask | ModelTask):
        scope, repeat = (task.scope, task.repeat) if isinstance(task, SetTask) else ("model", 0)
        columns = {**address.columns(task.score.key), **set_columns(scope, task.setup.seed, repeat)}
        tables = _failed_scores([columns], specs[task.score.name], reason)
        return [failed(key=task.score.key, kind="set-score", address=address, tables=tables)]
    results = []
    for unit in task.units:
        if unit.commit:
            results.append(failed(key=unit.key, kind="explain", address=address_of(task, unit.name)))
        draws = plan.explainer(unit.name).draws
        for score in unit.scores:
            address = address_of(task, unit.name, score.name)
            columns = {**address.columns(score.key), "scope": "sample", "seed": task.setup.seed}
            cases = [
                {**columns, **sample_columns(s), "repeat": draw}
                for s in task.shard.samples
                for draw in range(unit.repeat * draws, (unit.repeat + 1) * draws)
            ]
            tables = _failed_scores(cases, specs[score.name], reason)
            results.append(failed(key=score.key, kind="score", address=address, tables=tables))
    return results


def _failed_scores(cases: Iterable[dict[str, Any]], specs: tuple[ScoreSpec, ...], reason: str) -> dict[str, pa.Table]:
    """A row for each case and score. A case holds the columns of its rows."""
    rows = ScoreRows(specs)
    for columns in cases:
        rows.add(columns, blank_scores(specs, "failed", reason))
    return rows.tables()
