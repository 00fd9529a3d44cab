"""A call in a worker: what it gives, or what it raises, as something that any library carries back."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

Answer = tuple[str, Any]
"""``("outcome", the outcome)`` or ``("raised", the exception)``."""


def answer_of(call: Callable[[Any], Any], task: Any) -> Answer:
    """The outcome of a task, or the exception of its call. So whatever else is raised is of the library's making."""
    try:
        return "outcome", call(task)
    except BaseException as error:
        return "raised", _portable(error)


def outcome_of(answer: Answer) -> Any:
    """The outcome of a call. Raises what it raised."""
    kind, value = answer
    if kind == "raised":
        raise value
    return value


def _portable(error: BaseException) -> BaseException:
    """The error, or where it cannot be pickled one that says the same."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
