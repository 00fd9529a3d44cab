"""The local executor: runs tasks in this process, or in spawned worker processes with one task at a time each."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from types import ModuleType
from typing import TypeVar

from pydantic import Field

from xaibench.api import Lost, Parameters

TaskT = TypeVar("TaskT")
OutcomeT = TypeVar("OutcomeT")


class LocalParameters(Parameters):
    jobs: int = Field(1, ge=1, le=1024, description="worker processes; 1 runs in this process")
    retries: int = Field(1, ge=0, le=100, description="times a task is tried again after its worker died")


class LocalExecutor:
    """Runs tasks on this machine.

    With one job, tasks run in this process. With several, each worker is a spawned process, since torch and OpenMP do
    not survive a fork. A worker runs one task at a time, so that no other task is lost where it dies. Workers end with
    the driver, however that ends. Workers know nothing of the script that runs the driver.
    """

    Parameters = LocalParameters

    def __init__(self, parameters: LocalParameters) -> None:
        self.parameters = parameters
        self._workers: list[ProcessPoolExecutor] = []

    @property
    def in_process(self) -> bool:
        return self.parameters.jobs == 1

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
        idle: list[ProcessPoolExecutor] = []
        running: dict[Future[OutcomeT], tuple[TaskT, int, ProcessPoolExecutor]] = {}
        while True:
            while len(running) < self.parameters.jobs:
                task, tries = again.pop() if again else (next(tasks, None), 0)
                if task is None:
                    break
                worker = idle.pop() if idle else self._worker()
                try:
                    future = _submit(worker, call, task)
                except BrokenProcessPool:  # the worker died while it was idle
                    self._workers.remove(worker)
                    worker = self._worker()
                    future = _submit(worker, call, task)
                running[future] = (task, tries, worker)
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                task, tries, worker = running.pop(future)
                try:
                    result = future.result()
                except BrokenProcessPool:
                    worker.shutdown(wait=False)
                    self._workers.remove(worker)
                    if tries < self.parameters.retries:
                        again.append((task, tries + 1))
                    else:
                        yield task, Lost(f"the worker process died {f'{tries + 1} times' if tries else 'once'}")
                    continue
                idle.append(worker)
                yield task, result

    def _worker(self) -> ProcessPoolExecutor:
        worker = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"), initializer=_begin_worker)
        self._workers.append(worker)
        return worker

    def close(self) -> None:
        for worker in self._workers:
            for process in list((worker._processes or {}).values()):
                process.terminate()
            worker.shutdown(wait=False, cancel_futures=True)
        self._workers.clear()


def _submit(worker: ProcessPoolExecutor, call: Callable[[TaskT], OutcomeT], task: TaskT) -> Future[OutcomeT]:
    with _without_main():  # the first task starts the process
        return worker.submit(call, task)


@contextmanager
def _without_main() -> Iterator[None]:
    """While this lasts, a process is spawned without the caller's script, which would otherwise run again in it."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _begin_worker() -> None:
    """Ignore Ctrl-C, which reaches every process of the terminal: the driver handles it and ends the workers."""
    import signal
    import threading

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    threading.Thread(target=_end_with_driver, name="end-with-driver", daemon=True).start()


def _end_with_driver() -> None:
    """End this process when the driver ends, so that it does not compete with a resumed run.

    No partial result remains: a worker writes no file of the run.
    """
    from multiprocessing.connection import wait

    driver = multiprocessing.parent_process()
    if driver is not None:
        wait([driver.sentinel])
        os._exit(1)
