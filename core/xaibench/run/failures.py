"""Rows for what did not happen: every planned cell has rows, and every status but ok has a reason."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from xaibench.api import Score, ScoreSpec, describe_error, trace_of
from xaibench.plan.parts import Cell, Plan
from xaibench.plan.tasks import ArtefactTask, ExplainTask, ModelTask, PredictTask, SetTask, Setup, Task, UnitResult
from xaibench.run.measure import blank_scores, score_columns
from xaibench.store.sample_columns import sample_columns
from xaibench.store.schema import PREDICTIONS, SCORES, UNITS


def unit_row(run: str, result: UnitResult, attempts: int) -> pa.Table:
    """The row of ``units``."""
    row = {
        "run": run, "unit": result.key, "kind": result.kind, "model": result.model, "member": result.member,
        "dataset": result.dataset, "explainer": result.explainer, "metric": result.metric, "start": result.start,
        "stop": result.stop, "status": result.status, "reason": result.reason or None, "attempts": attempts,
        "seconds": result.seconds, "forward": result.passes.forward, "backward": result.passes.backward,
        "peak_memory": result.peak_memory, "device": result.device, "error": result.error or None,
        "trace": result.trace or None,
    }  # fmt: skip
    return pa.Table.from_pylist([row], schema=UNITS)


def reason_of(result: UnitResult) -> str:
    """Why a unit failed, in one line: how much of it, where that was counted, and the commonest reason."""
    counted = result.kind in ("predict", "artefact") and result.reason != result.error
    told = f"{result.reason}: {result.error}" if counted else result.reason or result.error
    return " ".join(told.split())


def absent_result(plan: Plan, setup: Setup, key: str, cells: Sequence[Cell]) -> UnitResult:
    """One row a cell that is not applicable, under the metric's first score."""
    planned = {m.name: m for m in plan.metrics}
    rows = []
    for c in cells:
        metric = planned[c.metric or ""]
        first = metric.scores[0]
        absent = Score(name=first.name, status="not_applicable", reason=c.reason)
        rows.append({
            "run": setup.run, "unit": key, "model": c.model, "member": c.member, "dataset": c.dataset,
            "explainer": c.explainer, "metric": c.metric, "repeat": 0, "prediction": None, "target": None,
            "scope": metric.record.scope, "seed": setup.seed, **sample_columns(None), **score_columns(absent, first),
        })  # fmt: skip
    return UnitResult(
        key=key, kind="not-applicable", model=cells[0].model, member=cells[0].member, dataset=cells[0].dataset,
        explainer=cells[0].explainer, metric=cells[0].metric, start=0, stop=0, status="not_applicable",
        reason=cells[0].reason,
        tables={"scores": pa.Table.from_pylist(rows, schema=SCORES)},
    )  # fmt: skip


def failed_results(plan: Plan, task: Task, error: BaseException | None, reason: str) -> list[UnitResult]:
    """Failed results, with rows, for every unit of a task that could not be carried out at all."""
    why = describe_error(error) if error else reason
    trace = trace_of(error) if error else ""
    specs = {m.name: m.scores for m in plan.metrics}
    if isinstance(task, PredictTask):
        found = [_failed_predictions(task, why)]
    elif isinstance(task, ArtefactTask):
        found = [_Where.of(task).result(task.key, "artefact", task.shard.start, task.shard.stop)]
    elif isinstance(task, SetTask):
        first, last = task.parts[0][0], task.parts[-1][-1]
        where = _Where.of(first) if task.scope == "detector" else replace(_Where.of(first), member="")
        span = (first.shard.start, last.shard.stop)
        found = [_failed_set(task, where, span, specs[task.score.name], why)]
    elif isinstance(task, ModelTask):
        where = _Where(task.setup.run, task.detector.model, task.detector.member, task.shards[0].dataset)
        span = (task.shards[0].start, task.shards[-1].stop)
        found = [_failed_set(task, where, span, specs[task.score.name], why)]
    else:
        found = list(_failed_explanations(task, specs, {e.name: e.draws for e in plan.explainers}, why))
    return [replace(r, status="failed", reason=why, error=why, trace=trace) for r in found]


