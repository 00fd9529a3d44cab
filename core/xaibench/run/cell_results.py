"""Results of cells: the columns that their rows share, and the record of what ran in this process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from xaibench.api import Detector, describe_error, trace_of
from xaibench.plan.tasks import CellPart, CellResult
from xaibench.run.memory import peak_memory
from xaibench.store.commits import CellRows


def columns_of(run: str, part: CellPart) -> dict[str, Any]:
    """The columns that all rows of a cell share; ``unit`` is filled in where the rows are committed."""
    address = part.address
    return {
        "run": run,
        "unit": "",
        "cell": part.key,
        "model": address.model,
        "member": address.member,
        "dataset": address.dataset,
        "explainer": address.explainer,
        "metric": address.metric,
    }


def result_of(
    part: CellPart,
    tables: dict[str, pa.Table],
    statuses: Mapping[str, Sequence[str]],
    *,
    detector: Detector | None = None,
    error: BaseException | None = None,
    reason: str = "",
    **fields: Any,
) -> CellResult:
    """The result of a cell at the samples that were due, in their order.

    ``statuses`` holds the status of every row of a sample. ``error`` is the first exception; ``fields`` are further
    fields of :class:`CellRows`.
    """
    traced: dict[str, Any] = {"error": describe_error(error), "trace": trace_of(error)} if error else {}
    if detector is not None:
        traced |= {"device": str(detector.device), "peak_memory": peak_memory()}
    cell = CellRows(
        address=part.address,
        key=part.key,
        samples=part.due,
        statuses=tuple(_joint(statuses[s]) for s in part.due),
        reason=reason,
        **traced,
        **fields,
    )
    return CellResult(cell=cell, tables=tables)


def _joint(statuses: Sequence[str]) -> str:
    """One status where all are the same, else all of them in order."""
    return statuses[0] if len(set(statuses)) == 1 else " ".join(statuses)


def failure_reason(failures: Sequence[str], count: int, things: str) -> str:
    """How much of a cell failed and the most frequent reason; empty where nothing failed."""
    return f"{len(failures)} of {count} {things} failed: {most_frequent(failures)}" if failures else ""


def most_frequent(reasons: Iterable[str]) -> str:
    """The most frequent reason; the first of several."""
    return Counter(reasons).most_common(1)[0][0]
