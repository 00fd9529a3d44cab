"""The core's own plugin: the local executor and the progress display, registered like anybody's."""

from __future__ import annotations

from xaibench.api import ExecutorRecord, ListenerRecord, hookimpl

XAIBENCH_API = "1"


@hookimpl
def xaibench_executors() -> list[ExecutorRecord]:
    """The one way to run tasks that needs nothing but this machine."""
    return [
        ExecutorRecord(
            name="local",
            target="xaibench.run.local_executor:LocalExecutor",
            summary="This machine: in this process, or in --jobs worker processes.",
        )
    ]


@hookimpl
def xaibench_run_events() -> list[ListenerRecord]:
    """What a person sees of a run while it goes on, and what is kept of it."""
    return [
        ListenerRecord(
            name="progress",
            target="xaibench.cli.progress:Progress",
            summary="Bars on a terminal, lines elsewhere: passes done, rate, time left, what failed.",
        ),
        ListenerRecord(
            name="log",
            target="xaibench.cli.run_log:RunLog",
            summary="The file log.txt of a run: command, versions, plan, tasks, failures with their trace, warnings.",
        ),
    ]
