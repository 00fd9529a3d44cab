"""Class probabilities of the clean pictures."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import pyarrow as pa

from xaibench.api import (
    Done,
    Facts,
    Forward,
    Passes,
    Programme,
    Sample,
    describe_error,
    log_odds,
    p_fake,
    predicted_class,
    verdict,
)
from xaibench.plan.tasks import CellResult, PredictTask
from xaibench.run.cell_results import columns_of, failure_reason, result_of
from xaibench.run.watching import Watched, run_component
from xaibench.run.workbench import Bench, Workbench
from xaibench.store.sample_columns import sample_columns
from xaibench.store.schema import PREDICTIONS


def predict(workbench: Workbench, task: PredictTask) -> Iterator[CellResult]:
    """Class probabilities of every sample of the task, one row a sample."""
    start = time.perf_counter()
    bench = workbench.bench(task.detector, task.chunk, task.setup)
    detector = bench.detector

    samples = task.chunk.samples
    outcomes = clean_predictions(bench, samples, task.detector.model)
    shared = columns_of(task.setup.run, task.part)
    rows: list[dict[str, Any]] = []
    for sample in samples:
        outcome = outcomes[sample.id]
        if outcome.value is None:
            reason = describe_error(outcome.error) if outcome.error else "no prediction"
            columns = failed_prediction(detector.facts.classes, reason)
        else:
            columns = _prediction(outcome.value, detector.facts, sample)
        rows.append({**shared, **sample_columns(sample), **columns})
    failures = [r["reason"] for r in rows if r["status"] == "failed"]
    yield result_of(
        task.part,
        {"predictions": pa.Table.from_pylist(rows, schema=PREDICTIONS)},
        {r["sample"]: [r["status"]] for r in rows},
        detector=detector,
        error=next((error for s in samples if (error := outcomes[s.id].error)), None),
        reason=failure_reason(failures, len(rows), "pictures"),
        seconds=time.perf_counter() - start,
        passes=sum((o.passes for o in outcomes.values()), Passes()),
    )


def clean_predictions(bench: Bench, samples: Sequence[Sample], model: str) -> dict[str, Done[list[float]]]:
    """Class probabilities of the untouched pictures by sample, or the exception that prevented them.

    ``model`` is the detector's name in messages.
    """
    classes = bench.detector.facts.classes

    def programme(sample: Sample) -> Programme[list[float]]:
        reply = yield Forward(bench.picture(sample.id).image[None])
        probabilities = [float(p) for p in reply[0].cpu()]
        if len(probabilities) != len(classes):
            raise ValueError(f"the detector gave {len(probabilities)} values for {len(classes)} classes")
        if not all(map(math.isfinite, probabilities)):
            raise ValueError(f"the detector's probabilities are {probabilities}")
        return probabilities

    watched = Watched(model, foreign=False, sample_of=str)
    return run_component(bench, ((s.id, partial(programme, s)) for s in samples), watched)


def failed_prediction(classes: Sequence[str], reason: str) -> dict[str, Any]:
    """Columns of a prediction that failed."""
    return {
        "probabilities": [],
        "classes": list(classes),
        "p_fake": None,
        "log_odds": None,
        "prediction": "",
        "verdict": "",
        "correct": None,
        "status": "failed",
        "reason": reason,
    }


def _prediction(probabilities: list[float], facts: Facts, sample: Sample) -> dict[str, Any]:
    label = verdict(probabilities, facts)
    return {
        "probabilities": probabilities,
        "classes": list(facts.classes),
        "p_fake": p_fake(probabilities, facts),
        "log_odds": log_odds(probabilities, facts),
        "prediction": facts.classes[predicted_class(probabilities, facts)],
        "verdict": label,
        "correct": label == sample.label,
        "status": "ok",
        "reason": None,
    }
