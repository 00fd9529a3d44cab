"""Running tasks, in the driver's process or in a worker's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from xaibench.api import StoreError, describe_error, trace_of
from xaibench.plan.tasks import ArtefactTask, ExplainTask, ModelTask, PredictTask, SetTask, Task, UnitResult
from xaibench.run.explain import explain
from xaibench.run.make_artefacts import make_artefacts
from xaibench.run.measure_sets import measure_model, measure_set
from xaibench.run.predict import predict
from xaibench.run.workbench import Workbench

_RUNNERS: dict[type, Callable[[Workbench, Any], Iterator[UnitResult]]] = {
    PredictTask: predict,
    ArtefactTask: make_artefacts,
    ExplainTask: explain,
    SetTask: measure_set,
    ModelTask: measure_model,
}
_WORKBENCH: list[Workbench] = []


@dataclass(slots=True)
class TaskOutcome:
    """What a worker returns: the results of the units that finished, and the error that ended the task, if any."""

    results: list[UnitResult]
    error: str = ""
    trace: str = ""


def run_in_worker(task: Task) -> TaskOutcome:
    """Run a task in a worker process. Opened components are kept for the next task."""
    outcome = TaskOutcome([])
    try:
        if not _WORKBENCH:
            _WORKBENCH.append(Workbench(task.setup))
        for result in run_task(_WORKBENCH[0], task):
            outcome.results.append(result)
    except StoreError:
        raise
    except (Exception, SystemExit) as error:
        outcome.error, outcome.trace = describe_error(error), trace_of(error)
    return outcome


def run_task(workbench: Workbench, task: Task) -> Iterator[UnitResult]:
    """Yield the result of each unit of a task as it finishes."""
    return _RUNNERS[type(task)](workbench, task)
