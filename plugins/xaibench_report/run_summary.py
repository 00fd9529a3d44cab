"""The view ``run.summary()``: the answer of a run, as text, in a notebook and as data."""

from __future__ import annotations

from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING, Any

from xaibench_report.answer.run_answer import Answer
from xaibench_report.page.html_templates import render
from xaibench_report.page.report_context import context_of

if TYPE_CHECKING:
    from xaibench import Run

_WIDTH = 80


@dataclass(frozen=True, slots=True, repr=False)
class RunSummary:
    """The answer of a run. It prints as the text that ``xaibench report`` begins with, in lines of 80 characters; a
    notebook shows it as HTML."""

    answer: Answer

    def __str__(self) -> str:
        from rich.console import Console

        from xaibench_report.terminal.answer_terminal import print_answer

        text = StringIO()
        print_answer(self.answer, Console(file=text, width=_WIDTH, color_system=None, force_jupyter=False))
        return "\n".join(line.rstrip() for line in text.getvalue().splitlines())

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return render("answer.html", answer=self.answer)

    def to_dict(self) -> dict[str, Any]:
        """The answer as plain data, as ``xaibench report --json`` has it under ``answer``."""
        from xaibench_report.values.plain_data import plain_data

        return plain_data(self.answer)


def summary(run: Run) -> RunSummary:
    """Is the detector fit to be explained, what is shown of each explainer, what that rests on, and what comes next."""
    return RunSummary(context_of(run).answer)
