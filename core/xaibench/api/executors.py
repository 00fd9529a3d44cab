"""Executors, and the constructor that all components share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from xaibench.api.parameters import Parameters


TaskT = TypeVar("TaskT")
OutcomeT = TypeVar("OutcomeT")


class Executor(Protocol):
    """Runs tasks and yields each task with its outcome as it finishes, in any order.

    A task holds names, parameters, digests and sample ids but no live objects, so it can be pickled. ``call`` takes a
    task and returns its outcome. It can be pickled, too, and brings along what another process needs of the driver's:
    search path, working directory, secrets. It raises :class:`XaibenchError` where code or libraries are others than
    the driver's; that and any other exception of it are to be raised in the driver. The outcome of a task whose worker
    died is a :class:`Lost`. ``close`` ends the workers.

    ``tasks`` is an iterator that cuts a task when it is asked for one, by the time that earlier tasks took. An executor
    that asks only when a worker is free gets tasks of about a minute; one that takes all at once gets small ones.

    A process runs one task at a time; calls in further threads wait. Workers are spawned processes, since torch does
    not survive a fork, or other machines that see the same files. A run builds one executor and calls ``run`` once for
    each stage, and again for tasks that were cut. Each task has to come back once, with its own outcome.
    ``--jobs`` sets the parameter ``jobs``; an executor without it refuses more than one job. Optional attribute
    ``in_process: bool``: tasks run in the driver's process, one after another, with the components that it has opened.

    Example::

        class Pool:
            def __init__(self, parameters):
                self.pool = ProcessPoolExecutor(2, mp_context=get_context("spawn"))

            def run(self, tasks, call):
                futures = {self.pool.submit(call, task): task for task in tasks}
                for future in as_completed(futures):
                    yield futures[future], future.result()

            def close(self):
                self.pool.shutdown(cancel_futures=True)
    """

    def run(
        self, tasks: Iterable[TaskT], call: Callable[[TaskT], OutcomeT]
    ) -> Iterator[tuple[TaskT, OutcomeT | Lost]]: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Lost:
    """The outcome of a task whose worker died before it returned.

    Parameters
    ----------
    reason: one line.
    component, sample: the component whose code ran, and the sample; empty where that is not known.
    hung: the worker was ended, since the component took longer than it may.
    """

    reason: str
    component: str = ""
    sample: str = ""
    hung: bool = False


class Component(Protocol):
    """What all components share: they are built from their validated parameters alone."""

    def __init__(self, parameters: Parameters) -> None: ...
