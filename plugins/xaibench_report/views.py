"""Views of an opened run: ``run.NAME(...)``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xaibench_report.leaderboard import Leaderboards, build_leaderboards
from xaibench_report.run_tables import read_run

if TYPE_CHECKING:
    from xaibench import Run


def leaderboards(run: Run) -> Leaderboards:
    """One board a family of metrics, with intervals, ranks and verdicts: what ``xaibench report`` prints."""
    return build_leaderboards(*read_run(run))
