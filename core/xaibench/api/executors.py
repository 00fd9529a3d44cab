"""Executors, and what every component is built from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from xaibench.api.parameters import Parameters


TaskT = TypeVar("TaskT")
OutcomeT = TypeVar("OutcomeT")


class Executor(Protocol):
    """Runs tasks somewhere and hands outcomes back as they finish, in any order.

    A task holds names, parameters, digests and sample ids, never live objects, so it can be pickled. ``call`` is a
    module-level function. A task whose worker died comes back as a :class:`Lost`. Where the optional attribute
    ``in_process`` is True, tasks run in the driver's process and may use what it has opened already.
    """

    def run(
        self, tasks: Iterable[TaskT], call: Callable[[TaskT], OutcomeT]
    ) -> Iterator[tuple[TaskT, OutcomeT | Lost]]: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Lost:
    """A task whose worker died before it answered."""

    reason: str


class Component(Protocol):
    """Every component is built from its validated parameters alone."""

    def __init__(self, parameters: Parameters) -> None: ...
