"""The answer and the boards on stdout when a run ends."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from xaibench.api import Parameters, RunEnds, UsageError, make_console

if TYPE_CHECKING:
    from xaibench_report.page.report_context import ReportContext


class Leaderboards:
    """Prints the answer and the boards of everything in the folder, where a person reads and the run came to its
    end."""

    def __init__(self, parameters: Parameters) -> None: ...

    def run_ends(self, event: RunEnds) -> None:
        if event.interrupted or event.output != "text":
            return
        from xaibench import open_run
        from xaibench_report.page.report_context import ReportContext
        from xaibench_report.terminal.run_terminal import print_run

        c = ReportContext.read(open_run(event.out))
        print_run(c.answer, c.leaderboards, c.info, make_console(), detail=event.detail, run=str(event.out))
        for column in event.by:
            _print_by(column, c)


def _print_by(column: str, context: ReportContext) -> None:
    """The boards by one column; one line on stderr where they cannot be split by it."""
    from xaibench_report.terminal.by_column_terminal import print_by_column

    try:
        print_by_column(context.by_column(column), make_console())
    except UsageError as error:
        print(f"--by: {error.what}; {error.mend}", file=sys.stderr)
