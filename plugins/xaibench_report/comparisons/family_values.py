"""What each family came to under one measure: one value a training run, on samples that all compared runs have.

Nothing is averaged over what happened to have a value. A family with a run that was measured and has no value, or whose
runs share fewer than half of the samples that any compared run has, gets no value at all, and the reason names the run
and counts. Where runs lack fewer samples than that, those are left out for every family, and that is said in the same
way.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import isclose
from typing import NamedTuple

import numpy as np

from xaibench_report.detectors.detector_accuracy import Entrant
from xaibench_report.judgement.manipulation_methods import FAMILY, centre_gate, even
from xaibench_report.values.number_format import plural
from xaibench_report.values.run_values import CellKey, CellValues, ScoreInfo, Where
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


def family_alone(runs: Mapping[str, CellValues]) -> FamilyValues:
    """The values of one family by itself, on the samples or items that all of its runs have. ``runs`` by name."""
    every = {s for c in runs.values() for s in c.values.samples.tolist()}
    if not every:
        return _of_items(runs, _common_items([runs]), len(runs))
    why = _too_few(runs, len(every))
    if why:
        return FamilyValues(runs=None, why=why)
    return FamilyValues(
        runs=_on_common(runs, common_samples(c.values for c in runs.values())), why=_lacking(runs, len(every))
    )


# ---- measures with samples ------------------------------------------------------------------------------------------


def _of_samples(
    found: Mapping[str, Mapping[str, CellValues]], compared: Sequence[Entrant]
) -> tuple[dict[str, FamilyValues], int]:
    every = {s for runs in found.values() for c in runs.values() for s in c.values.samples.tolist()}
    refused = {m: _too_few(runs, len(every)) for m, runs in found.items()}
    kept = {m: runs for m, runs in found.items() if not refused[m]}
    samples = common_samples(c.values for runs in kept.values() for c in runs.values())
    if len(samples) < COVERAGE * len(every):
        shared = f"the families share {len(samples)} of {plural(len(every), 'picture')}: too few to compare them on"
        refused |= dict.fromkeys(kept, shared)
    values = {}
    for entrant in compared:
        runs = found[entrant.model]
        if refused[entrant.model]:
            values[entrant.model] = FamilyValues(runs=None, why=refused[entrant.model])
            continue
        why = (_unscored(len(runs), len(entrant.runs)), _lacking(runs, len(every)))
        values[entrant.model] = FamilyValues(runs=_on_common(runs, samples), why="; ".join(w for w in why if w))
    return values, len(samples) if any(v.runs for v in values.values()) else 0


def _on_common(runs: Mapping[str, CellValues], samples: Strings) -> Runs:
    return Runs.of_samples([even(c, samples).on(samples) for _, c in sorted(runs.items())])


def _too_few(runs: Mapping[str, CellValues], every: int) -> str:
    """Why a family is not compared, of ``every`` samples that any run has; empty where it is."""
    if not runs:
        return "not measured"
    if len(common_samples(c.values for c in runs.values())) >= COVERAGE * every:
        return ""
    fewest = min(sorted(runs), key=lambda r: len(runs[r].values))
    if len(runs[fewest].values) >= COVERAGE * every:
        return f"its runs share fewer than half of {plural(every, 'picture')}, though each has more"
    return f"{_run(fewest)} has {len(runs[fewest].values)} of {plural(every, 'picture')}{_reason(runs[fewest])}"


def _lacking(runs: Mapping[str, CellValues], every: int) -> str:
    """Which run lacks most, where one lacks any: those pictures are left out for everybody."""
    fewest = min(sorted(runs), key=lambda r: len(runs[r].values))
    lacks = every - len(runs[fewest].values)
    if not lacks:
        return ""
    return f"{_run(fewest)} lacks {lacks} of {plural(every, 'picture')}{_reason(runs[fewest])}, left out for all"


def _run(member: str) -> str:
    return member or "the family"


def _reason(cell: CellValues) -> str:
    """The commonest reason why a sample has no value, in brackets."""
    if not cell.left_out:
        return ""
    status, reason = max(cell.left_out, key=lambda key: (cell.left_out[key], key))
    return f" ({status.replace('_', ' ')}{f': {reason}' if reason else ''})"


def _unscored(scored: int, runs: int) -> str:
    return f"{scored} of {runs} runs were scored (eval --members all scores every run)" if scored < runs else ""


# ---- measures of a whole set, or of a whole family ------------------------------------------------------------------


def _common_items(families: Iterable[Mapping[str, CellValues]]) -> frozenset[str]:
    """The items that every run has of the families whose runs all have a value: a mean over others compares nothing."""
    every = [frozenset(c.whole) for runs in families if not _valueless(runs) for c in runs.values()]
    return frozenset.intersection(*every) if every else frozenset()


def _valueless(runs: Mapping[str, CellValues]) -> str:
    """The first run that was measured and has no value, with the reason; empty where there is none."""
    missing = sorted(r for r, c in runs.items() if not c.whole)
    if not missing:
        return "" if runs else "not measured"
    return f"{_run(missing[0])} has no value{_reason(runs[missing[0]])}"


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
        return _of_family(measure, entrant, family, cells, pictures)
    return _of_items(found, items, len(entrant.runs))


def _of_items(found: Mapping[str, CellValues], items: frozenset[str], runs: int) -> FamilyValues:
    """The mean over ``items`` of every run; ``runs``: how many the family has."""
    why = _valueless(found) or ("" if items else "the runs share no item of this measure")
    if why:
        return FamilyValues(runs=None, why=why)
    measured = [c.whole for _, c in sorted(found.items())]
    values = [exact_mean(np.asarray([whole[i] for i in sorted(items)])) for whole in measured]
    dropped = len(set().union(*measured) - items)
    uncommon = f"{dropped} of its items not in every run, left out" if dropped else ""
    notes = (_unscored(len(values), runs), uncommon)
    return FamilyValues(runs=Runs.of_values(values), why="; ".join(w for w in notes if w))


def _of_family(measure: Measure, entrant: Entrant, family: CellValues, cells: Cells, pictures: Values) -> FamilyValues:
    """One value of a whole family, by pairs of its runs where the metric tells them apart."""
    value = exact_mean(np.asarray(list(family.whole.values())))
    pairs = _pairs(measure, entrant, cells, value)
    if pairs:
        return FamilyValues(runs=Runs.of_pairs(pairs, _on_pictures(measure, entrant, cells, pictures)))
    nothing = np.zeros(0)
    return FamilyValues(runs=Runs(value=value, size=len(entrant.runs), own=nothing, without=nothing))


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
