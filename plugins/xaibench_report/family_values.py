"""What each family came to under one measure: one value a training run, on samples that all compared runs have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import isclose
from typing import NamedTuple

import numpy as np

from xaibench_report.detector_accuracy import Entrant
from xaibench_report.manipulation_methods import FAMILY, centre_gate, even
from xaibench_report.run_values import CellKey, CellValues, ScoreInfo, Where
from xaibench_statistics import COVERAGE, Runs, Strings, Values, common_samples, exact_mean

Cells = Mapping[CellKey, CellValues]


class Measure(NamedTuple):
    """One score with the explainer fixed; ``explainer`` is empty for measures of the detector itself."""

    explainer: str
    metric: str
    score: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FamilyValues:
    """``runs`` is None where nothing was measured, and ``why`` says so; else ``why`` says what is missing."""

    runs: Runs | None
    why: str = ""


def family_values(
    measure: Measure,
    compared: Sequence[Entrant],
    cells: Cells,
    info: ScoreInfo,
    kept: Strings | None,
    pictures: Values,
) -> tuple[dict[str, FamilyValues], int]:
    """The values of every compared model, and how many samples they rest on (0 for measures without samples).

    ``kept``: only these samples, None for all. ``pictures``: those of the dataset, with their groups.
    """
    found = {e.model: _cells_of(measure, e, cells, info, kept) for e in compared}
    if any(len(c.values) for runs in found.values() for c in runs.values()):
        return _of_samples(found, compared)
    if kept is not None:
        why = "a value of the whole set cannot be taken on some of its pictures"
        return {e.model: FamilyValues(runs=None, why=why) for e in compared}, 0
    items = _common_items(found.values())
    return {e.model: _of_whole(measure, e, found[e.model], cells, items, pictures) for e in compared}, 0


def _cells_of(
    measure: Measure, entrant: Entrant, cells: Cells, info: ScoreInfo, kept: Strings | None
) -> dict[str, CellValues]:
    """The cells of a model by run, the empty name for a value of the family; without the methods that a localisation
    measure does not rank."""
    found = {}
    for member in (*entrant.runs, ""):
        where = Where(entrant.dataset, entrant.model, member)
        cell = cells.get(CellKey(where, measure.metric, measure.score, measure.explainer))
        if cell is None:
            continue
        if info.family(measure.metric) == FAMILY:
            cell = centre_gate(where, cells).keeps(cell)
        found[member] = cell if kept is None else cell.where(np.isin(cell.values.samples, kept))
    return found


# ---- measures with samples ------------------------------------------------------------------------------------------


def _of_samples(
    found: Mapping[str, Mapping[str, CellValues]], compared: Sequence[Entrant]
) -> tuple[dict[str, FamilyValues], int]:
    measured = {m: {r: c for r, c in runs.items() if len(c.values)} for m, runs in found.items()}
    own = {m: common_samples(c.values for c in runs.values()) for m, runs in measured.items() if runs}
    most = max(map(len, own.values()))
    enough = {m: samples for m, samples in own.items() if len(samples) and len(samples) >= COVERAGE * most}
    samples = common_samples(c.values for m in enough for c in measured[m].values())
    values = {}
    for entrant in compared:
        m = entrant.model
        if m not in enough or not len(samples):
            values[m] = FamilyValues(runs=None, why=_nothing(found[m].values(), bool(measured[m])))
            continue
        rows = [even(c, samples).on(samples) for _, c in sorted(measured[m].items())]
        values[m] = FamilyValues(runs=Runs.of_samples(rows), why=_fewer(len(rows), len(entrant.runs)))
    return values, len(samples)


def _nothing(cells: Iterable[CellValues], some: bool) -> str:
    if some:
        return "its runs share too few samples with the others"
    reasons = [reason or status for c in cells for status, reason in c.left_out]
    return reasons[0] if reasons else "not measured"


def _fewer(measured: int, runs: int) -> str:
    return f"{measured} of {runs} runs have values (eval --members all scores every run)" if measured < runs else ""


# ---- measures of a whole set, or of a whole family ------------------------------------------------------------------


def _common_items(found: Iterable[Mapping[str, CellValues]]) -> frozenset[str]:
    """The items that every run with a value has: a mean over others would compare nothing."""
    every = [frozenset(c.whole) for runs in found for c in runs.values() if c.whole]
    return frozenset.intersection(*every) if every else frozenset()


def _of_whole(
    measure: Measure,
    entrant: Entrant,
    found: Mapping[str, CellValues],
    cells: Cells,
    items: frozenset[str],
    pictures: Values,
) -> FamilyValues:
    family = found.get("")
    if family is not None and family.scope == "family" and family.whole:
        value = exact_mean(np.asarray(list(family.whole.values())))
        pairs = _pairs(measure, entrant, cells, value)
        if pairs:
            return FamilyValues(runs=Runs.of_pairs(pairs, _on_pictures(measure, entrant, cells, pictures)))
        nothing = np.zeros(0)
        return FamilyValues(runs=Runs(value=value, size=len(entrant.runs), own=nothing, without=nothing))
    measured = [c.whole for _, c in sorted(found.items()) if c.whole]
    if not measured:
        return FamilyValues(runs=None, why=_nothing(found.values(), some=False))
    if not items:
        return FamilyValues(runs=None, why="the runs share no item of this measure")
    values = [exact_mean(np.asarray([whole[i] for i in sorted(items)])) for whole in measured]
    dropped = len(set().union(*measured) - items)
    uncommon = f"{dropped} of its items not in every run, left out" if dropped else ""
    why = "; ".join(w for w in (_fewer(len(values), len(entrant.runs)), uncommon) if w)
    return FamilyValues(runs=Runs.of_values(values), why=why)


def _pairs(measure: Measure, entrant: Entrant, cells: Cells, value: float) -> dict[tuple[str, str], float]:
    """The value of each pair of runs, where a score of the same metric has an item ``a | b`` for each and its mean is
    the value; empty where none has."""
    wanted = {f"{a} | {b}": (a, b) for a, b in combinations(sorted(entrant.runs), 2)}
    where = Where(entrant.dataset, entrant.model, "")
    for key, cell in cells.items():
        same = (key.where, key.metric, key.explainer) == (where, measure.metric, measure.explainer)
        if not same or not wanted or set(cell.whole) != set(wanted):
            continue
        if isclose(exact_mean(np.asarray(list(cell.whole.values()))), value, rel_tol=1e-9, abs_tol=1e-12):
            return {wanted[item]: v for item, v in cell.whole.items()}
    return {}


def _on_pictures(measure: Measure, entrant: Entrant, cells: Cells, pictures: Values) -> Values | None:
    """What a measure of pairs of runs comes to on every picture, where a score of the same metric has an item for each;
    None where none has."""
    where, known = Where(entrant.dataset, entrant.model, ""), set(pictures.samples.tolist())
    for key, cell in cells.items():
        same = (key.where, key.metric, key.explainer) == (where, measure.metric, measure.explainer)
        if not same or not cell.whole or not set(cell.whole) <= known:
            continue
        some = pictures.on(np.asarray(sorted(cell.whole), dtype=np.str_))
        return some.with_values(np.asarray([cell.whole[s] for s in some.samples.tolist()]))
    return None
