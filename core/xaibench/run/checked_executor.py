"""An executor whose bookkeeping is checked: each task comes back once, with an outcome of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from xaibench.api import Lost, PluginError, XaibenchError, as_exception, describe_error
from xaibench.discovery.components import Use
from xaibench.plan.tasks import Task
from xaibench.run.local_executor import LocalExecutor
from xaibench.run.lost_tasks import parts_of
from xaibench.run.tasks_here import TaskOutcome

_KEPT = "what finished is kept: the same command goes on from there, with another --executor if need be"


class CheckedExecutor:
    """The executor of a run. Raises :class:`PluginError`, which names it, where it loses, repeats or swaps tasks."""

    def __init__(self, use: Use) -> None:
        self._name = use.name
        self._executor: Any = use.instance

    @property
    def in_process(self) -> bool:
        """Whether tasks run in this process, one after another."""
        return bool(getattr(self._executor, "in_process", False))

    @property
    def supervises(self) -> bool:
        """Whether it ends a worker whose component does not come back."""
        return isinstance(self._executor, LocalExecutor)

    def run(
        self, tasks: Iterable[Task], call: Callable[[Task], TaskOutcome | Lost]
    ) -> Iterator[tuple[Task, TaskOutcome | Lost]]:
        """Run tasks and yield each with its outcome."""
        given: dict[int, Task] = {}
        count = 0

        def handed_out() -> Iterator[Task]:
            nonlocal count
            for task in tasks:
                count += 1
                given[id(task)] = task
                yield task

        for task, outcome in self._answers(handed_out(), call):
            key = id(task) if id(task) in given else next((k for k, t in given.items() if t == task), None)
            if key is None:
                raise self._fault("gave back a task that it was not given, or gave one back twice")
            self._check(given[key], outcome)
            yield given.pop(key), outcome
        if given:
            raise self._fault(f"did not answer {len(given)} of {count} tasks")

    def _answers(self, tasks: Iterator[Task], call: Callable[[Task], TaskOutcome | Lost]) -> Iterator[tuple[Any, Any]]:
        try:
            for answer in self._executor.run(tasks, call):
                if not (isinstance(answer, tuple) and len(answer) == 2):
                    raise self._fault(f"gave {type(answer).__name__}, not a task with its outcome")
                yield answer
        except (XaibenchError, KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as raised:
            raise self._fault(f"failed: {describe_error(as_exception(raised))}") from raised

    def _check(self, task: Task, outcome: Any) -> None:
        if isinstance(outcome, Lost):
            return
        if not isinstance(outcome, TaskOutcome):
            raise self._fault(f"gave {type(outcome).__name__} as the outcome of a task")
        due = {part.address: part.due for part in parts_of(task)}
        if any(due.get(r.cell.address) != r.cell.samples for r in outcome.results):
            raise self._fault("gave a task the outcome of another one")

    def close(self) -> None:
        """End the executor's workers."""
        try:
            self._executor.close()
        except BaseException as raised:
            raise self._fault(f"could not be closed: {describe_error(as_exception(raised))}") from raised

    def _fault(self, what: str) -> PluginError:
        return PluginError(f"executor '{self._name}' {what}", _KEPT)
