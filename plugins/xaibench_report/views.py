"""Views of an opened run: ``run.NAME(...)``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xaibench_report.boards.by_column import ByColumn, build_by_column
from xaibench_report.boards.leaderboard import Leaderboards
from xaibench_report.page.report_context import context_of

if TYPE_CHECKING:
    from xaibench import Run


def leaderboards(run: Run) -> Leaderboards:
    """One board a family of metrics, with intervals, ranks and verdicts: what ``xaibench report`` prints."""
    return context_of(run).leaderboards


def by_column(run: Run, column: str) -> ByColumn:
    """Every board by the values of one column of the table ``samples``: what ``xaibench report --by COLUMN`` prints."""
    context = context_of(run)
    return build_by_column(context.tables, context.info, column)
