"""Artefact units: what several explainers of one shard need, made before their maps and kept."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pyarrow as pa

from xaibench.api import Artefact, Done, Passes, Product, Programme, Sample, describe_error, trace_of
from xaibench.plan.tasks import ArtefactTask, UnitResult
from xaibench.run.memory import peak_memory
from xaibench.run.workbench import Bench, Workbench, artefact_key
from xaibench.store import artefact_rows
from xaibench.store.sample_columns import sample_columns
from xaibench.store.schema import ARTEFACTS


def make_artefacts(workbench: Workbench, task: ArtefactTask) -> Iterator[UnitResult]:
    """One artefact of every sample of the shard, one row a sample."""
    began = time.perf_counter()
    detector = workbench.detector(task.detector)
    bench = workbench.bench(detector, task.shard, task.setup)
    artefact: Artefact = workbench.use(task.asker).instance.artefacts[task.index]
    found: dict[str, Done[Product]] = dict(
        bench.engine().run((s.id, partial(_one, bench, artefact, s)) for s in task.shard.samples)
    )
    rows = [_row(bench, task, artefact, s, found[s.id]) for s in task.shard.samples]
    errors = [e for s in task.shard.samples if (e := found[s.id].error)]
    yield UnitResult(
        key=task.key, kind="artefact", model=task.detector.model, member=task.detector.member,
        dataset=task.shard.dataset, explainer=None, metric=None, start=task.shard.start, stop=task.shard.stop,
        status="failed" if errors else "ok",
        reason=f"{task.name}: {len(errors)} of {len(rows)} failed" if errors else "",
        error=describe_error(errors[0]) if errors else "", trace=trace_of(errors[0]) if errors else "",
        seconds=time.perf_counter() - began, passes=sum((d.passes for d in found.values()), Passes()),
        device=str(detector.device), peak_memory=peak_memory(),
        tables={"artefacts": pa.Table.from_pylist(rows, schema=ARTEFACTS)},
    )  # fmt: skip


def _one(bench: Bench, artefact: Artefact, sample: Sample) -> Programme[Product]:
    picture = bench.picture(sample.id)
    product = yield from bench.artefacts().get(artefact, picture)
    return product


def _row(bench: Bench, task: ArtefactTask, artefact: Artefact, sample: Sample, done: Done[Product]) -> dict[str, Any]:
    where = {
        "run": task.setup.run, "unit": task.key, "model": task.detector.model, "member": task.detector.member,
        "dataset": task.shard.dataset, **sample_columns(sample), "forward": done.passes.forward,
        "backward": done.passes.backward, "artefact": "",
    }  # fmt: skip
    if done.error is not None or done.value is None:
        why = describe_error(done.error) if done.error else "nothing came back"
        return where | artefact_rows.to_row(artefact, Product(status="failed", reason=why))
    key = artefact_key(artefact, bench.detector, bench.picture(sample.id), bench.seed)
    return where | {"artefact": key} | artefact_rows.to_row(artefact, done.value)
