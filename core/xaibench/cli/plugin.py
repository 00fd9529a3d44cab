"""The core's own plugin: the local executor and the log of a run, registered like anybody's."""

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
    """What is kept of a run beside its tables."""
    return [
        ListenerRecord(
            name="log",
            target="xaibench.cli.run_log:RunLog",
            summary="The file log.txt of a run: command, versions, plan, tasks, failures with their trace, warnings.",
        )
    ]
