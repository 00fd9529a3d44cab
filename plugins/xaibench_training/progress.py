"""Progress of a training on stderr: a bar a run on a terminal, a line an epoch elsewhere, nothing when quiet."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING

from xaibench.api import make_console
from xaibench_training.checkpoints import Epoch, History

if TYPE_CHECKING:
    from rich.progress import TaskID


class Display(AbstractContextManager["Display"]):
    """Says nothing. ``runs`` are asked for."""

    def __init__(self, runs: int) -> None:
        self.runs = runs
        self.number, self.epochs = 0, 0

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def run(self, number: int, done: int, epochs: int) -> None:
        """A run begins, or goes on after ``done`` of its epochs."""
        self.number, self.epochs = number, epochs

    def step(self, step: int, steps: int, loss: float) -> None:
        """A step was taken; ``loss`` is the epoch's mean so far."""

    def epoch(self, epoch: Epoch, history: History) -> None:
        """An epoch was committed."""

    @property
    def title(self) -> str:
        return f"run {self.number + 1} of {self.runs}"


class Lines(Display):
    """One line when a run begins and one an epoch."""

    def run(self, number: int, done: int, epochs: int) -> None:
        super().run(number, done, epochs)
        print(f"{self.title}: {f'goes on after epoch {done}' if done else 'begins'}", file=sys.stderr, flush=True)

    def epoch(self, epoch: Epoch, history: History) -> None:
        best = ", the best so far" if history.best is epoch else ""
        print(
            f"{self.title}, epoch {epoch.epoch} of {self.epochs}: loss {epoch.loss:.4f}, validation AUC "
            f"{epoch.validation_auc:.4f}{best} ({epoch.seconds:.1f} s)",
            file=sys.stderr, flush=True,
        )  # fmt: skip


class Bars(Display):
    """A bar a run with the epoch, the loss and the validation AUC of the last epoch done."""

    def __init__(self, runs: int) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        super().__init__(runs)
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[said]}"), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
            console=make_console(stderr=True), redirect_stdout=False,
        )  # fmt: skip
        self._bar: TaskID | None = None
        self._done, self._auc = 0, ""

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def run(self, number: int, done: int, epochs: int) -> None:
        super().run(number, done, epochs)
        self._done, self._auc = done, ""
        self._bar = self._progress.add_task(self.title, total=epochs, completed=done, said="")

    def step(self, step: int, steps: int, loss: float) -> None:
        self._say(self._done + step / steps, loss)

    def epoch(self, epoch: Epoch, history: History) -> None:
        self._done, self._auc = epoch.epoch, f", AUC {epoch.validation_auc:.3f}"
        self._say(self._done, epoch.loss)

    def _say(self, completed: float, loss: float) -> None:
        assert self._bar is not None
        now = min(int(completed) + 1, self.epochs)
        said = f"epoch {now}/{self.epochs}, loss {loss:.3f}{self._auc}"
        self._progress.update(self._bar, completed=completed, said=said)


def display_for(runs: int, quiet: bool) -> Display:
    """Bars where stderr is a terminal, lines where it is not."""
    if quiet:
        return Display(runs)
    return Bars(runs) if sys.stderr.isatty() else Lines(runs)
