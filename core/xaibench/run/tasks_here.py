"""Running tasks in this process, the driver's or a worker's."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from xaibench.api import Lost, StoreError, as_exception, describe_error, parse_spec, trace_of
from xaibench.api.errors import Interference
from xaibench.discovery.registry import load_registry
from xaibench.plan.tasks import (
    AccuracyTask,
    ArtefactTask,
    CardTask,
    CellResult,
    ExplainTask,
    ModelTask,
    PredictTask,
    SetTask,
    Setup,
    StructureTask,
    Task,
)
from xaibench.run.board import Board
from xaibench.run.detector_looks import examine_structure, measure_accuracy, read_card_otherwise
from xaibench.run.explain import explain
from xaibench.run.make_artefacts import make_artefacts
from xaibench.run.measure_sets import measure_model, measure_set
from xaibench.run.predict import predict
from xaibench.run.workbench import Workbench

_RUNNERS: dict[type, Callable[[Workbench, Any], Iterator[CellResult]]] = {
    StructureTask: examine_structure,
    PredictTask: predict,
    AccuracyTask: measure_accuracy,
    CardTask: read_card_otherwise,
    ArtefactTask: make_artefacts,
    ExplainTask: explain,
    SetTask: measure_set,
    ModelTask: measure_model,
}
_WORKBENCH: list[Workbench] = []
_BOARD: list[Board] = []
_ONE_TASK = threading.Lock()


@dataclass(slots=True)
class TaskOutcome:
    """What a task gave: the results of the cells that finished, and the error that ended it, if any.

    ``spoilt`` is set where a component changed the process in a way that could not be undone. The process must run no
    further task then, and the task has to be cut.
    """

    results: list[CellResult] = field(default_factory=list)
    error: str = ""
    trace: str = ""
    spoilt: Lost | None = None


def use_board(path: str | None) -> None:
    """Say on a page of memory from now on what this process is doing."""
    try:
        _BOARD[:] = [Board(path)]
    except OSError:  # somebody cleans the folder of temporary files: a hang is not noticed then
        _BOARD[:] = [Board()]


def get_ready(names: tuple[Sequence[str], Sequence[str], Sequence[str]]) -> None:
    """Import the plugins of a run, given by plugin files and distributions that are left out, and what some explainers
    and metrics need."""
    plugins, without, specs = names
    registry = load_registry(tuple(plugins), tuple(without))
    known = {parse_spec(spec)[0] for spec in specs}
    for component in registry.components:
        if component.record.kind in ("explainer", "metric") and {component.name, component.record.name} & known:
            component.load()


def run_in_worker(task: Task) -> TaskOutcome:
    """Run a task in a worker process. Opened components are kept for the next task of the run.

    A process runs one task at a time: a call in another thread waits.
    """
    outcome = TaskOutcome()
    with _ONE_TASK:
        run_task(_workbench(task.setup), task, outcome)
    return outcome


def _workbench(setup: Setup) -> Workbench:
    """The workbench of this process; a new one for another run, which may have other plugins."""
    if not _WORKBENCH or _WORKBENCH[0].setup.run != setup.run:
        _WORKBENCH[:] = [Workbench(setup, board=_BOARD[0] if _BOARD else Board())]
    return _WORKBENCH[0]


def run_task(workbench: Workbench, task: Task, outcome: TaskOutcome) -> None:
    """Run the components of a task one after another; what has finished stands in ``outcome``."""
    try:
        for result in _RUNNERS[type(task)](workbench, task):
            outcome.results.append(result)
    except StoreError:
        raise
    except Interference as raised:  # what cannot be undone here is undone by another process
        outcome.spoilt = Lost(str(raised), raised.component, raised.sample)
    except BaseException as raised:
        error = as_exception(raised)
        outcome.error, outcome.trace = describe_error(error), trace_of(error)
