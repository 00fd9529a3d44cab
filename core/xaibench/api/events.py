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
class Display:
    """What a command was asked to print of a run.

    ``verbose``: more of the progress, on stderr. ``detail``: everything of the results; ``by``: the columns of the
    samples by which they are printed, too.
    """

    output: Output = "none"
    verbose: bool = False
    detail: bool = False
    by: tuple[str, ...] = ()


SILENT = Display()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunBegins:
    """A run begins. ``run`` is the id of this invocation, ``out`` the folder or URL that it fills.

    ``plan`` says in lines what is to be done. ``verbose``: the user wants to see each task on stderr.
    """

    run: str
    out: Path | str
    output: Output
    plan: tuple[str, ...] = ()
    verbose: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StageBegins:
    """A stage of the run begins: ``structure``, ``predict``, ``detectors``, ``artefacts``, ``explain``, ``sets`` or
    ``models``.

    ``passes`` is the number of forward passes that it is expected to take: exact or an upper bound on a fresh run, an
    estimate on a resumed one, 0 where it is not known.
    """

    stage: str
    passes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PassesDone:
    """A detector was called. ``forward`` is the number of pictures that it received since the last such event."""

    forward: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunWarning:
    """Something speaks against the detector, its card or the files of the run. ``text`` is one line, which the run
    prints on stderr, too."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCommitted:
    """What a task gave of one cell is in the store. A task may give several.

    ``kind`` is predict, artefact, explain, score, set, model or a look at the detector. ``explainer``, ``metric``,
    ``model`` and ``dataset`` are empty where the cell has none. ``samples`` is the number of samples, ``seconds`` their
    wall time. ``reason`` says in one line why some failed; it is empty where none did. ``trace`` is the traceback of a
    failure, where there is one.
    """

    kind: str
    explainer: str
    metric: str
    samples: int
    status: Status
    reason: str
    seconds: float
    passes: Passes
    model: str = ""
    dataset: str = ""
    trace: str = ""

    @property
    def line(self) -> str:
        """In one line, such as ``score gradcam deletion of demo on faces: 48 samples, 3.2 s, 816 forward passes``."""
        names = " ".join(n.replace("xaibench/", "") for n in (self.explainer, self.metric) if n)
        of = " on ".join(n.replace("xaibench/", "") for n in (self.model, self.dataset) if n)
        passes = "".join(
            f", {count:,} {word} passes"
            for word, count in (("forward", self.passes.forward), ("backward", self.passes.backward))
            if count
        )
        samples = f"{self.samples:,} samples, " if self.samples != 1 else ""
        failed = f"; failed: {self.reason}" if self.status == "failed" else ""
        return f"{self.kind} {names + ' of ' if names else ''}{of}: {samples}{self.seconds:.1f} s{passes}{failed}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnds:
    """A run ends. ``interrupted`` is True where the user or an error ended it before all tasks were tried.

    ``done``, ``reused`` and ``failed`` count results: one of each cell at each of its samples. ``seconds`` is wall
    time. ``error`` says in one line what interrupted it. ``detail`` and ``by``: whether the command was asked for
    everything, and for results by which columns of the samples, where a listener prints results.
    """

    run: str
    out: Path | str
    done: int
    reused: int
    failed: int
    passes: Passes
    seconds: float
    interrupted: bool
    output: Output
    detail: bool = False
    by: tuple[str, ...] = ()
    error: str = ""


class Listener(Protocol):
    """Receives the events of a run, in the process of the driver. One object is built for each run.

    Every method is optional. An exception of a listener is reported on stderr; that listener receives no further
    events, and the run goes on. A listener prints to stdout only where ``output`` is ``text``.
    """

    def run_begins(self, event: RunBegins) -> None: ...
    def stage_begins(self, event: StageBegins) -> None: ...
    def passes_done(self, event: PassesDone) -> None: ...
    def run_warned(self, event: RunWarning) -> None: ...
    def task_committed(self, event: TaskCommitted) -> None: ...
    def run_ends(self, event: RunEnds) -> None: ...
