"""The core's own plugin: the local executor, registered like anybody's."""

from xaibench.plugin import ExecutorRecord, hookimpl

XAIBENCH_API = 1


@hookimpl
def xaibench_executors() -> list[ExecutorRecord]:
    return [
        ExecutorRecord(
            name="local",
            target="xaibench.executors:LocalExecutor",
            summary="This machine: in this process, or in --jobs worker processes.",
        )
    ]
