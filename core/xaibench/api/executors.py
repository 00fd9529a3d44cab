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

    A task holds names, parameters, digests and sample ids but no live objects, so it can be pickled. ``call`` is a
    function of a module, which takes a task and returns its outcome. The outcome of a task whose worker died is a
    :class:`Lost`. ``close`` ends the workers. Optional attribute ``in_process: bool``: tasks run in the driver's
    process and use the components that it has opened.
    """

    def run(
        self, tasks: Iterable[TaskT], call: Callable[[TaskT], OutcomeT]
    ) -> Iterator[tuple[TaskT, OutcomeT | Lost]]: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Lost:
    """The outcome of a task whose worker died before it returned. ``reason`` is one line."""

    reason: str


class Component(Protocol):
    """What all components share: they are built from their validated parameters alone."""

    def __init__(self, parameters: Parameters) -> None: ...
