"""The local executor: runs tasks in this process, or in worker processes with one task at a time each."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from pydantic import Field

from xaibench.api import Lost, Parameters
from xaibench.run.worker_process import POLL, Answer, WorkerProcess

TaskT = TypeVar("TaskT")
OutcomeT = TypeVar("OutcomeT")


_SPARE: list[WorkerProcess] = []


def start_early(call: Callable[[Any], Any], argument: Any) -> None:
    """Start a worker process for the next executor with a call that gets it ready."""
    end_early()  # one of a plan that was never run: variables and plugins may have changed since
    _SPARE.append(WorkerProcess(queue.SimpleQueue()))
    _SPARE[0].submit(call, argument, for_later=True)


def end_early() -> None:
    """End a worker process that no executor has taken."""
    while _SPARE:
        _SPARE.pop().end()


class LocalParameters(Parameters):
    jobs: int = Field(1, ge=1, le=1024, description="worker processes; 1 runs in this process")
    retries: int = Field(1, ge=0, le=100, description="times a task is tried again after its worker died")
    isolated: bool = Field(False, description="run in a worker process with one job, too")


class LocalExecutor:
    """Runs tasks on this machine.

    With one job, tasks run in this process, unless they are isolated. Otherwise each worker is a process of its own,
    which is started anew and not forked, since torch and OpenMP do not survive a fork. A worker runs one task at a
    time, so that no other task is lost where it dies. Workers end with the driver, however that ends. They know nothing
    of the script that runs the driver.
    """

    Parameters = LocalParameters

    def __init__(self, parameters: LocalParameters) -> None:
        self.parameters = parameters
        self._answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        self._workers: list[WorkerProcess] = []
        self._idle: list[WorkerProcess] = []  # they stay for the next stage, with the components that they opened

    @property
    def in_process(self) -> bool:
        return self.parameters.jobs == 1 and not self.parameters.isolated

    def run(self, tasks: Iterable[TaskT], call: Callable[[TaskT], OutcomeT]) -> Iterator[tuple[TaskT, OutcomeT | Lost]]:
        if self.in_process:
            for task in tasks:
                yield task, call(task)
            return
        yield from self._run_workers(iter(tasks), call)

    def _run_workers(
        self, tasks: Iterator[TaskT], call: Callable[[TaskT], OutcomeT]
    ) -> Iterator[tuple[TaskT, OutcomeT | Lost]]:
        """Each task is taken when a worker is free, so that its size follows from those before it."""
        again: list[tuple[TaskT, int]] = []
        running: dict[WorkerProcess, tuple[TaskT, int]] = {}
        while True:
            while len(running) < self.parameters.jobs:
                task, tries = again.pop() if again else (next(tasks, None), 0)
                if task is None:
                    break
                worker = self._idle.pop() if self._idle else self._worker()
                worker.submit(call, task)
                running[worker] = (task, tries)
            if not running:
                return
            answer = self._next_answer(running)
            if answer is None or answer.is_stale or answer.kind == "ready":
                continue
            worker = answer.worker
            if worker not in running:  # it died between two tasks
                worker.end()
                continue
            task, tries = running.pop(worker)
            self._idle.append(worker)
            if answer.kind == "raised":
                raise answer.value
            if answer.kind == "outcome":
                if getattr(answer.value, "spoilt", None):  # the next task gets another process
                    worker.end()
                yield task, answer.value
                continue
            lost = worker.lost(hung=answer.value == "late")
            worker.end()
            if not lost.component and tries < self.parameters.retries:
                again.append((task, tries + 1))
            else:
                yield task, lost

    def _next_answer(self, running: Iterable[WorkerProcess]) -> Answer | None:
        """The next answer of a worker. One that has died, or whose component takes too long, has ended. None where
        there is no answer yet."""
        try:
            return self._answers.get(timeout=POLL)
        except queue.Empty:
            for worker in running:
                if worker.has_ended or worker.is_late():
                    return Answer(worker, worker.process, "ended", None if worker.has_ended else "late")
            return None

    def _worker(self) -> WorkerProcess:
        worker = _SPARE.pop() if _SPARE else WorkerProcess(self._answers, len(self._workers))
        worker.answers = self._answers
        self._workers.append(worker)
        return worker

    def close(self) -> None:
        for worker in self._workers:
            worker.end()
        self._workers.clear()
        self._idle.clear()
