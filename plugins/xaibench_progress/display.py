"""Progress: rich bars with rate and time left on a terminal, one line that changes in a notebook, one line a stage on
stderr elsewhere.

A listener of ``xaibench_run_events``.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Protocol

from xaibench.api import (
    Parameters,
    PassesDone,
    RunBegins,
    RunEnds,
    StageBegins,
    TaskCommitted,
    make_console,
    printable,
)
from xaibench_progress.notebook_line import notebook_line

if TYPE_CHECKING:
    from rich.progress import TaskID

_STAGES = {
    "structure": "looking at the detector",
    "predict": "predicting",
    "detectors": "measuring the detector and its card",
    "artefacts": "making what explainers share",
    "explain": "explaining and scoring",
    "sets": "scoring whole sets",
    "models": "measuring detectors",
}


class Display(Protocol):
    """A way to show the same things."""

    def stage(self, name: str, passes: int) -> None: ...
    def advance(self, passes: int) -> None: ...
    def say(self, text: str) -> None: ...
    def close(self, complete: bool) -> None: ...


class Progress:
    """A line in a notebook, bars where stderr is a terminal, lines elsewhere.

    Where nothing is to be printed, what failed alone.
    """

    def __init__(self, parameters: Parameters) -> None:
        self._display: Display = Failures()
        self._verbose = False

    def run_begins(self, event: RunBegins) -> None:
        self._verbose = event.verbose
        if event.output != "none":
            self._display = notebook_line() or (Bars() if sys.stderr.isatty() else Lines())
        for line in event.plan if event.verbose else ():
            if line.startswith("cell: "):
                self._display.say(line)

    def stage_begins(self, event: StageBegins) -> None:
        self._display.stage(_STAGES.get(event.stage, event.stage), event.passes)

    def passes_done(self, event: PassesDone) -> None:
        self._display.advance(event.forward)

    def task_committed(self, event: TaskCommitted) -> None:
        if event.status == "failed":
            what = " ".join(x for x in (event.explainer, event.metric) if x) or event.kind
            self._display.say(f"failed: {what}: {event.reason}")
        elif self._verbose:
            self._display.say(event.line)

    def run_ends(self, event: RunEnds) -> None:
        self._display.close(complete=not event.interrupted)


class Bars:
    """A bar of detector passes for each stage."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self._progress = RichProgress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[rate]}"), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
            # stdout keeps its place: prints of plugins go to stderr, where they come out above the bar.
            console=make_console(stderr=True), redirect_stdout=False,
        )  # fmt: skip
        self._bar: TaskID | None = None
        self._began = time.monotonic()
        self._progress.start()

    def stage(self, name: str, passes: int) -> None:
        self._finish()
        self._began = time.monotonic()
        self._bar = self._progress.add_task(name, total=passes or None, rate="")

    def advance(self, passes: int) -> None:
        if self._bar is None:
            return
        done = self._progress.tasks[self._bar].completed + passes
        seconds = max(time.monotonic() - self._began, 1e-3)
        self._progress.update(self._bar, advance=passes, rate=f"{done / seconds:,.0f} passes/s")

    def say(self, text: str) -> None:
        self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def close(self, complete: bool) -> None:
        if complete:
            self._finish()
        self._progress.stop()

    def _finish(self) -> None:
        if self._bar is not None:
            total = self._progress.tasks[self._bar].completed or 1
            self._progress.update(self._bar, total=total, completed=total)


class Failures:
    """A line for each cell of which a task fails, and no progress."""

    def stage(self, name: str, passes: int) -> None: ...

    def advance(self, passes: int) -> None: ...

    def say(self, text: str) -> None:
        print(printable(text), file=sys.stderr, flush=True)

    def close(self, complete: bool) -> None: ...


class Lines(Failures):
    """A line when a stage begins, and at most one every ten seconds while it goes on."""

    def __init__(self) -> None:
        self._done, self._total, self._name = 0, 0, ""
        self._began = self._said = time.monotonic()

    def stage(self, name: str, passes: int) -> None:
        self._name, self._done, self._total = name, 0, passes
        self._began = self._said = time.monotonic()
        self.say(f"{self._name}: {passes:,} passes" if passes else self._name)

    def advance(self, passes: int) -> None:
        self._done += passes
        now = time.monotonic()
        if now - self._said < 10:
            return
        self._said = now
        rate = self._done / max(now - self._began, 1e-3)
        # A stage may go on for long before its first pass, and then nothing tells how long it takes.
        left = f", {max(self._total - self._done, 0) / rate:,.0f} s left" if self._total and rate else ""
        total = f" of {self._total:,}" if self._total else ""
        self.say(f"{self._name}: {self._done:,}{total} passes, {rate:,.0f} passes/s{left}")
