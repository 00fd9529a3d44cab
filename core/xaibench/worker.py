"""Carrying out tasks, in this process or in a worker's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from xaibench.errors import StoreError
from xaibench.explain import draw, explain
from xaibench.make_artefacts import make_artefacts
from xaibench.measure import measure_set
from xaibench.predict import predict
from xaibench.rows import describe, trace_of
from xaibench.tasks import ArtefactTask, ExplainTask, PredictTask, SetTask, Task, UnitResult
from xaibench.workbench import Workbench

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
        done.error, done.trace = describe(error), trace_of(error)
    return done


def carry_out(workbench: Workbench, task: Task) -> Iterator[UnitResult]:
    """The results of a task's units as they finish."""
    if isinstance(task, PredictTask):
        yield from predict(workbench, task)
    elif isinstance(task, ArtefactTask):
        yield from make_artefacts(workbench, task)
    elif isinstance(task, ExplainTask):
        yield from explain(workbench, task)
    else:
        yield _measure_whole(workbench, task)


def _measure_whole(workbench: Workbench, task: SetTask) -> UnitResult:
    workbench.keep = max(workbench.keep, len(task.parts))
    drawn = []
    for parts in task.parts:
        for part in parts:
            bench = workbench.new_bench(workbench.detector(part.detector), part.shard, part.setup)
            bench.remember_artefacts(part.artefacts)
            unit = part.units[0]
            drawn.append((bench, part, draw(bench, part, unit, workbench.use(unit.ref))))
    return measure_set(task, drawn, workbench.use(task.score.ref))
