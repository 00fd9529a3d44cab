"""Progress on stderr: rich bars with rate and time left on a terminal, one line a stage elsewhere."""

from __future__ import annotations

import sys
import time
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING

from xaibench.failures import reason_of

if TYPE_CHECKING:
    from rich.progress import TaskID

    from xaibench.tasks import UnitResult

_STAGES = {
    "predict": "predicting",
    "artefacts": "making what explainers share",
    "explain": "explaining and scoring",
    "sets": "scoring whole sets",
    "models": "measuring detectors",
}


class Bars(AbstractContextManager["Bars"]):
    """A bar of detector passes for each stage."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[rate]}"), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
            console=Console(stderr=True),
        )  # fmt: skip
        self._bar: TaskID | None = None
        self._began = time.monotonic()

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._finish()
        self._progress.stop()

    def stage(self, name: str, tasks: int, passes: int) -> None:
        self._finish()
        self._began = time.monotonic()
        self._bar = self._progress.add_task(_STAGES.get(name, name), total=passes or None, rate="")

    def advance(self, passes: int) -> None:
        if self._bar is None:
            return
        done = self._progress.tasks[self._bar].completed + passes
        seconds = max(time.monotonic() - self._began, 1e-3)
        self._progress.update(self._bar, advance=passes, rate=f"{done / seconds:,.0f} passes/s")

    def unit(self, result: UnitResult) -> None:
        if result.status == "failed":
            self._progress.console.print(_failed(result), markup=False, highlight=False, soft_wrap=True)

    def _finish(self) -> None:
        if self._bar is not None:
            total = self._progress.tasks[self._bar].completed or 1
            self._progress.update(self._bar, total=total, completed=total)


class Failures(AbstractContextManager["Failures"]):
    """A line for each unit that fails, and no progress."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def stage(self, name: str, tasks: int, passes: int) -> None: ...

    def advance(self, passes: int) -> None: ...

    def unit(self, result: UnitResult) -> None:
        if result.status == "failed":
            self._say(_failed(result))

    def _say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


class Lines(Failures):
    """A line when a stage begins, and at most one every ten seconds while it goes on."""

    def __init__(self) -> None:
        self._done, self._total, self._name = 0, 0, ""
        self._began = self._said = time.monotonic()

    def stage(self, name: str, tasks: int, passes: int) -> None:
        self._name, self._done, self._total = _STAGES.get(name, name), 0, passes
        self._began = self._said = time.monotonic()
        self._say(f"{self._name}: {tasks} tasks, {passes:,} passes")

    def advance(self, passes: int) -> None:
        self._done += passes
        now = time.monotonic()
        if now - self._said < 10:
            return
        self._said = now
        rate = self._done / max(now - self._began, 1e-3)
        left = f", {max(self._total - self._done, 0) / rate:,.0f} s left" if self._total else ""
        self._say(f"{self._name}: {self._done:,} of {self._total:,} passes, {rate:,.0f} passes/s{left}")


def _failed(result: UnitResult) -> str:
    what = " ".join(x for x in (result.explainer, result.metric) if x) or result.kind
    return f"failed: {what}: {reason_of(result)}"


def progress_display(quiet: bool) -> Bars | Failures:
    """Bars where stderr is a terminal, lines where it is not; if quiet, what failed alone."""
    if quiet:
        return Failures()
    return Bars() if sys.stderr.isatty() else Lines()
