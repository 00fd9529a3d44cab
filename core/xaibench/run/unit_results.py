"""Results of units: the address of a task's rows, and the result of a unit that ran in this process."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from xaibench.api import Detector, describe_error, trace_of
from xaibench.plan.tasks import Address, ModelTask, SetTask, Task, UnitResult
from xaibench.run.memory import peak_memory


def address_of(task: Task, explainer: str | None = None, metric: str | None = None) -> Address:
    """The address of a task, or of one of its units."""
    if isinstance(task, SetTask):
        first = address_of(task.parts[0][0], task.explainer, task.score.name)
        member = first.member if task.scope == "detector" else ""
        return replace(first, member=member, stop=task.parts[-1][-1].shard.stop)
    if isinstance(task, ModelTask):
        shards, explainer, metric = task.shards, "", task.score.name
    else:
        shards = (task.shard,)
    return Address(
        run=task.setup.run,
        model=task.detector.model,
        member=task.detector.member,
        dataset=shards[0].dataset,
        explainer=explainer,
        metric=metric,
        start=shards[0].start,
        stop=shards[-1].stop,
    )


def local_result(
    key: str, kind: str, address: Address, detector: Detector, error: BaseException | None, reason: str, **fields: Any
) -> UnitResult:
    """The result of a unit that ran in this process, with its device and memory. It failed where there is a reason.

    ``error`` is the first exception; ``fields`` are further fields of :class:`UnitResult`.
    """
    return UnitResult(
        key=key,
        kind=kind,
        address=address,
        status="failed" if reason else "ok",
        reason=reason,
        error=describe_error(error) if error else "",
        trace=trace_of(error) if error else "",
        device=str(detector.device),
        peak_memory=peak_memory(),
        **fields,
    )
