"""Predict units: what the detector says of the clean pictures."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pyarrow as pa

from xaibench.api import (
    Facts,
    Forward,
    Passes,
    Programme,
    Sample,
    describe_error,
    p_fake,
    predicted_class,
    trace_of,
    verdict,
)
from xaibench.plan.tasks import PredictTask, UnitResult
from xaibench.run.memory import peak_memory
from xaibench.run.workbench import Workbench
from xaibench.store.sample_columns import sample_columns
from xaibench.store.schema import PREDICTIONS


def predict(workbench: Workbench, task: PredictTask) -> Iterator[UnitResult]:
    """Class probabilities of every sample of the shard, one row a sample."""
    began = time.perf_counter()
    detector = workbench.detector(task.detector)
    bench = workbench.bench(detector, task.shard, task.setup)

    def programme(sample: Sample) -> Programme[list[float]]:
        reply = yield Forward(bench.picture(sample.id).image[None])
        found = [float(p) for p in reply[0].cpu()]
        if not all(map(math.isfinite, found)):
            raise ValueError(f"the detector's probabilities are {found}")
        return found

    found = dict(bench.engine().run((s.id, partial(programme, s)) for s in task.shard.samples))
    rows = [_row(task, s, detector.facts, found[s.id].value, found[s.id].error) for s in task.shard.samples]
    errors = [e for s in task.shard.samples if (e := found[s.id].error)]
    passes = sum((f.passes for f in found.values()), Passes())
    yield UnitResult(
        key=task.key, kind="predict", model=task.detector.model, member=task.detector.member,
        dataset=task.shard.dataset, explainer=None, metric=None, start=task.shard.start, stop=task.shard.stop,
        status="failed" if errors else "ok",
        reason=f"{len(errors)} of {len(rows)} pictures failed" if errors else "",
        error=describe_error(errors[0]) if errors else "", trace=trace_of(errors[0]) if errors else "",
        seconds=time.perf_counter() - began, passes=passes, device=str(detector.device), peak_memory=peak_memory(),
        tables={"predictions": pa.Table.from_pylist(rows, schema=PREDICTIONS)},
    )  # fmt: skip


def _row(
    task: PredictTask, sample: Sample, facts: Facts, probabilities: list[float] | None, error: Exception | None
) -> dict[str, Any]:
    keys = {"run": task.setup.run, "unit": task.key, "model": task.detector.model, "member": task.detector.member,
            "dataset": task.shard.dataset, **sample_columns(sample)}  # fmt: skip
    if probabilities is None:
        why = describe_error(error) if error else "no prediction"
        return keys | {"probabilities": [], "classes": list(facts.classes), "p_fake": None, "prediction": "",
                       "verdict": "", "correct": None, "status": "failed", "reason": why}  # fmt: skip
    said = verdict(probabilities, facts)
    return keys | {
        "probabilities": probabilities, "classes": list(facts.classes), "p_fake": p_fake(probabilities, facts),
        "prediction": facts.classes[predicted_class(probabilities, facts)], "verdict": said,
        "correct": said == sample.label, "status": "ok", "reason": None,
    }  # fmt: skip
