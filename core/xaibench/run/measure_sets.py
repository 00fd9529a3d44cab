"""Score units of whole sets: one metric on all maps of one explainer, or on a detector itself."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TypeAlias

from xaibench.api import MapCase, ModelCase, Passes, Picture, SetCase, Streams, UnreadablePicture
from xaibench.discovery.components import Use
from xaibench.plan.tasks import ExplainTask, ModelTask, SetTask, UnitResult
from xaibench.run.explain import draw_maps
from xaibench.run.measure import MapSet, map_case, scores_of, validate_scores
from xaibench.run.score_rows import ScoreRows, set_columns
from xaibench.run.unit_results import address_of, local_result
from xaibench.run.workbench import Bench, Workbench

if TYPE_CHECKING:
    from torch import Tensor

ShardMaps: TypeAlias = tuple[Bench, ExplainTask, MapSet]


def measure_set(workbench: Workbench, task: SetTask) -> Iterator[UnitResult]:
    """Score all maps of one explainer at once, for scope detector (one member) or family."""
    workbench.keep = max(workbench.keep, len(task.parts))
    shards, reference = _draw_shards(workbench, task.parts), _draw_shards(workbench, task.reference)
    start = time.perf_counter()
    metric = workbench.use(task.score.ref)
    members, missing = _cases(shards, metric)
    case = SetCase(
        members=members,
        missing=missing,
        explainer=task.explainer,
        streams=Streams.of(task.setup.seed, task.repeat, metric.name, "", task.explainer),
        reference=_cases(reference, metric)[0],
    )
    passes = sum((maps.passes for _, _, maps in (*shards, *reference)), Passes())
    yield _result(task, metric, case, shards[0][0], passes, start)


def measure_model(workbench: Workbench, task: ModelTask) -> Iterator[UnitResult]:
    """Score one detector on all samples, without maps."""
    detector = workbench.detector(task.detector)
    benches = [workbench.new_bench(detector, shard, task.setup) for shard in task.shards]
    start = time.perf_counter()
    metric = workbench.use(task.score.ref)
    pictures, clean, missing = _pictures(task, benches)
    case = ModelCase(
        detector=detector,
        pictures=pictures,
        clean=clean,
        missing=missing,
        streams=Streams.of(task.setup.seed, 0, metric.name, ""),
        artefacts=benches[0].artefacts(),
    )
    yield _result(task, metric, case, benches[0], Passes(), start)


def _draw_shards(workbench: Workbench, members: Sequence[Sequence[ExplainTask]]) -> list[ShardMaps]:
    """The maps of every member, shard by shard. Each shard has a bench of its own."""
    shards = []
    for task in (task for tasks in members for task in tasks):
        bench = workbench.new_bench(workbench.detector(task.detector), task.shard, task.setup)
        bench.remember_artefacts(task.artefacts)
        unit = task.units[0]
        shards.append((bench, task, draw_maps(bench, task, unit, workbench.use(unit.ref))))
    return shards


def _cases(shards: Sequence[ShardMaps], metric: Use) -> tuple[dict[str, list[MapCase]], dict[str, int]]:
    """The cases of each member, and the number of maps that are missing."""
    cases: dict[str, list[MapCase]] = {task.detector.member: [] for _, task, _ in shards}
    missing = dict.fromkeys(cases, 0)
    for bench, task, maps in shards:
        member = task.detector.member
        for m in maps.maps:
            try:
                if m.explanation.status == "ok":
                    cases[member].append(map_case(bench, task, maps.explainer, m, metric))
                else:
                    missing[member] += 1
            except UnreadablePicture:
                missing[member] += 1
    return cases, missing


def _pictures(task: ModelTask, benches: Sequence[Bench]) -> tuple[list[Picture], Tensor, int]:
    """The pictures with a prediction, their ``(N, C)`` probabilities, and how many samples are left out."""
    import torch

    pictures, rows, missing = [], [], 0
    for bench, shard, predictions in zip(benches, task.shards, task.clean, strict=True):
        for sample, probabilities in zip(shard.samples, predictions, strict=True):
            try:
                if probabilities is None:
                    missing += 1
                    continue
                pictures.append(bench.picture(sample.id))
                rows.append(probabilities)
            except UnreadablePicture:
                missing += 1
    classes = len(benches[0].detector.facts.classes)
    return pictures, torch.tensor(rows, dtype=torch.float32).reshape(len(rows), classes), missing


def _result(
    task: SetTask | ModelTask, metric: Use, case: SetCase | ModelCase, bench: Bench, map_passes: Passes, start: float
) -> UnitResult:
    specs = {s.name: s for s in metric.instance.scores}
    done = validate_scores(specs, bench.engine().run_one(lambda: metric.instance.score(case)))
    scores = scores_of(specs, done)
    address = address_of(task)
    scope, repeat = (task.scope, task.repeat) if isinstance(task, SetTask) else ("model", 0)
    rows = ScoreRows(specs.values())
    rows.add({**address.columns(task.score.key), **set_columns(scope, task.setup.seed, repeat)}, scores)
    return local_result(
        task.score.key,
        "set-score",
        address,
        bench.detector,
        done.error,
        next((s.reason for s in scores.values if s.status == "failed"), ""),
        seconds=time.perf_counter() - start,
        passes=map_passes + done.passes,
        tables=rows.tables(),
    )
