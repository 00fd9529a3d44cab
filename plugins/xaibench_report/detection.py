"""How well the detector itself does on the samples of a run: what stands above every leaderboard."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from xaibench_report.run_values import RunTables, Table, Where, encode, short, texts
from xaibench_statistics import SEED, Estimate, Strings, Values, auc_interval


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """Values, predictions or results that are missing from the numbers: what, how many, and why."""

    what: str
    status: str
    reason: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodDetection:
    """Fakes of one manipulation method against all real pictures. ``auc`` is None without real pictures."""

    method: str
    auc: Estimate | None
    n: int
    groups: int
    correct: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """One detector on one dataset.

    ``auc``: of P(fake), fake against real; None where one of the labels is missing (``note`` says so).
    ``n = real + fake`` samples with a prediction, ``correct`` of them called by their label.
    """

    where: Where
    auc: Estimate | None
    n: int
    real: int
    fake: int
    groups: int
    cross_groups: int
    correct: int
    methods: tuple[MethodDetection, ...]
    left_out: tuple[LeftOut, ...]
    note: str = ""


def detections(tables: RunTables, *, seed: int = SEED) -> tuple[Detection, ...]:
    """One :class:`Detection` for every (dataset, model, member) that has predictions, in the order of their
    names."""
    table = tables.predictions
    keys = [encode(table, name) for name in ("dataset", "model", "member")]
    rows = np.stack([k.codes for k in keys], axis=1)
    found = []
    for code in np.unique(rows, axis=0) if len(rows) else []:
        names = (str(k.names[c]) for k, c in zip(keys, code, strict=True))
        where = Where(*names)
        part = table.filter((rows == code).all(axis=1))
        beside = (*_failed_cells(tables.commits, where), *_artefacts(tables.artefacts, where))
        found.append(_detection(where, part, beside, seed))
    return tuple(found)


def _detection(where: Where, table: Table, failed: tuple[LeftOut, ...], seed: int) -> Detection:
    usable = _usable(table)
    kept = table.filter(usable).sort_by("sample")
    values = _p_fake(kept)
    fake = texts(kept, "label") == "fake"
    methods, correct = texts(kept, "method"), np.asarray(pc.fill_null(kept["correct"], False), dtype=bool)
    auc = _auc(values, fake, fake, seed)
    return Detection(
        where=where, auc=auc, n=len(values), real=int((~fake).sum()), fake=int(fake.sum()),
        groups=len(np.unique(values.groups)), cross_groups=len(np.unique(values.cross[values.cross != ""])),
        correct=int(correct.sum()),
        methods=tuple(
            _of_method(str(m), values, fake, fake & (methods == m), correct, seed) for m in np.unique(methods[fake])
        ),
        left_out=_not_ok("predictions", table.filter(~usable)) + failed,
        note=_note(auc),
    )  # fmt: skip


def _of_method(
    method: str, values: Values, fake: np.typing.NDArray[np.bool_], of: np.typing.NDArray[np.bool_],
    correct: np.typing.NDArray[np.bool_], seed: int,
) -> MethodDetection:  # fmt: skip
    """``of``: the fakes of one manipulation; their name is empty where the data set names none, as real ones' is."""
    return MethodDetection(
        method=method, auc=_auc(values, fake, of, seed), n=int(of.sum()),
        groups=len(np.unique(values.groups[of])), correct=int(correct[of].sum()),
    )  # fmt: skip


def _usable(table: Table) -> np.typing.NDArray[np.bool_]:
    usable: np.typing.NDArray[np.bool_] = (texts(table, "status") == "ok") & ~np.asarray(pc.is_null(table["p_fake"]))
    return usable


def _p_fake(kept: Table) -> Values:
    return Values.of(
        texts(kept, "sample"),
        np.asarray(kept["p_fake"].to_numpy(), dtype=np.float64),
        texts(kept, "group"),
        texts(kept, "cross_group"),
    )


def predictions_of(table: Table) -> tuple[Values, Strings, np.typing.NDArray[np.bool_]]:
    """P(fake) of one detector's predictions that are ok, with the labels and whether the verdict was right, in the
    order of the samples."""
    kept = table.filter(_usable(table)).sort_by("sample")
    return _p_fake(kept), texts(kept, "label"), np.asarray(pc.fill_null(kept["correct"], False), dtype=bool)


def _auc(
    values: Values, fake: np.typing.NDArray[np.bool_], of: np.typing.NDArray[np.bool_], seed: int
) -> Estimate | None:
    """AUC of the fakes in ``of`` against every real picture."""
    if not of.any() or fake.all():
        return None
    keep = of | ~fake
    return auc_interval(values.where(keep), of[keep])


def _note(auc: Estimate | None) -> str:
    if auc is None:
        return "AUC needs both real and fake pictures"
    return "AUC below 0.5: real pictures score above fakes; are the classes swapped?" if auc.value < 0.5 else auc.note


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
