"""The executor ``ray``: tasks on actors, which keep opened detectors from one task to the next."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pydantic import Field

from xaibench.api import Lost, Parameters, PlanError
from xaibench_executors.answers import Answer, answer_of, outcome_of
from xaibench_executors.ray_cluster import RayCluster, require_ray
from xaibench_executors.task_queue import Attempt, TaskQueue, say

_POLL = 1.0  # seconds
_FAILED_STARTS = 3
_MEND = "the nodes need the environment of this process; see docs/how-to/cluster.md"


class RayParameters(Parameters):
    address: str = Field("", description="cluster: auto, HOST:PORT or ray://HOST:PORT; empty: Ray on this machine")
    jobs: int = Field(0, ge=0, le=1024, description="actors at most; 0: as many as the nodes have room for")
    num_cpus: float = Field(1.0, ge=0, le=1024, description="CPUs that an actor takes; give --threads the same number")
    num_gpus: float = Field(0.0, ge=0, le=64, description="GPUs that an actor takes; 0.5 puts two actors on one")
    resources: dict[str, float] = Field({}, description="further resources that an actor takes, by their names in Ray")
    retries: int = Field(2, ge=0, le=100, description="times a task is tried again after its actor died")
    patience: float = Field(600.0, gt=0, description="seconds to wait for the first actor")
    store_bytes: int = Field(2**30, ge=80 * 2**20, description="object store in memory, of Ray on this machine")


class TaskRunner:
    """The actor. It runs one task at a time."""

    def __init__(self) -> None:
        os.dup2(2, 1)  # nothing that runs here has an answer to print

    def begin(self, call: Callable[[Any], Any]) -> int:
        """Its process, once what unpickles the call is imported."""
        return os.getpid()

    def run(self, call: Callable[[Any], Any], task: Any) -> Answer:
        return answer_of(call, task)


class RayExecutor:
    """Runs tasks on actors of a Ray cluster.

    An actor is a process that holds the detectors that it opened. A task is asked for when an actor is free, so there
    is one task and one outcome an actor at most. An outcome lies in Ray's object store, which spills to disk, until
    this process takes it; it takes one at a time.

    The first actor begins with the first task, the others when another task waits. A task whose actor died is tried
    again on another one, ``retries`` times; where the node died, without being counted. A node that joins gets actors.
    """

    Parameters = RayParameters

    def __init__(self, parameters: RayParameters) -> None:
        require_ray()
        self.parameters = parameters
        self._connection: RayCluster | None = None
        self._starting: dict[Any, Any] = {}  # from the reference of their first call to actors
        self._idle: list[Any] = []
        self._running: dict[Any, tuple[Any, Attempt]] = {}  # from references of outcomes
        self._failed_starts = 0
        self._waits_since = 0.0

    def run(self, tasks: Iterable[Any], call: Callable[[Any], Any]) -> Iterator[tuple[Any, Any]]:
        queue = TaskQueue(tasks, self.parameters.retries)
        while True:
            while self._idle and (attempt := queue.next()) is not None:
                actor = self._idle.pop()
                self._running[actor.run.remote(call, attempt.task)] = (actor, attempt)
            waits = not self._idle and queue.has_next()
            if not self._running and not waits:
                return
            if waits:
                self._start_actors(call)
            yield from self._finished(queue)

    def _start_actors(self, call: Callable[[Any], Any]) -> None:
        """Begin one actor and, once one has work, all that there may be."""
        limit = self._limit() if self._running else 1
        count = len(self._starting) + len(self._running)
        for _ in range(count, limit):
            actor = self._actor_class().remote()
            self._starting[actor.begin.remote(call)] = actor
            self._waits_since = time.monotonic()

    def _limit(self) -> int:
        """The number of actors that there may be."""
        return self.parameters.jobs or max(1, self._cluster.room(self._needs))

    @property
    def _needs(self) -> dict[str, float]:
        return {"CPU": self.parameters.num_cpus, "GPU": self.parameters.num_gpus, **self.parameters.resources}

    @property
    def _cluster(self) -> RayCluster:
        """The cluster, joined when it is first asked for."""
        if self._connection is None:
            p, cores = self.parameters, os.cpu_count() or 1
            cpus = max(cores, math.ceil(p.num_cpus * (p.jobs or 1)))
            self._connection = RayCluster(p.address, cpus, p.store_bytes)
        return self._connection

    def _actor_class(self) -> Any:
        p = self.parameters
        options = {"num_cpus": p.num_cpus, "num_gpus": p.num_gpus, "resources": p.resources, "max_restarts": 0}
        return self._cluster.ray.remote(TaskRunner).options(**options)

    def _finished(self, queue: TaskQueue) -> Iterator[tuple[Any, Any]]:
        """Wait a while for actors that began and for outcomes; the outcomes."""
        ready, _ = self._cluster.ray.wait([*self._running, *self._starting], timeout=_POLL)
        for reference in ready:
            if reference in self._starting:
                self._began(reference)
            else:
                yield from self._outcome(reference, queue)
        if not ready and not self._running and time.monotonic() - self._waits_since > self.parameters.patience:
            needs = ", ".join(f"{amount:g} {name}" for name, amount in self._needs.items() if amount)
            raise PlanError(
                f"no node gave an actor {needs} in {self.parameters.patience:g} s; the cluster has "
                f"{self._cluster.shape()}",
                "ask for less with executor.ray.num_cpus and num_gpus, or wait longer with executor.ray.patience",
            )

    def _began(self, reference: Any) -> None:
        """Take an actor whose process runs. Raises :class:`PlanError` where several in a row do not get so far."""
        actor = self._starting.pop(reference)
        try:
            self._cluster.ray.get(reference)
        except self._cluster.ray.exceptions.RayError as error:
            self._failed_starts += 1
            if self._failed_starts >= _FAILED_STARTS:
                raise PlanError(
                    f"{_FAILED_STARTS} Ray actors in a row did not begin: {reason_of(error)}",
                    _MEND,
                ) from error
            return
        self._failed_starts = 0
        self._idle.append(actor)

    def _outcome(self, reference: Any, queue: TaskQueue) -> Iterator[tuple[Any, Any]]:
        """The outcome of a task, unless it is tried again."""
        actor, attempt = self._running.pop(reference)
        exceptions = self._cluster.ray.exceptions
        try:
            answer = self._cluster.ray.get(reference)
        except exceptions.RayTaskError as error:
            raise PlanError(f"a Ray actor cannot run tasks: {reason_of(error)}", _MEND) from error
        except exceptions.RayError as error:
            self._cluster.ray.kill(actor)
            if is_of_node(error):
                queue.put_back(attempt)
                say(f"{reason_of(error)}: its task runs again")
                return
            outcome = Lost(reason_of(error))
        else:
            self._idle.append(actor)
            outcome = outcome_of(answer)
        yield from queue.finish(attempt, outcome)

    def close(self) -> None:
        """End the actors, whatever they are doing, and the connection."""
        if self._connection is None:
            return
        for actor in [*self._starting.values(), *self._idle, *(actor for actor, _ in self._running.values())]:
            self._connection.ray.kill(actor)
        self._starting, self._idle, self._running = {}, [], {}
        self._connection.close()
        self._connection = None


def is_of_node(error: Exception) -> bool:
    """Whether a loss is that of a machine, to which no task is to blame."""
    return bool(getattr(error, "preempted", False)) or "node has died" in str(error)


def reason_of(error: Exception) -> str:
    """Why an actor is lost, in one line: what Ray says last, with process and address."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    facts = [line for line in lines if line.startswith(("pid:", "ip:"))]
    last = lines[-1].partition("There are some potential root causes")[0] if lines else ""
    return f"a Ray actor ({', '.join(facts) or type(error).__name__}) died: {last.strip()}"[:400]
