"""What a run tells while it goes on, and who listens."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from xaibench.api.passes import Passes
from xaibench.api.vocabulary import Status

Output = Literal["text", "json", "none"]
"""What the command was asked to print: a person's text, one JSON object, or nothing but failures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunBegins:
    """A plan is about to be carried out. ``run`` is the id of this invocation, ``out`` the folder that it fills."""

    run: str
    out: Path
    output: Output


@dataclass(frozen=True, slots=True, kw_only=True)
class StageBegins:
    """A stage of the run begins: ``predict``, ``artefacts``, ``explain``, ``sets`` or ``models``.

    ``passes``: forward passes that it is expected to take; exact on a fresh run, an upper bound on a resumed one.
    """

    stage: str
    tasks: int
    passes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PassesDone:
    """A detector was called: ``forward`` pictures have gone through it since the last such event."""

    forward: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCommitted:
    """A piece of work is in the store. ``kind``: predict, artefact, explain, score, set-score or not-applicable.

    ``reason`` says in one line why it failed; empty where it did not.
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
    """A run is over: everything was tried, or (``interrupted``) somebody or an error ended it before that."""

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
    """Hears of a run from its driver, in the driver's process; built from its parameters, one for each run.

    Every method is optional. An exception of a listener is said once on stderr, and that listener hears no more; the
    run goes on. Print to stdout only where ``output`` is ``text``.
    """

    def run_begins(self, event: RunBegins) -> None: ...
    def stage_begins(self, event: StageBegins) -> None: ...
    def passes_done(self, event: PassesDone) -> None: ...
    def task_committed(self, event: TaskCommitted) -> None: ...
    def run_ends(self, event: RunEnds) -> None: ...
