"""Carrying out tasks, in this process or in a worker's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from xaibench.api import StoreError, describe_error, trace_of
from xaibench.plan.tasks import ArtefactTask, ExplainTask, PredictTask, SetTask, Task, UnitResult
from xaibench.run.explain import draw, explain
from xaibench.run.make_artefacts import make_artefacts
from xaibench.run.measure import Drawn
from xaibench.run.measure_sets import measure_model, measure_set
from xaibench.run.predict import predict
from xaibench.run.workbench import Bench, Workbench

_WORKBENCH: list[Workbench] = []


@dataclass(slots=True)
class Performed:
    """What a worker hands back: the units it finished, and what kept it from the others."""

    results: list[UnitResult]
    error: str = ""
    trace: str = ""


def perform(task: Task) -> Performed:
    """Carry out a task in a worker process; opened components stay for the next one."""
    done = Performed([])
    try:
        if not _WORKBENCH:
            _WORKBENCH.append(Workbench(task.setup))
        for result in carry_out(_WORKBENCH[0], task):
            done.results.append(result)
    except StoreError:
        raise
    except (Exception, SystemExit) as error:
        done.error, done.trace = describe_error(error), trace_of(error)
    return done


def carry_out(workbench: Workbench, task: Task) -> Iterator[UnitResult]:
    """The results of a task's units as they finish."""
    if isinstance(task, PredictTask):
        yield from predict(workbench, task)
    elif isinstance(task, ArtefactTask):
        yield from make_artefacts(workbench, task)
    elif isinstance(task, ExplainTask):
        yield from explain(workbench, task)
    elif isinstance(task, SetTask):
        workbench.keep = max(workbench.keep, len(task.parts))
        parts, reference = _draw_all(workbench, task.parts), _draw_all(workbench, task.reference)
        yield measure_set(task, parts, reference, workbench.use(task.score.ref))
    else:
        detector = workbench.detector(task.detector)
        benches = [workbench.new_bench(detector, shard, task.setup) for shard in task.shards]
        yield measure_model(task, benches, workbench.use(task.score.ref))


def _draw_all(workbench: Workbench, parts: Sequence[Sequence[ExplainTask]]) -> list[tuple[Bench, ExplainTask, Drawn]]:
    """The maps of every member, shard by shard, each shard with a bench of its own."""
    drawn = []
    for part in (part for member in parts for part in member):
        bench = workbench.new_bench(workbench.detector(part.detector), part.shard, part.setup)
        bench.remember_artefacts(part.artefacts)
        unit = part.units[0]
        drawn.append((bench, part, draw(bench, part, unit, workbench.use(unit.ref))))
    return drawn
