"""The executor ``futures``: tasks on any pool that keeps the interface of ``concurrent.futures``."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pydantic import Field

from xaibench.api import Lost, Parameters, PlanError, describe_error
from xaibench_executors.answers import answer_of, outcome_of
from xaibench_executors.futures_pool import FuturesPool, answer_or_loss, first_done, is_break, is_loss
from xaibench_executors.task_queue import Attempt, TaskQueue, say

_MOST_BREAKS = 10  # one after another, without any outcome between them


class FuturesParameters(Parameters):
    factory: str = Field(description="MODULE:FACTORY of a concurrent.futures.Executor, or of a Dask Client")
    arguments: dict[str, Any] = Field({}, description="keywords of the factory")
    jobs: int = Field(1, ge=1, le=1024, description="tasks at once; max_workers of a factory that takes it")
    retries: int = Field(2, ge=0, le=100, description="times a task is tried again after its worker died")
    patience: float = Field(
        120.0, gt=0, description="seconds without any worker, after which a Dask Client is made anew"
    )


class FuturesExecutor:
    """Runs tasks on a pool of futures.

    At most ``jobs`` futures are in flight, and a task is asked for when there are fewer. A task whose worker died is
    tried again, ``retries`` times. A pool that broke is made anew. Nothing says which of the tasks in flight broke it,
    so they run one by one before anything else does, and only one that breaks the pool alone has lost a worker.
    """

    Parameters = FuturesParameters

    def __init__(self, parameters: FuturesParameters) -> None:
        self.parameters = parameters
        self._opened: FuturesPool | None = None
        self._running: dict[Any, Attempt] = {}
        self._breaks = 0
        self._deserted_since = math.inf

    def run(self, tasks: Iterable[Any], call: Callable[[Any], Any]) -> Iterator[tuple[Any, Any]]:
        queue = TaskQueue(tasks, self.parameters.retries)
        while True:
            while self._has_room(queue) and (attempt := queue.next()) is not None:
                if not self._submit(call, attempt):
                    queue.put_back(attempt)
                    break
            if not self._running:
                if not queue.has_next():
                    return
                continue
            done = first_done(self._running)
            self._leave_where_deserted(bool(done), queue)
            for future in done:
                if future in self._running:
                    yield from self._finished(future, queue)

    def _has_room(self, queue: TaskQueue) -> bool:
        alone = queue.has_suspects or any(attempt.suspect for attempt in self._running.values())
        return len(self._running) < (1 if alone else self.parameters.jobs)

    def _pool(self) -> FuturesPool:
        if self._opened is None:
            p = self.parameters
            self._opened = FuturesPool(p.factory, p.arguments, p.jobs)
        return self._opened

    def _submit(self, call: Callable[[Any], Any], attempt: Attempt) -> bool:
        """Give a task to the pool. False where that is broken; those in flight say so, too, as they come back."""
        try:
            future = self._pool().submit(answer_of, call, attempt.task)
        except Exception as error:
            if not is_loss(error):
                raise
            if not self._running:
                self._renew(error)
            return False
        self._running[future] = attempt
        return True

    def _finished(self, future: Any, queue: TaskQueue) -> Iterator[tuple[Any, Any]]:
        """The outcome of a future that is done, unless its task is tried again."""
        attempt = self._running.pop(future)
        answer, error = answer_or_loss(future)
        if error is not None and is_break(error):
            if self._running:
                yield from self._suspect(attempt, error, queue)
                return
            self._renew(error)
        if error is None:
            self._breaks = 0
            outcome = outcome_of(answer)
        else:
            outcome = Lost(f"a worker of {self.parameters.factory} died: {describe_error(error)}")
        yield from queue.finish(attempt, outcome)

    def _suspect(self, attempt: Attempt, error: BaseException, queue: TaskQueue) -> Iterator[tuple[Any, Any]]:
        """Put the tasks of a pool that broke back, to run one by one; the outcomes of those that had finished."""
        queue.put_back(attempt, suspect=True)
        in_flight, self._running = self._running, {}
        for future, other in in_flight.items():
            answer, loss = answer_or_loss(future)
            if loss is None:
                yield from queue.finish(other, outcome_of(answer))
            else:
                queue.put_back(other, suspect=True)
        say(f"a worker of {self.parameters.factory} died ({describe_error(error)}): what ran runs again, one by one")
        self._renew(error)

    def _leave_where_deserted(self, is_alive: bool, queue: TaskQueue) -> None:
        """Leave a pool that has had no worker for a while. Its tasks are put back."""
        if is_alive or not self._pool().is_deserted():
            self._deserted_since = math.inf
            return
        self._deserted_since = min(self._deserted_since, time.monotonic())
        if time.monotonic() - self._deserted_since < self.parameters.patience:
            return
        reason = f"no worker for {self.parameters.patience:g} s"
        say(f"{self.parameters.factory} has {reason}: it is opened anew")
        for future, attempt in self._running.items():
            future.cancel()
            queue.put_back(attempt)
        self._running, self._deserted_since = {}, math.inf
        self._renew(TimeoutError(reason))

    def _renew(self, error: BaseException) -> None:
        """Leave a pool that broke; the next task opens another one."""
        self._breaks += 1
        if self._breaks >= _MOST_BREAKS:
            raise PlanError(
                f"the pool of {self.parameters.factory} broke {self._breaks} times in a row: {describe_error(error)}",
                "what finished is kept; see what its workers print, and whether they have memory enough",
            )
        if self._opened is not None:
            self._opened.close(at_once=True)
            self._opened = None

    def close(self) -> None:
        """End the pool, whatever it is doing."""
        for future in self._running:
            future.cancel()
        if self._opened is not None:
            self._opened.close(at_once=bool(self._running))
        self._opened, self._running = None, {}