@dataclass(frozen=True, slots=True)
class _Where:
    """What the rows of one task have in common."""

    run: str
    model: str
    member: str
    dataset: str

    @staticmethod
    def of(task: PredictTask | ArtefactTask | ExplainTask) -> _Where:
        d = task.detector
        return _Where(task.setup.run, d.model, d.member, task.shard.dataset)

    def columns(self, unit: str) -> dict[str, Any]:
        return {"run": self.run, "unit": unit, "model": self.model, "member": self.member, "dataset": self.dataset}

    def result(
        self, key: str, kind: str, start: int, stop: int, explainer: str | None = None, metric: str | None = None,
        tables: dict[str, pa.Table] | None = None,
    ) -> UnitResult:  # fmt: skip
        return UnitResult(
            key=key, kind=kind, model=self.model, member=self.member, dataset=self.dataset, explainer=explainer,
            metric=metric, start=start, stop=stop, status="failed", tables=tables or {},
        )  # fmt: skip


def _failed_predictions(task: PredictTask, why: str) -> UnitResult:
    where = _Where.of(task)
    keys = where.columns(task.key) | {"probabilities": [], "classes": [], "p_fake": None, "prediction": "",
                                      "verdict": "", "correct": None, "status": "failed", "reason": why}  # fmt: skip
    rows = [keys | sample_columns(s) for s in task.shard.samples]
    table = pa.Table.from_pylist(rows, schema=PREDICTIONS)
    return where.result(task.key, "predict", task.shard.start, task.shard.stop, tables={"predictions": table})


def _failed_explanations(
    task: ExplainTask, specs: dict[str, tuple[ScoreSpec, ...]], draws: dict[str, int], why: str
) -> Iterator[UnitResult]:
    where = _Where.of(task)
    start, stop = task.shard.start, task.shard.stop
    for unit in task.units:
        if unit.commit:
            yield where.result(unit.key, "explain", start, stop, unit.name)
        n = draws[unit.name]
        for score in unit.scores:
            keys = where.columns(score.key) | {
                "explainer": unit.name, "metric": score.name, "prediction": None, "target": None, "scope": "sample",
                "seed": task.setup.seed,
            }  # fmt: skip
            rows = [
                keys | sample_columns(s) | {"repeat": d} | r
                for s in task.shard.samples
                for d in range(unit.repeat * n, (unit.repeat + 1) * n)
                for r in _blank(specs[score.name], why)
            ]
            tables = {"scores": pa.Table.from_pylist(rows, schema=SCORES)}
            yield where.result(score.key, "score", start, stop, unit.name, score.name, tables)


def _failed_set(
    task: SetTask | ModelTask, where: _Where, span: tuple[int, int], specs: Sequence[ScoreSpec], why: str
) -> UnitResult:
    explainer, repeat, scope = (
        (task.explainer, task.repeat, task.scope) if isinstance(task, SetTask) else ("", 0, "model")
    )
    keys = where.columns(task.score.key) | {
        "explainer": explainer, "metric": task.score.name, "repeat": repeat, "prediction": None, "target": None,
        "scope": scope, "seed": task.setup.seed, **sample_columns(None),
    }  # fmt: skip
    tables = {"scores": pa.Table.from_pylist([keys | r for r in _blank(specs, why)], schema=SCORES)}
    return where.result(task.score.key, "set-score", *span, explainer, task.score.name, tables)


def _blank(specs: Sequence[ScoreSpec], why: str) -> list[dict[str, Any]]:
    by_name = {s.name: s for s in specs}
    return [score_columns(s, by_name[s.name]) for s in blank_scores(specs, "failed", why)]
