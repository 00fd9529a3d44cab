"""Looks at a detector itself: its structure, its accuracy on a dataset, and other readings of its card.

Each gives rows of the table ``detectors``. A row with a mark is something that every reader of the run's results must
know; a structure with a mark stops the run before anything is explained.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from xaibench.api import Facts, Passes, Sample, Status, log_odds, p_fake, verdict
from xaibench.detector.structure import Finding, look_at_structure
from xaibench.plan.tasks import AccuracyTask, CardTask, CellPart, CellResult, Chunk, StructureTask
from xaibench.run.card_readings import CardReadings, Reading, try_readings, values_of
from xaibench.run.cell_results import columns_of, result_of
from xaibench.run.workbench import VerifiedDataset, Workbench
from xaibench.store.relation import WHOLE
from xaibench.store.schema import DETECTORS

if TYPE_CHECKING:
    from xaibench_statistics import Accuracy

_BLANK: dict[str, Any] = {
    "sample": "", "item": "", "value": None, "low": None, "high": None, "count": 0, "status": "ok", "reason": None,
    "mark": "", "withholds_ranks": False,
}  # fmt: skip


def examine_structure(workbench: Workbench, task: StructureTask) -> Iterator[CellResult]:
    """Whether a detector returns scores of the picture that it was given."""
    start = time.perf_counter()
    detector = workbench.detector(task.detector)
    bench = workbench.bench(task.detector, task.chunk, task.setup)
    samples = task.chunk.samples
    found = look_at_structure(
        detector,
        [bench.picture(s.id).image for s in samples],
        batch_size=task.setup.batch_size,
        both_labels=len({s.label for s in samples}) > 1,
    )
    _tell_passes(workbench, found.passes)
    rows = [structure_row(f) for f in found.findings]
    yield _result(task.setup.run, task.part, rows, start, Passes(found.passes), detector)


def structure_row(finding: Finding) -> dict[str, Any]:
    """A finding as columns of the table ``detectors``. A detector that raised has failed, and may be asked again."""
    raised = finding.name == "call"
    reason = finding.fault if raised else finding.reason
    return {
        "name": finding.name, "value": finding.value, "count": finding.count,
        "status": "failed" if raised else "undefined" if reason else "ok", "reason": reason or None,
        "mark": f"{finding.fault}: {finding.mend}" if finding.fault else finding.note,
    }  # fmt: skip


def measure_accuracy(workbench: Workbench, task: AccuracyTask) -> Iterator[CellResult]:
    """How well a detector tells fakes from real pictures, from its clean predictions."""
    start = time.perf_counter()
    detector = workbench.detector(task.detector)
    seen = {s.id: p for s, p in zip(task.chunk.samples, task.clean, strict=True) if p is not None}
    rows = accuracy_rows(accuracy_of(detector.facts, task.chunk.samples, seen))
    yield _result(task.setup.run, task.part, rows, start, Passes(), detector)


def accuracy_of(facts: Facts, samples: Sequence[Sample], seen: Mapping[str, Sequence[float]]) -> Accuracy:
    """The accuracy of a detector on the samples that have class probabilities."""
    import numpy as np

    from xaibench_statistics import detector_accuracy

    known = sorted((s for s in samples if s.id in seen), key=lambda s: s.id)
    return detector_accuracy(
        values_of(known, [log_odds(seen[s.id], facts) for s in known]),
        np.array([p_fake(seen[s.id], facts) for s in known], dtype=np.float64),
        np.array([s.label == "fake" for s in known], dtype=bool),
        np.array([verdict(seen[s.id], facts) == "fake" for s in known], dtype=bool),
        threshold=facts.threshold,
    )


def accuracy_rows(found: Accuracy) -> list[dict[str, Any]]:
    """Accuracy as columns of the table ``detectors``: its measures, then its marks."""
    measured = {
        "auc": found.auc, "sensitivity": found.sensitivity, "false-alarm-rate": found.false_alarm_rate,
        "balanced-accuracy": found.balanced_accuracy, "brier": found.brier,
    }  # fmt: skip
    rows: list[dict[str, Any]] = []
    for name, estimate in measured.items():
        if estimate is None:
            rows.append({"name": name, "status": "undefined", "reason": found.note or "no picture has a prediction"})
        else:
            rows.append({
                "name": name, "value": estimate.value, "low": estimate.low, "high": estimate.high, "count": estimate.n
            })  # fmt: skip
    error = found.calibration_error
    if error is not None:
        rows.append({"name": "calibration-error", "value": error, "count": found.n})
    for of_label in found.labels:
        rows.append({"name": f"p-fake-{of_label.label}", "value": of_label.median, "count": of_label.n})
    rows += [
        {"name": mark.name, "count": found.n, "mark": mark.text, "withholds_ranks": mark.withholds_ranks}
        for mark in found.marks
    ]
    return rows


def read_card_otherwise(workbench: Workbench, task: CardTask) -> Iterator[CellResult]:
    """Whether another reading of a detector's card does better on some labelled pictures."""
    start = time.perf_counter()
    detector = workbench.detector(task.detector)
    dataset = _dataset(workbench, task.chunk)
    seen = None
    if task.clean is not None:
        seen = {s.id: p for s, p in zip(task.chunk.samples, task.clean, strict=True) if p is not None}
    found = try_readings(detector, dataset, task.chunk.samples, seen, batch_size=task.setup.batch_size)
    _tell_passes(workbench, found.passes)
    rows = card_rows(found)
    yield _result(task.setup.run, task.part, rows, start, Passes(found.passes), detector)


