"""The saliency maps of explainers on some samples, and the scores of these maps."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pyarrow as pa

from xaibench.api import Done, Explanation, Passes, Programme, Sample, describe_error, resolve_target
from xaibench.discovery.components import Use
from xaibench.plan.tasks import CellPart, CellResult, ExplainTask, ExplainUnit
from xaibench.run.cell_results import columns_of, failure_reason, result_of
from xaibench.run.measure import MapSet, SampleMap, measure
from xaibench.run.pass_bounds import PassBounds
from xaibench.run.watching import Watched, run_component
from xaibench.run.workbench import Bench, Workbench
from xaibench.store import map_rows
from xaibench.store.schema import MAPS


def explain(workbench: Workbench, task: ExplainTask) -> Iterator[CellResult]:
    """Draw the maps of each unit, then score them. A unit may use the maps of earlier units of the task."""
    bench = workbench.bench(task.detector, task.chunk, task.setup)
    bench.remember_artefacts(task.artefacts)
    passes = Passes()  # of maps of which no row is written: counted with the next result
    for unit in task.units:
        maps = draw_maps(bench, task, unit, workbench.use(unit.ref))
        passes += maps.passes
        if unit.part.due:
            yield map_result(unit, maps, task.setup.run, bench, passes, maps.seconds)
            passes = Passes()
        for score in unit.scores:
            result = measure(bench, task, maps, score, workbench.use(score.ref))
            yield replace(result, cell=replace(result.cell, passes=result.cell.passes + passes))
            passes = Passes()


def draw_maps(bench: Bench, task: ExplainTask, unit: ExplainUnit, explainer: Use) -> MapSet:
    """The maps that a unit needs. Those in the store are read, and the others drawn."""
    start = time.perf_counter()
    stored = list(_read_maps(bench, task, unit)) if unit.stored else []
    for m in stored:
        bench.remember(explainer.name, m.sample.id, m.target, m.draw, m.explanation)

    wanted = set(unit.needed) - {m.sample.id for m in stored}
    requests = list(_map_requests(bench, task, explainer, unit.repeat, wanted))
    outcomes = run_explainer(bench, explainer, requests)
    drawn = [_sample_map(sample, target, draw, outcomes[sample.id, draw]) for sample, target, draw in requests]
    drawn += [
        SampleMap(s, -1, unit.repeat, unpredicted(), Passes())
        for s in task.chunk.samples
        if s.id in wanted and task.probabilities(s.id) is None
    ]
    error = next((o.error for o in outcomes.values() if o.error), None)
    passes = sum((o.passes for o in outcomes.values()), Passes())
    place = {s.id: i for i, s in enumerate(task.chunk.samples)}
    maps = sorted((*stored, *drawn), key=lambda m: (place[m.sample.id], m.draw))
    return MapSet(explainer, tuple(maps), passes, time.perf_counter() - start, error)


MapRequest = tuple[Sample, int, int]
"""Sample, target and draw of a map."""


def run_explainer(
    bench: Bench, explainer: Use, requests: Sequence[MapRequest]
) -> dict[tuple[str, int], Done[Explanation]]:
    """The maps of an explainer in their stored form, or the exceptions that prevented them, by sample and draw."""

    def programme(sample: Sample, target: int, draw: int) -> Programme[Explanation]:
        return (yield from bench.explanation(explainer, bench.picture(sample.id), target, draw))

    bounds = PassBounds(bench, explainer)
    samples = {sample.id: sample for sample, _, _ in requests}
    watched = Watched(
        explainer.name,
        foreign=bench.is_foreign(explainer),
        sample_of=lambda key: str(key[0]),
        bound_of=lambda key: bounds.of_map(samples[key[0]]),
    )
    programmes = (((sample.id, draw), partial(programme, sample, target, draw)) for sample, target, draw in requests)
    return run_component(bench, programmes, watched)


def unpredicted() -> Explanation:
    """What stands for the map of a sample without a prediction."""
    return Explanation(map=None, status="failed", reason="the clean prediction failed")


def _map_requests(
    bench: Bench, task: ExplainTask, explainer: Use, repeat: int, wanted: set[str]
) -> Iterator[MapRequest]:
    """The request of every map of a repeat; samples without a prediction have none."""
    draws = int(getattr(explainer.instance, "draws", 1))
    for sample, probabilities in zip(task.chunk.samples, task.clean, strict=True):
        if probabilities is not None and sample.id in wanted:
            target = resolve_target(task.setup.target, sample, probabilities, bench.detector.facts)
            for draw in range(repeat * draws, (repeat + 1) * draws):
                yield sample, target, draw


def _sample_map(sample: Sample, target: int, draw: int, done: Done[Explanation]) -> SampleMap:
    return SampleMap(sample, target, draw, explanation_of(done), done.passes)


def explanation_of(done: Done[Explanation]) -> Explanation:
    """The explanation of an outcome; of one without any, the status ``failed`` with the reason."""
    if done.value is not None:
        return done.value
    reason = describe_error(done.error) if done.error else "no explanation came back"
    return Explanation(map=None, status="failed", reason=reason)


def _read_maps(bench: Bench, task: ExplainTask, unit: ExplainUnit) -> Iterator[SampleMap]:
    samples = {s.id: s for s in task.chunk.samples}
    classes = bench.detector.facts.classes
    for row in bench.stored_rows(unit.files, unit.part.key, unit.stored):
        target = -1 if row["target"] is None else classes.index(row["target"])
        passes = Passes(row["forward"], row["backward"])
        yield SampleMap(samples[row["sample"]], target, row["repeat"], map_rows.from_row(row), passes)


def map_result(
    unit: ExplainUnit, maps: MapSet, run: str, bench: Bench | None, passes: Passes, seconds: float
) -> CellResult:
    """The rows of the maps of the samples that are due. ``bench`` is None where no map was drawn at all."""
    due = maps.of(unit.part)
    tables = {}
    if unit.keep:
        columns = columns_of(run, unit.part)
        classes = bench.detector.facts.classes if bench else ()
        rows = [{**columns, **_map_columns(m, classes)} for m in due]
        tables["maps"] = pa.Table.from_pylist(rows, schema=MAPS)
    failures = [m.explanation.reason for m in due if m.explanation.status == "failed"]
    return result_of(
        unit.part,
        tables,
        statuses_of(unit.part, due),
        detector=bench.detector if bench else None,
        error=maps.error,
        reason=failure_reason(failures, len(due), "maps"),
        kept=unit.keep,
        seconds=seconds,
        passes=passes,
    )


def statuses_of(part: CellPart, maps: list[SampleMap]) -> dict[str, list[str]]:
    """The statuses of the maps of each sample."""
    found: dict[str, list[str]] = {s: [] for s in part.due}
    for m in maps:
        found[m.sample.id].append(m.explanation.status)
    return found


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
