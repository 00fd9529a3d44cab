"""Score units of whole sets: one metric on all maps of one explainer, or on a detector itself."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, TypeAlias

import pyarrow as pa

from xaibench.api import (
    Done,
    MapCase,
    ModelCase,
    Passes,
    Picture,
    Scores,
    ScoreSpec,
    SetCase,
    Streams,
    UnreadablePicture,
    describe_error,
    trace_of,
)
from xaibench.discovery.components import Use
from xaibench.plan.tasks import ExplainTask, ModelTask, SetTask, UnitResult
from xaibench.run.measure import Drawn, case_of, checked_done, curve_columns, or_failed, score_columns
from xaibench.run.memory import peak_memory
from xaibench.run.workbench import Bench
from xaibench.store.sample_columns import sample_columns
from xaibench.store.schema import CURVES, SCORES

DrawnShards: TypeAlias = Sequence[tuple[Bench, ExplainTask, Drawn]]


def measure_set(task: SetTask, drawn: DrawnShards, reference: DrawnShards, metric: Use) -> UnitResult:
    """Score all maps of one explainer at once, for scope detector (one member) or family."""
    began = time.perf_counter()
    bench, first, _ = drawn[0]
    cases, missing = _cases(drawn, metric)
    streams = Streams.of(task.setup.seed, task.repeat, metric.name, "", task.explainer)
    case = SetCase(
        members=cases, missing=missing, explainer=task.explainer, streams=streams,
        reference=_cases(reference, metric)[0],
    )  # fmt: skip
    done = bench.engine().run_one(lambda: metric.instance.score(case))
    maps = sum((d.passes for _, _, d in (*drawn, *reference)), Passes())
    where: dict[str, Any] = {
        "model": first.detector.model, "member": first.detector.member if task.scope == "detector" else "",
        "dataset": first.shard.dataset, "explainer": task.explainer, "metric": task.score.name,
    }  # fmt: skip
    more = {"run": task.setup.run, "repeat": task.repeat, "scope": task.scope, "seed": task.setup.seed}
    span = (first.shard.start, drawn[-1][1].shard.stop)
    return _result(task.score.key, where, more, span, metric, done, maps, bench, began)


def _cases(drawn: DrawnShards, metric: Use) -> tuple[dict[str, list[MapCase]], dict[str, int]]:
    """The cases of each member, and how many samples have none."""
    names = list(dict.fromkeys(part.detector.member for _, part, _ in drawn))
    cases: dict[str, list[MapCase]] = {name: [] for name in names}
    missing = dict.fromkeys(names, 0)
    for at, part, maps in drawn:
        ok = [m for m in maps.maps if m.explanation.status == "ok"]
        missing[part.detector.member] += len(maps.maps) - len(ok)
        for m in ok:
            try:
                cases[part.detector.member].append(case_of(at, part, maps.use, m, metric))
            except UnreadablePicture:
                missing[part.detector.member] += 1
    return cases, missing


def measure_model(task: ModelTask, benches: Sequence[Bench], metric: Use) -> UnitResult:
    """Score one detector on all samples, without maps."""
    began = time.perf_counter()
    bench = benches[0]
    pictures, clean, missing = _pictures(task, benches)
    case = ModelCase(
        detector=bench.detector, pictures=pictures, clean=clean, missing=missing,
        streams=Streams.of(task.setup.seed, 0, metric.name, ""), artefacts=bench.artefacts(),
    )  # fmt: skip
    done = bench.engine().run_one(lambda: metric.instance.score(case))
    where: dict[str, Any] = {
        "model": task.detector.model, "member": task.detector.member, "dataset": task.shards[0].dataset,
        "explainer": "", "metric": task.score.name,
    }  # fmt: skip
    more = {"run": task.setup.run, "repeat": 0, "scope": "model", "seed": task.setup.seed}
    span = (task.shards[0].start, task.shards[-1].stop)
    return _result(task.score.key, where, more, span, metric, done, Passes(), bench, began)


def _pictures(task: ModelTask, benches: Sequence[Bench]) -> tuple[list[Picture], Any, int]:
    """The pictures with a prediction, their ``(N, C)`` probabilities, and how many samples are left out."""
    import torch

    pictures, rows, missing = [], [], 0
    for bench, shard, known in zip(benches, task.shards, task.clean, strict=True):
        for sample, clean in zip(shard.samples, known, strict=True):
            try:
                if clean is None:
                    missing += 1
                    continue
                pictures.append(bench.picture(sample.id))
                rows.append(clean)
            except UnreadablePicture:
                missing += 1
    classes = len(benches[0].detector.facts.classes)
    return pictures, torch.tensor(rows, dtype=torch.float32).reshape(len(rows), classes), missing


def _result(
    key: str,
    where: dict[str, Any],
    more: dict[str, Any],
    span: tuple[int, int],
    metric: Use,
    done: Done[Scores],
    maps: Passes,
    bench: Bench,
    began: float,
) -> UnitResult:
    """The unit's row and tables. ``more`` holds the columns that its scores have beside those of ``where``."""
    specs: dict[str, ScoreSpec] = {s.name: s for s in metric.instance.scores}
    done = checked_done(specs, done)
    outcome = or_failed(specs, done)
    failed = next((s.reason for s in outcome.values if s.status == "failed"), "")
    keys = {**where, "unit": key, "run": more["run"], "repeat": more["repeat"], **sample_columns(None)}
    rows = [keys | more | {"prediction": None, "target": None} | score_columns(s, specs[s.name])
            for s in outcome.values]  # fmt: skip
    points = [keys | p for c in outcome.curves for p in curve_columns(c)]
    tables = {"scores": pa.Table.from_pylist(rows, schema=SCORES)}
    tables |= {"curves": pa.Table.from_pylist(points, schema=CURVES)} if points else {}
    return UnitResult(
        key=key, kind="set-score", **where, start=span[0], stop=span[1],
        status="failed" if failed else "ok", reason=failed,
        error=describe_error(done.error) if done.error else "", trace=trace_of(done.error) if done.error else "",
        seconds=time.perf_counter() - began, passes=maps + done.passes,
        device=str(bench.detector.device), peak_memory=peak_memory(), tables=tables,
    )  # fmt: skip