def _tell_passes(workbench: Workbench, passes: int) -> None:
    """Report passes to whoever shows progress: looks call the detector without an engine of the workbench."""
    if workbench.on_passes is not None:
        workbench.on_passes(passes)


def _dataset(workbench: Workbench, chunk: Chunk) -> VerifiedDataset:
    """The dataset of some samples, which refuses pictures that are not the planned ones."""
    use = workbench.use(chunk.ref)
    return VerifiedDataset(use.instance, dict(chunk.digests), "" if use.registered.built_in else chunk.dataset)


def card_rows(found: CardReadings) -> list[dict[str, Any]]:
    """Readings of a card as columns of the table ``detectors``: the answer, then every reading."""
    best = found.best
    answer: dict[str, Any] = {"name": "best-reading", "count": len(found.fake), "reason": found.note or None}
    if best is not None:
        # A threshold changes verdicts and no ranks: explanations of both classes are still those of the detector.
        answer |= {"item": best.text, "mark": found.advice, "withholds_ranks": best.name != "threshold"}
    return [answer, *(row for reading in (found.own, *found.others) for row in _reading_rows(reading, found))]


def _reading_rows(reading: Reading, found: CardReadings) -> Iterator[dict[str, Any]]:
    if reading.reason:
        yield {"name": "auc", "item": reading.text, "status": "not_applicable", "reason": reading.reason}
        return
    for name, value in (("auc", reading.auc), ("balanced-accuracy", reading.balanced_accuracy)):
        if value is not None:
            yield {
                "name": name, "item": reading.text, "value": value.value, "low": value.low, "high": value.high,
                "count": len(found.fake),
            }  # fmt: skip
    gain = reading.gain
    for name, change in (("auc-gain", gain and gain.auc), ("balanced-accuracy-gain", gain and gain.balanced_accuracy)):
        if change:
            yield {
                "name": name, "item": reading.text, "value": change.value, "low": change.low, "high": change.high,
                "count": len(found.fake),
            }  # fmt: skip


def blank_look(run: str, part: CellPart, status: Status, reason: str) -> pa.Table:
    """The row of a look that was not done."""
    return _table(run, part, [{"name": "", "status": status, "reason": reason}])


def _result(
    run: str, part: CellPart, rows: Sequence[dict[str, Any]], start: float, passes: Passes, detector: Any
) -> CellResult:
    return result_of(
        part,
        {"detectors": _table(run, part, rows)},
        {WHOLE: sorted({row.get("status", "ok") for row in rows})},
        detector=detector,
        seconds=time.perf_counter() - start,
        passes=passes,
    )


def _table(run: str, part: CellPart, rows: Sequence[dict[str, Any]]) -> pa.Table:
    shared = {**columns_of(run, part), **_BLANK, "check": part.address.kind}
    return pa.Table.from_pylist([shared | row for row in rows], schema=DETECTORS)
