"""The tasks of a run, and those that are tried again since a worker died."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from xaibench.api import Lost, printable, redact


@dataclass(frozen=True, slots=True)
class Attempt:
    """A task, and how many workers it has lost.

    ``suspect``: a pool broke while it ran, and may break again. It runs alone until it has an outcome.
    """

    task: Any
    losses: int = 0
    suspect: bool = False


class TaskQueue:
    """Hands out tasks one at a time. ``tasks`` cuts a task when it is asked for one; ``retries`` is the number of
    times that a task is tried again."""

    def __init__(self, tasks: Iterable[Any], retries: int) -> None:
        self._tasks = iter(tasks)
        self._retries = retries
        self._again: list[Attempt] = []

    def next(self) -> Attempt | None:
        """The next task, first those that are tried again; None where none is left."""
        if self._again:
            return self._again.pop()
        task = next(self._tasks, None)
        return None if task is None else Attempt(task)

    def has_next(self) -> bool:
        """Whether there is a task. It is cut then."""
        attempt = self.next()
        if attempt is not None:
            self._again.append(attempt)
        return attempt is not None

    @property
    def has_suspects(self) -> bool:
        """Whether a task waits that has to run alone."""
        return any(attempt.suspect for attempt in self._again)

    def put_back(self, attempt: Attempt, *, suspect: bool = False) -> None:
        """A task that is tried again without any blame, or under suspicion."""
        self._again.append(replace(attempt, suspect=attempt.suspect or suspect))

    def finish(self, attempt: Attempt, outcome: Any) -> Iterator[tuple[Any, Any]]:
        """The task with its outcome. Nothing where it is tried again, which is said on stderr: its worker died, no
        component is known to be the cause, and it was not tried often enough."""
        if isinstance(outcome, Lost) and not outcome.component and attempt.losses < self._retries:
            self._again.append(replace(attempt, losses=attempt.losses + 1))
            say(f"{outcome.reason}: its task runs again")
        else:
            yield attempt.task, outcome


def say(line: str) -> None:
    """Say on stderr what a user should know and a run goes on after."""
    print(printable(redact(" ".join(line.split()))), file=sys.stderr)
