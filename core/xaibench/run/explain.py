"""Explain units: the saliency maps of one explainer on one shard, and the scores of these maps."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from xaibench.api import Done, Explanation, Passes, Programme, Sample, describe_error, resolve_target, stage_table
from xaibench.discovery.components import Use
from xaibench.plan.tasks import ExplainTask, ExplainUnit, UnitResult
from xaibench.run.measure import MapSet, SampleMap, measure, most_frequent
from xaibench.run.unit_results import address_of, local_result
from xaibench.run.workbench import Bench, Workbench
from xaibench.store import map_rows
from xaibench.store.folder import broken
from xaibench.store.schema import MAPS


def explain(workbench: Workbench, task: ExplainTask) -> Iterator[UnitResult]:
    """Draw the maps of each unit, then score them. A unit may use the maps of earlier units of the task."""
    detector = workbench.detector(task.detector)
    bench = workbench.bench(detector, task.shard, task.setup)
    bench.remember_artefacts(task.artefacts)
    passes = Passes()  # of maps whose unit is not committed: counted with the next result
    for unit in task.units:
        maps = draw_maps(bench, task, unit, workbench.use(unit.ref))
        passes += maps.passes
        if unit.commit:
            yield _result(bench, task, maps, passes)
            passes = Passes()
        for score in unit.scores:
            result = measure(bench, task, maps, score, workbench.use(score.ref))
            yield replace(result, passes=result.passes + passes)
            passes = Passes()


def draw_maps(bench: Bench, task: ExplainTask, unit: ExplainUnit, explainer: Use) -> MapSet:
    """The maps of a unit. They are read from the store where they were kept, and drawn otherwise."""
    start = time.perf_counter()
    if unit.stored is not None:
        maps = tuple(_read_maps(bench, task, unit.stored))
        for m in maps:
            bench.remember(explainer.name, m.sample.id, m.target, m.draw, m.explanation)
        return MapSet(unit, explainer, maps, Passes(), 0.0, None)

    def programme(sample: Sample, target: int, draw: int) -> Programme[Explanation]:
        return (yield from bench.explanation(explainer, bench.picture(sample.id), target, draw))

    requests = list(_map_requests(bench, task, explainer, unit.repeat))
    outcomes = dict(
        bench.engine().run(
            ((sample.id, draw), partial(programme, sample, target, draw)) for sample, target, draw in requests
        )
    )
    maps = tuple(_sample_map(sample, target, draw, outcomes[sample.id, draw]) for sample, target, draw in requests)
    failure = Explanation(map=None, status="failed", reason="the clean prediction failed")
    maps += tuple(
        SampleMap(s, -1, unit.repeat, failure, Passes()) for s in task.shard.samples if task.probabilities(s.id) is None
    )
    error = next((o.error for o in outcomes.values() if o.error), None)
    passes = sum((o.passes for o in outcomes.values()), Passes())
    return MapSet(unit, explainer, maps, passes, time.perf_counter() - start, error)


def _map_requests(bench: Bench, task: ExplainTask, explainer: Use, repeat: int) -> Iterator[tuple[Sample, int, int]]:
    """Sample, target and draw of every map of a repeat; samples without a prediction have none."""
    draws = int(getattr(explainer.instance, "draws", 1))
    for sample, probabilities in zip(task.shard.samples, task.clean, strict=True):
        if probabilities is not None:
            target = resolve_target(task.setup.target, sample, probabilities, bench.detector.facts)
            for draw in range(repeat * draws, (repeat + 1) * draws):
                yield sample, target, draw


def _sample_map(sample: Sample, target: int, draw: int, done: Done[Explanation]) -> SampleMap:
    explanation = done.value
    if explanation is None:
        reason = describe_error(done.error) if done.error else "no explanation came back"
        explanation = Explanation(map=None, status="failed", reason=reason)
    return SampleMap(sample, target, draw, explanation, done.passes)


def _read_maps(bench: Bench, task: ExplainTask, file: str) -> Iterator[SampleMap]:
    import pyarrow.parquet as pq

    try:
        rows = pq.read_table(file).to_pylist()
    except (OSError, pa.ArrowInvalid) as error:
        raise broken(Path(file), error) from error
    samples = {s.id: s for s in task.shard.samples}
    classes = bench.detector.facts.classes
    for row in rows:
        target = -1 if row["target"] is None else classes.index(row["target"])
        passes = Passes(row["forward"], row["backward"])
        yield SampleMap(samples[row["sample"]], target, row["repeat"], map_rows.from_row(row), passes)


def _result(bench: Bench, task: ExplainTask, maps: MapSet, passes: Passes) -> UnitResult:
    unit, address = maps.unit, address_of(task, maps.unit.name)
    staged = {}
    if unit.keep:
        columns, classes = address.columns(unit.key), bench.detector.facts.classes
        table = pa.Table.from_pylist([{**columns, **_map_columns(m, classes)} for m in maps.maps], schema=MAPS)
        staged["maps"] = str(stage_table(table, task.setup.staging, unit.key))
    failures = [m.explanation.reason for m in maps.maps if m.explanation.status == "failed"]
    return local_result(
        unit.key,
        "explain",
        address,
        bench.detector,
        maps.error,
        f"{len(failures)} of {len(maps.maps)} maps failed: {most_frequent(failures)}" if failures else "",
        seconds=maps.seconds,
        passes=passes,
        staged=staged,
    )


def _map_columns(m: SampleMap, classes: tuple[str, ...]) -> dict[str, Any]:
    return {
        "sample": m.sample.id,
        "view": "",
        "target": classes[m.target] if m.target >= 0 else None,
        "repeat": m.draw,
        "height": 0,
        "width": 0,
        "forward": m.passes.forward,
        "backward": m.passes.backward,
        **map_rows.to_row(m.explanation),
    }
