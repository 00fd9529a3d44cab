"""How well the detector itself does on the samples of a run: what stands above every leaderboard."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from xaibench_report.detectors.marks import DetectorMark, marks_of
from xaibench_report.values.run_values import RunTables, Table, Where, encode, short, texts
from xaibench_statistics import (
    Accuracy,
    Estimate,
    Floats,
    Strings,
    Values,
    auc_interval,
    detector_accuracy,
    proportion_interval,
)

Bools = npt.NDArray[np.bool_]
DEFAULT_THRESHOLD = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """Values, predictions or results that are missing from the numbers: what, how many, and why."""

    what: str
    status: str
    reason: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodDetection:
    """Fakes of one manipulation method against all real pictures. ``auc`` is None without real pictures;
    ``sensitivity``: the share of the ``n`` fakes that are called fake, which ``correct`` counts."""

    method: str
    auc: Estimate | None
    sensitivity: Estimate
    n: int
    groups: int
    correct: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """One detector on one dataset. ``marks``: those of its accuracy and those that the run's table ``detectors``
    holds."""

    where: Where
    accuracy: Accuracy
    methods: tuple[MethodDetection, ...]
    left_out: tuple[LeftOut, ...]
    marks: tuple[DetectorMark, ...] = ()


class Readings(NamedTuple):
    """What one detector says of the pictures that have a prediction, in the order of their ids."""

    log_odds: Values
    p_fake: Floats
    fake: Bools
    called_fake: Bools
    methods: Strings

    def accuracy(self, threshold: float) -> Accuracy:
        """See :func:`xaibench_statistics.detector_accuracy`."""
        return detector_accuracy(*self[:4], threshold=threshold)


def detections(tables: RunTables) -> tuple[Detection, ...]:
    """One :class:`Detection` for every (dataset, model, member) that has predictions, in the order of their
    names."""
    table = tables.predictions
    keys = [encode(table, name) for name in ("dataset", "model", "member")]
    rows = np.stack([k.codes for k in keys], axis=1)
    limits = thresholds(tables.components)
    found = []
    for code in np.unique(rows, axis=0) if len(rows) else []:
        names = (str(k.names[c]) for k, c in zip(keys, code, strict=True))
        where = Where(*names)
        part = table.filter((rows == code).all(axis=1))
        readings = readings_of(part)
        accuracy = readings.accuracy(threshold_of(where, limits))
        found.append(
            Detection(
                where=where,
                accuracy=accuracy,
                methods=_methods(readings),
                left_out=(
                    *_not_ok("predictions", part.filter(~_usable(part))),
                    *_failed_cells(tables.commits, where),
                    *_artefacts(tables.artefacts, where),
                ),
                marks=marks_of(where, tables.detectors, accuracy),
            )
        )
    return tuple(found)


def thresholds(components: Table | None) -> dict[str, float]:
    """The threshold of every detector, by its name in ``components``; the latest run counts."""
    rows = [] if components is None else components.to_pylist()
    details = [
        (r["name"], json.loads(r["details"] or "{}"))
        for r in sorted(rows, key=lambda r: str(r["run"]))
        if r["kind"] == "model"
    ]
    return {name: float(found["threshold"]) for name, found in details if "threshold" in found}


def threshold_of(where: Where, limits: Mapping[str, float]) -> float:
    """The threshold of one detector."""
    return limits.get(f"{where.model} {where.member}".strip(), DEFAULT_THRESHOLD)


def readings_of(table: Table) -> Readings:
    """The readings of one detector from its rows of ``predictions``."""
    kept = table.filter(_usable(table)).sort_by("sample")
    return Readings(
        log_odds=Values.of(
            texts(kept, "sample"), _floats(kept, "log_odds"), texts(kept, "group"), texts(kept, "cross_group")
        ),
        p_fake=_floats(kept, "p_fake"),
        fake=texts(kept, "label") == "fake",
        called_fake=texts(kept, "verdict") == "fake",
        methods=texts(kept, "method"),
    )


def _usable(table: Table) -> Bools:
    usable: Bools = (texts(table, "status") == "ok") & ~np.asarray(pc.is_null(table["log_odds"]))
    return usable


def _floats(table: Table, column: str) -> Floats:
    return np.asarray(table[column].to_numpy(), dtype=np.float64)


def _methods(readings: Readings) -> tuple[MethodDetection, ...]:
    """The name of a manipulation is empty where the data set names none, as that of real pictures is."""
    fake, methods = readings.fake, readings.methods
    return tuple(_of_method(str(m), readings, fake & (methods == m)) for m in np.unique(methods[fake]))


def _of_method(method: str, readings: Readings, of: Bools) -> MethodDetection:
    """``of``: the fakes of one manipulation."""
    log_odds, _, fake, called, _ = readings
    keep = of | ~fake
    return MethodDetection(
        method=method,
        auc=None if fake.all() else auc_interval(log_odds.where(keep), of[keep]),
        sensitivity=proportion_interval(log_odds.where(of).with_values(called[of].astype(np.float64))),
        n=int(of.sum()),
        groups=len(np.unique(log_odds.groups[of])),
        correct=int(called[of].sum()),
    )


def _not_ok(what: str, table: Table) -> tuple[LeftOut, ...]:
    status: Strings = texts(table, "status")
    reasons: Strings = texts(table, "reason")
    counts = Counter(zip(status.tolist(), reasons.tolist(), strict=True))
    return tuple(LeftOut(what=what, status=s, reason=r, count=n) for (s, r), n in sorted(counts.items()))


def _artefacts(table: Table | None, where: Where) -> tuple[LeftOut, ...]:
    """Artefacts that are not ok: twins that did not turn the verdict, pictures that have none."""
    if table is None or not len(table):
        return ()
    rows = table.select(["dataset", "model", "member", "kind", "status", "reason"]).to_pylist()
    counts = Counter(
        (f"{r['kind']}s", r["status"], str(r["reason"]).partition(" (")[0])
        for r in rows
        if r["status"] != "ok" and (r["dataset"], r["model"], r["member"]) == where
    )
    return tuple(LeftOut(what=w, status=s, reason=r, count=n) for (w, s, r), n in sorted(counts.items()))


def _failed_cells(commits: Table, where: Where) -> tuple[LeftOut, ...]:
    """Results that failed, counted by what they should have been and by their exception."""
    columns = [texts(commits, c) for c in ("kind", "explainer", "metric", "error", "reason")]
    failed = np.asarray(commits["failed"], dtype=int)
    here = (
        (failed > 0)
        & (texts(commits, "dataset") == where.dataset)
        & (texts(commits, "model") == where.model)
        & (texts(commits, "member") == where.member)
    )
    counts: Counter[tuple[str, str]] = Counter()
    for i in np.flatnonzero(here):
        kind, explainer, metric, error, reason = (str(c[i]) for c in columns)
        what = " ".join(p for p in (kind, short(explainer), short(metric)) if p)
        lines = (error or reason).splitlines()
        counts[what, lines[0] if lines else "no reason recorded"] += int(failed[i])
    return tuple(LeftOut(what=w, status="failed", reason=r, count=n) for (w, r), n in sorted(counts.items()))
