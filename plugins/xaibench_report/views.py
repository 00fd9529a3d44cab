"""Views of an opened run: ``run.NAME(...)``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xaibench_report.leaderboard import Leaderboards
from xaibench_report.report_context import context_of

if TYPE_CHECKING:
    from xaibench import Run


def leaderboards(run: Run) -> Leaderboards:
    """One board a family of metrics, with intervals, ranks and verdicts: what ``xaibench report`` prints."""
    return context_of(run).leaderboards
