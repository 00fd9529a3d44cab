"""Artefacts that several explainers need, computed before their maps and kept."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pyarrow as pa

from xaibench.api import Artefact, Done, Passes, Product, Programme, Sample, describe_error
from xaibench.plan.tasks import ArtefactTask, CellResult
from xaibench.run.cell_results import columns_of, failure_reason, result_of
from xaibench.run.watching import Watched, run_component
from xaibench.run.workbench import Bench, Workbench, artefact_key
from xaibench.store import artefact_rows
from xaibench.store.sample_columns import sample_columns
from xaibench.store.schema import ARTEFACTS


def make_artefacts(workbench: Workbench, task: ArtefactTask) -> Iterator[CellResult]:
    """One artefact of every sample of the task, one row a sample."""
    start = time.perf_counter()
    bench = workbench.bench(task.detector, task.chunk, task.setup)
    asker = workbench.use(task.asker)
    artefact: Artefact = asker.instance.artefacts[task.index]

    def programme(sample: Sample) -> Programme[Product]:
        return (yield from bench.artefacts().get(artefact, bench.picture(sample.id)))

    samples = task.chunk.samples
    watched = Watched(asker.name, foreign=bench.is_foreign(asker), sample_of=str)
    outcomes = run_component(bench, ((s.id, partial(programme, s)) for s in samples), watched)
    shared = columns_of(task.setup.run, task.part)
    rows = [{**shared, **sample_columns(s), **_columns(bench, artefact, s, outcomes[s.id])} for s in samples]
    errors = [error for s in samples if (error := outcomes[s.id].error)]
    yield result_of(
        task.part,
        {"artefacts": pa.Table.from_pylist(rows, schema=ARTEFACTS)},
        {r["sample"]: [r["status"]] for r in rows},
        detector=bench.detector,
        error=errors[0] if errors else None,
        reason=failure_reason([describe_error(e) for e in errors], len(rows), task.name),
        seconds=time.perf_counter() - start,
        passes=sum((o.passes for o in outcomes.values()), Passes()),
    )


def _columns(bench: Bench, artefact: Artefact, sample: Sample, outcome: Done[Product]) -> dict[str, Any]:
    key, product = "", outcome.value
    if product is None:
        reason = describe_error(outcome.error) if outcome.error else "nothing came back"
        product = Product(status="failed", reason=reason)
    else:
        key = artefact_key(artefact, bench.detector, bench.picture(sample.id), bench.seed)
    passes = {"forward": outcome.passes.forward, "backward": outcome.passes.backward}
    return {"artefact": key, **passes, **artefact_rows.to_row(artefact, product)}
