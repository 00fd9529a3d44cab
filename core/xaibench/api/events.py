"""Events of a run, and the protocol of listeners that receive them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from xaibench.api.passes import Passes
from xaibench.api.vocabulary import Status

Output = Literal["text", "json", "none"]
"""What the command prints: text for people, one JSON object, or nothing but failures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunBegins:
    """A run begins. ``run`` is the id of this invocation, ``out`` the folder that it fills."""

    run: str
    out: Path
    output: Output


@dataclass(frozen=True, slots=True, kw_only=True)
class StageBegins:
    """A stage of the run begins: ``predict``, ``artefacts``, ``explain``, ``sets`` or ``models``.

    ``tasks`` is the number of its tasks. ``passes`` is the number of forward passes that it is expected to take: exact
    on a fresh run, an upper bound on a resumed one, 0 where it is not known.
    """

    stage: str
    tasks: int
    passes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PassesDone:
    """A detector was called. ``forward`` is the number of pictures that it received since the last such event."""

    forward: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCommitted:
    """A unit of work is in the store.

    ``kind`` is predict, artefact, explain, score, set-score or not-applicable. ``samples`` is the number of samples
    that it covers, ``seconds`` its wall time. ``reason`` says in one line why it failed; it is empty where it did not.
    """

    kind: str
    explainer: str | None
    metric: str | None
    samples: int
    status: Status
    reason: str
    seconds: float
    passes: Passes


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnds:
    """A run ends. ``interrupted`` is True where the user or an error ended it before all tasks were tried.

    ``done``, ``reused`` and ``failed`` count units of work. ``seconds`` is wall time.
    """

    run: str
    out: Path
    done: int
    reused: int
    failed: int
    passes: Passes
    seconds: float
    interrupted: bool
    output: Output


class Listener(Protocol):
    """Receives the events of a run, in the process of the driver. One object is built for each run.

    Every method is optional. An exception of a listener is reported on stderr; that listener receives no further
    events, and the run goes on. A listener prints to stdout only where ``output`` is ``text``.
    """

    def run_begins(self, event: RunBegins) -> None: ...
    def stage_begins(self, event: StageBegins) -> None: ...
    def passes_done(self, event: PassesDone) -> None: ...
    def task_committed(self, event: TaskCommitted) -> None: ...
    def run_ends(self, event: RunEnds) -> None: ...
