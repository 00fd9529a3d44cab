"""Explain units: the saliency maps of one explainer on one shard, then the scores that hang on them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from xaibench.api import Explanation, Passes, Programme, Sample, describe_error, resolve_target, trace_of
from xaibench.discovery.components import Use
from xaibench.plan.tasks import ExplainTask, ExplainUnit, UnitResult
from xaibench.run.measure import Drawn, MapOf, commonest, measure
from xaibench.run.memory import peak_memory
from xaibench.run.workbench import Bench, Workbench
from xaibench.store import map_rows
from xaibench.store.folder import broken
from xaibench.store.schema import MAPS

if TYPE_CHECKING:
    from xaibench.api import Done


def explain(workbench: Workbench, task: ExplainTask) -> Iterator[UnitResult]:
    """Draw, then score, unit by unit; units later in the task may ask for the maps of earlier ones."""
    detector = workbench.detector(task.detector)
    bench = workbench.bench(detector, task.shard, task.setup)
    bench.remember_artefacts(task.artefacts)
    owed = Passes()  # of maps that were drawn again for another unit's sake: counted with the next result
    for unit in task.units:
        drawn = draw(bench, task, unit, workbench.use(unit.ref))
        if unit.commit:
            yield _owing(_unit_result(bench, task, drawn), owed)
        owed = Passes() if unit.commit else owed + drawn.passes
        for score in unit.scores:
            yield _owing(measure(bench, task, drawn, score, workbench.use(score.ref)), owed)
            owed = Passes()


def _owing(result: UnitResult, owed: Passes) -> UnitResult:
    return replace(result, passes=result.passes + owed)


def draw(bench: Bench, task: ExplainTask, unit: ExplainUnit, use: Use) -> Drawn:
    """The maps of a unit: from the store if they were kept, else drawn."""
    began = time.perf_counter()
    if unit.stored is not None:
        maps = tuple(_stored(bench, task, unit.stored))
        for m in maps:
            bench.remember(use.name, m.sample.id, m.target, m.draw, m.explanation)
        return Drawn(unit, use, maps, Passes(), 0.0, None)
    wanted = list(_wanted(bench, task, use, unit.repeat))
    found: dict[tuple[str, int], Done[Explanation]] = dict(
        bench.engine().run(
            ((sample.id, d), partial(_one, bench, use, sample, target, d)) for sample, target, d in wanted
        )
    )
    maps = tuple(_map_of(sample, target, d, found[sample.id, d]) for sample, target, d in wanted)
    failed = [s for s, clean in zip(task.shard.samples, task.clean, strict=True) if clean is None]
    maps += tuple(MapOf(s, -1, unit.repeat, _unpredicted(), Passes()) for s in failed)
    error = next((f.error for f in found.values() if f.error), None)
    passes = sum((f.passes for f in found.values()), Passes())
    return Drawn(unit, use, maps, passes, time.perf_counter() - began, error)


def draws_of(use: Use) -> int:
    """Independent maps that an explainer draws a sample in one repeat."""
    return int(getattr(use.instance, "draws", 1))


def _wanted(bench: Bench, task: ExplainTask, use: Use, repeat: int) -> Iterator[tuple[Sample, int, int]]:
    draws = draws_of(use)
    for sample, clean in zip(task.shard.samples, task.clean, strict=True):
        if clean is not None:
            target = resolve_target(task.setup.target, sample, clean, bench.detector.facts)
            for d in range(repeat * draws, (repeat + 1) * draws):
                yield sample, target, d


def _one(bench: Bench, use: Use, sample: Sample, target: int, draw_number: int) -> Programme[Explanation]:
    picture = bench.picture(sample.id)
    result = yield from bench.explanation(use, picture, target, draw_number)
    return result


def _map_of(sample: Sample, target: int, draw_number: int, done: Done[Explanation]) -> MapOf:
    if done.error is not None or done.value is None:
        why = describe_error(done.error) if done.error else "no explanation came back"
        failed = Explanation(map=None, status="failed", reason=why)
        return MapOf(sample, target, draw_number, failed, done.passes)
    return MapOf(sample, target, draw_number, done.value, done.passes)


def _unpredicted() -> Explanation:
    return Explanation(map=None, status="failed", reason="the clean prediction failed")


def _stored(bench: Bench, task: ExplainTask, stored: str) -> Iterator[MapOf]:
    import pyarrow.parquet as pq

    try:
        rows = pq.read_table(stored).to_pylist()
    except (OSError, pa.ArrowInvalid) as error:
        raise broken(Path(stored), error) from error
    samples = {s.id: s for s in task.shard.samples}
    classes = bench.detector.facts.classes
    for row in rows:
        target = -1 if row["target"] is None else classes.index(row["target"])
        passes = Passes(row["forward"], row["backward"])
        yield MapOf(samples[row["sample"]], target, row["repeat"], map_rows.from_row(row), passes)


def _unit_result(bench: Bench, task: ExplainTask, drawn: Drawn) -> UnitResult:
    failed = [m.explanation.reason for m in drawn.maps if m.explanation.status == "failed"]
    error = drawn.error
    staged = {"maps": _stage_maps(bench, task, drawn)} if drawn.unit.keep else {}
    return UnitResult(
        key=drawn.unit.key, kind="explain", model=task.detector.model, member=task.detector.member,
        dataset=task.shard.dataset, explainer=drawn.unit.name, metric=None, start=task.shard.start,
        stop=task.shard.stop, status="failed" if failed else "ok",
        reason=f"{len(failed)} of {len(drawn.maps)} maps failed: {commonest(failed)}" if failed else "",
        error=describe_error(error) if error else "", trace=trace_of(error) if error else "",
        seconds=drawn.seconds, passes=drawn.passes, device=str(bench.detector.device),
        peak_memory=peak_memory(), staged=staged,
    )  # fmt: skip


def _stage_maps(bench: Bench, task: ExplainTask, drawn: Drawn) -> str:
    from xaibench.api import stage_table

    classes = bench.detector.facts.classes
    rows = [_map_row(task, drawn.unit, m, classes) for m in drawn.maps]
    table = pa.Table.from_pylist(rows, schema=MAPS)
    return str(stage_table(table, task.setup.staging, drawn.unit.key))


def _map_row(task: ExplainTask, unit: ExplainUnit, m: MapOf, classes: tuple[str, ...]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "run": task.setup.run, "unit": unit.key, "model": task.detector.model, "member": task.detector.member,
        "dataset": task.shard.dataset, "sample": m.sample.id, "view": "", "explainer": unit.name,
        "target": classes[m.target] if m.target >= 0 else None, "repeat": m.draw, "height": 0, "width": 0,
        "forward": m.passes.forward, "backward": m.passes.backward,
    }  # fmt: skip
    return row | map_rows.to_row(m.explanation)
