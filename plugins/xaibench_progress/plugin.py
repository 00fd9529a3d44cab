"""Registers the progress display. Light: the display is imported when a run begins."""

from __future__ import annotations

from xaibench.api import ListenerRecord, hookimpl

XAIBENCH_API = "1"


@hookimpl
def xaibench_run_events() -> list[ListenerRecord]:
    """What a person sees of a run while it goes on."""
    return [
        ListenerRecord(
            name="progress",
            target="xaibench_progress.display:Progress",
            summary="Bars on a terminal, lines elsewhere: passes done, rate, time left, what failed.",
        )
    ]
