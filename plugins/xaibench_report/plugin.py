"""Registers what people see of a run: leaderboards, the page, comparisons. Light: the rest is imported when used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xaibench.api import ListenerRecord, ViewRecord, hookimpl

if TYPE_CHECKING:
    import typer

XAIBENCH_API = "1"


@hookimpl
def xaibench_run_events() -> list[ListenerRecord]:
    """The leaderboards that ``eval`` prints when a run ends."""
    return [
        ListenerRecord(
            name="leaderboards",
            target="xaibench_report.listener:Leaderboards",
            summary="The leaderboards on stdout when a run ends.",
        )
    ]


@hookimpl
def xaibench_run_views() -> list[ViewRecord]:
    """``run.leaderboards()`` and the overlay that ``explain`` writes."""
    return [
        ViewRecord(
            name="leaderboards",
            target="xaibench_report.views:leaderboards",
            summary="The leaderboards of a run, as data.",
        ),
        ViewRecord(
            name="overlay",
            target="xaibench_report.figures:overlay",
            summary="A map laid over its picture, as PNG.",
            of="explanation",
            suffix="png",
        ),
    ]


@hookimpl
def xaibench_add_commands(app: typer.Typer) -> None:
    """``report``, ``compare`` and ``rank detectors``."""
    from xaibench_report.commands import compare, rank, report

    app.command()(report)
    app.command()(compare)
    app.add_typer(rank, name="rank")
