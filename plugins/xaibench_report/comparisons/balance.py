"""Accuracy against interpretability: every detector or family of a run beside a baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from xaibench.api import UsageError, closest_first
from xaibench_report.boards.detector_tables import of_detector
from xaibench_report.detectors.detector_accuracy import Entrant, entrants
from xaibench_report.values.run_values import CellKey, CellValues, RunTables, ScoreInfo, cell_values, encode, short
from xaibench_statistics import AxisFigures, Balance, balance, interpretability, kept_accuracy

FIGURES = ("odc", "axis-auc", "diagonal-share")
CHANCE = "-random"


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceRow:
    """One detector or family, means over its ``runs``.

    ``gained`` is its interpretability I minus the baseline's, ``auc_change`` its AUC minus the baseline's; None where
    one of the two is unknown. ``front``: nobody in the table has both more.
    """

    model: str
    runs: int
    auc: float | None
    balance: Balance
    auc_change: float | None
    gained: float | None
    front: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Balances:
    """The detectors of one dataset against ``baseline``, which stands first."""

    dataset: str
    baseline: str
    rows: tuple[BalanceRow, ...]
    notes: tuple[str, ...]


def balances(tables: RunTables, info: ScoreInfo, baseline: str) -> Balances:
    """The balance of every detector of a run that holds the scores ``odc``, ``axis-auc`` and ``diagonal-share``.

    Chance is the baseline's own ``-random`` scores: see :func:`xaibench_statistics.balance`. Raises UsageError where
    the run has no such model, several datasets, or no such scores.
    """
    cells = {k: c for k, c in cell_values(tables.scores).items() if of_detector(c)}
    datasets = encode(tables.predictions, "dataset").names.tolist()
    if len(datasets) != 1:
        raise UsageError("a balance is of one dataset", "evaluate each dataset into a folder of its own")
    found = {e.model: e for e in entrants(tables, datasets[0])}
    named = [m for m in found if baseline in (m, short(m))]
    if not named:
        raise UsageError(f"no model '{baseline}' in this run", f"models: {closest_first(baseline, map(short, found))}")
    if not any(k.score in FIGURES for k in cells):
        raise UsageError(
            "this run has no interpretability of detectors",
            "evaluate with --metric channel-decorrelation --metric axis-purity",
        )
    return _against(found[named[0]], list(found.values()), cells)


def _against(base: Entrant, every: Sequence[Entrant], cells: Mapping[CellKey, CellValues]) -> Balances:
    chance = _figures(base, cells, CHANCE)
    own = _figures(base, cells, "")
    at = _interpretable(own, chance)
    order = [base, *(e for e in every if e is not base)]
    rows = [_row(e, base, _figures(e, cells, ""), chance, at) for e in order]
    front = [_is_front(r, rows) for r in rows]
    notes = [f"chance is a random rotation of {short(base.model)}'s layer"]
    notes += [f"{short(e.model)}: marked: {text}" for e in order for text in dict.fromkeys(m.text for m in e.marks)]
    notes += [f"{short(e.model)}: AUC has no interval: {e.why}" for e in order if e.auc and e.why]
    return Balances(
        dataset=base.dataset, baseline=base.model, notes=tuple(notes),
        rows=tuple(replace(r, front=f) for r, f in zip(rows, front, strict=True)),
    )  # fmt: skip


def _row(
    entrant: Entrant, base: Entrant, own: AxisFigures | str, chance: AxisFigures | str, at: float | None
) -> BalanceRow:
    auc = entrant.auc.value if entrant.auc else None
    base_auc = base.auc.value if base.auc else None
    found = _balance(auc, base_auc, own, chance, next((e.why for e in (entrant, base) if e.auc is None), ""))
    i = found.interpretability
    return BalanceRow(
        model=entrant.model, runs=len(entrant.runs), auc=auc, balance=found,
        auc_change=None if auc is None or base_auc is None else auc - base_auc,
        gained=None if i is None or at is None else i - at, front=False,
    )  # fmt: skip


def _balance(
    auc: float | None, base_auc: float | None, own: AxisFigures | str, chance: AxisFigures | str, no_auc: str
) -> Balance:
    """The balance, or what can be said of it with the reason; ``no_auc``: why an AUC is missing."""
    if auc is None or base_auc is None:
        return Balance(accuracy=None, interpretability=_interpretable(own, chance), harmonic=None, reason=no_auc)
    if isinstance(own, str) or isinstance(chance, str):
        reason = own if isinstance(own, str) else str(chance)
        return Balance(accuracy=kept_accuracy(auc, base_auc), interpretability=None, harmonic=None, reason=reason)
    return balance(auc, base_auc, own, chance)


def _interpretable(own: AxisFigures | str, chance: AxisFigures | str) -> float | None:
    return None if isinstance(own, str) or isinstance(chance, str) else interpretability(own, chance)


def _figures(entrant: Entrant, cells: Mapping[CellKey, CellValues], suffix: str) -> AxisFigures | str:
    """The three figures as means over runs, or why one is missing."""
    found = [_mean_over_runs(entrant, cells, f"{name}{suffix}") for name in FIGURES]
    missing = next((f for f in found if isinstance(f, str)), None)
    if missing is not None:
        return missing
    odc, axis_auc, share = (f for f in found if not isinstance(f, str))
    return AxisFigures(odc=odc, axis_auc=axis_auc, diagonal_share=share)


def _mean_over_runs(entrant: Entrant, cells: Mapping[CellKey, CellValues], score: str) -> float | str:
    here = {
        k: c for k, c in cells.items()
        if k.score == score and (k.where.dataset, k.where.model) == (entrant.dataset, entrant.model)
    }  # fmt: skip
    metrics = sorted({k.metric for k, c in here.items() if c.whole})
    if len(metrics) > 1:
        return f"'{score}' was measured in {len(metrics)} ways ({', '.join(map(short, metrics))}): choose one layer"
    values = {k.where.member: fmean(c.whole.values()) for k, c in here.items() if c.whole}
    if set(values) != set(entrant.runs):
        reasons = [reason for c in here.values() for _, reason in c.left_out if reason]
        why = f": {reasons[0]}" if reasons else ""
        missing = ", ".join(r for r in entrant.runs if r not in values)
        return f"'{score}' is there for {len(values)} of {len(entrant.runs)} runs (not {missing}){why}"
    return fmean(values.values())


def _is_front(row: BalanceRow, rows: Sequence[BalanceRow]) -> bool:
    """Whether nobody has at least as much of both and more of one."""
    if row.auc_change is None or row.gained is None:
        return False
    mine = (row.auc_change, row.gained)
    others = [(r.auc_change, r.gained) for r in rows if r.auc_change is not None and r.gained is not None]
    return not any(o != mine and o[0] >= mine[0] and o[1] >= mine[1] for o in others)
