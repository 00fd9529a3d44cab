"""Scores of whole sets: one metric on all maps of one explainer, or on a detector itself."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, overload

from xaibench.api import MapCase, ModelCase, Passes, Picture, SetCase, Streams, UnreadablePicture
from xaibench.discovery.components import Use
from xaibench.plan.tasks import CellResult, ExplainTask, ModelTask, SetTask
from xaibench.run.cell_results import columns_of, result_of
from xaibench.run.explain import draw_maps
from xaibench.run.measure import SampleMap, map_case, scores_of, validate_scores
from xaibench.run.score_rows import ScoreRows, set_columns
from xaibench.run.watching import Watched, run_component
from xaibench.run.workbench import Bench, Workbench

if TYPE_CHECKING:
    from torch import Tensor


def measure_set(workbench: Workbench, task: SetTask) -> Iterator[CellResult]:
    """Score all maps of one explainer at once, for scope detector (one member) or family."""
    workbench.keep = max(workbench.keep, len(task.parts))
    start = time.perf_counter()
    metric = workbench.use(task.score.ref)
    members, reference = (
        {tasks[0].detector.member: MapCases(workbench, tasks, metric) for tasks in parts}
        for parts in (task.parts, task.reference)
    )
    case = SetCase(
        members=members,
        asked={name: cases.asked for name, cases in members.items()},
        explainer=task.explainer,
        streams=Streams.of(task.setup.seed, task.repeat, metric.name, "", task.explainer),
        reference=reference,
    )
    first = task.parts[0][0]
    bench = workbench.new_bench(first.detector, first.chunk, task.setup)
    foreign = bench.is_foreign(metric) or any(bench.is_foreign(workbench.use(t.units[0].ref)) for t in task.parts[0])
    if foreign:
        for part in task.parts:
            bench.custody().add(workbench.network(workbench.detector(part[0].detector)))
    yield _result(task, metric, case, bench, [*members.values(), *reference.values()], start, foreign)


def measure_model(workbench: Workbench, task: ModelTask) -> Iterator[CellResult]:
    """Score one detector on all samples, without maps."""
    start = time.perf_counter()
    metric = workbench.use(task.score.ref)
    bench = workbench.new_bench(task.detector, task.chunk, task.setup)
    samples = [s for s, p in zip(task.chunk.samples, task.clean, strict=True) if p is not None]
    case = ModelCase(
        detector=bench.detector,
        samples=samples,
        pictures=_Pictures(bench, [s.id for s in samples]),
        clean=_clean(task, bench),
        missing=sum(p is None for p in task.clean),
        streams=Streams.of(task.setup.seed, 0, metric.name, ""),
        artefacts=bench.artefacts(),
    )
    yield _result(task, metric, case, bench, (), start, bench.is_foreign(metric))


@dataclass
class MapCases:
    """The cases of one member's maps, some samples at a time: an iterable that can be used more than once.

    Maps in the store are read each time. Others are drawn the first time and held; ``passes`` counts what that took.
    """

    workbench: Workbench
    tasks: Sequence[ExplainTask]
    metric: Use
    passes: Passes = Passes()
    _held: dict[int, tuple[SampleMap, ...]] = field(default_factory=dict)

    @property
    def asked(self) -> int:
        """The number of maps."""
        draws = int(getattr(self.workbench.use(self.tasks[0].units[0].ref).instance, "draws", 1))
        return draws * sum(len(t.units[0].needed) for t in self.tasks)

    def __iter__(self) -> Iterator[MapCase]:
        for number, task in enumerate(self.tasks):
            bench = self.workbench.new_bench(task.detector, task.chunk, task.setup)
            explainer = self.workbench.use(task.units[0].ref)
            for m in self._maps(number, bench, task, explainer):
                try:
                    if m.explanation.status == "ok":
                        yield map_case(bench, task.probabilities, explainer, m, self.metric)
                except UnreadablePicture:  # the file broke meanwhile: the map is one of those that are missing
                    continue

    def _maps(self, number: int, bench: Bench, task: ExplainTask, explainer: Use) -> Sequence[SampleMap]:
        if number not in self._held:
            bench.remember_artefacts(task.artefacts)
            unit = task.units[0]
            found = draw_maps(bench, task, unit, explainer)
            self.passes += found.passes
            if len(unit.stored) == len(unit.needed):
                return found.maps
            self._held[number] = found.maps
        for m in self._held[number]:
            bench.remember(explainer.name, m.sample.id, m.target, m.draw, m.explanation)
        return self._held[number]


class _Pictures(Sequence[Picture]):
    """The pictures of some samples, decoded whenever they are asked for and not held."""

    def __init__(self, bench: Bench, ids: Sequence[str]) -> None:
        self._bench, self._ids = bench, ids

    def __len__(self) -> int:
        return len(self._ids)

    @overload
    def __getitem__(self, at: int) -> Picture: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Picture]: ...
    def __getitem__(self, at: int | slice) -> Picture | Sequence[Picture]:
        if isinstance(at, slice):
            return _Pictures(self._bench, self._ids[at])
        return self._bench.show(self._ids[at])


def _clean(task: ModelTask, bench: Bench) -> Tensor:
    """``(N, C)`` class probabilities of the samples that have them."""
    import torch

    rows = [p for p in task.clean if p is not None]
    return torch.tensor(rows, dtype=torch.float32).reshape(len(rows), len(bench.detector.facts.classes))


def _result(
    task: SetTask | ModelTask,
    metric: Use,
    case: SetCase | ModelCase,
    bench: Bench,
    maps: Sequence[MapCases],
    start: float,
    foreign: bool,
) -> CellResult:
    specs = {s.name: s for s in metric.instance.scores}
    watched = Watched(metric.name, foreign=foreign)
    outcomes = run_component(bench, [("", lambda: metric.instance.score(case))], watched)
    done = validate_scores(specs, outcomes[""])
    scores = scores_of(specs, done)
    scope, repeat = (task.scope, task.repeat) if isinstance(task, SetTask) else ("model", 0)
    part = task.score.part
    rows = ScoreRows(specs.values())
    rows.add({**columns_of(task.setup.run, part), **set_columns(scope, task.setup.seed, repeat)}, scores)
    return result_of(
        part,
        rows.tables(),
        {"": sorted({s.status for s in scores.values})},
        detector=bench.detector,
        error=done.error,
        reason=next((s.reason for s in scores.values if s.status == "failed"), ""),
        seconds=time.perf_counter() - start,
        passes=sum((m.passes for m in maps), done.passes),
    )
