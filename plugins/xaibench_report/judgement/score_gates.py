"""Gates of a board: why a score ranks nothing on this detector and these pictures.

A gate reads all values of a score, of explainers and controls, and speaks of the score, never of a row. A score that a
gate withholds keeps its values; it has neither ranks nor verdicts, and the reason stands beneath the board.

**Reference told from random.** The reference is an explainer that knows the answer (``mask-oracle``) or a ceiling that
the measure itself has (``ScoreSpec.headroom``), never a candidate. Where its values are not shown better than those of
random maps at 5 %, beyond what ties move, no map can be expected to be, and nothing is ranked. Scores that need not
rank evidence (``ScoreSpec.ranks_evidence``) are not held to it. Without a reference, without random maps and with too
few groups the gate is *not measured*, which is said and withholds nothing.

**Floor and ceiling.** A score has no room where at least :data:`MOST_AT_BOUND` of all values, of explainers and
controls together, and of the random control by itself, lie within :data:`HAIR` of the score's range of one and the same
declared bound; or where all means, in localisation over methods that weigh alike, are equal as they are printed.
References count in neither, since they are expected at a bound. The rule needs no groups: it speaks of the values that
there are.

**Fill.** Filling regions anywhere turns real pictures fake (:mod:`~xaibench_report.judgement.fill_gate`).

**Centre prior.** A map that knows nothing of the picture finds every mask
(:mod:`~xaibench_report.judgement.manipulation_methods`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final, TypeAlias

import numpy as np

from xaibench_report.judgement.fill_gate import fill_gate, fill_unmeasured
from xaibench_report.judgement.manipulation_methods import FAMILY, centre_gate, even
from xaibench_report.judgement.oriented_pairs import OrientedPair
from xaibench_report.judgement.tie_spread import tie_spreads
from xaibench_report.values.number_format import interval, number, plural
from xaibench_report.values.run_values import (
    CellKey,
    Cells,
    CellValues,
    Columns,
    ScoreInfo,
    ScoreKey,
    Where,
    measured,
    score_name,
    short,
)
from xaibench_report.values.score_items import headroom_measured, no_headroom
from xaibench_statistics import Design, Floats, exact_mean, judge_against_controls

Gate: TypeAlias = Callable[[Where, Columns, Cells, ScoreInfo], Mapping[ScoreKey, str]]
"""Takes a board's place, its ranked scores with the cells of each explainer, and all cells of the run. Returns the
scores that it speaks of, each with one sentence without a full stop."""

HAIR: Final = 0.01
MOST_AT_BOUND: Final = 0.9
_RANDOM: Final = "random"
_ROUNDING: Final = 1e-9  # .99 lies a hair from 1, whatever floats make of it


def withheld_scores(where: Where, columns: Columns, cells: Cells, info: ScoreInfo) -> dict[ScoreKey, str]:
    """The scores that rank nothing here, each with the reason of the first gate that says so."""
    reasons: dict[ScoreKey, str] = {}
    for gate in GATES:
        for key, reason in gate(where, columns, cells, info).items():
            reasons.setdefault(key, reason)
    return reasons


def unmeasured_notes(where: Where, columns: Columns, cells: Cells, info: ScoreInfo) -> list[str]:
    """One line for every reason why a gate was not measured, with the scores that it holds for."""
    scores: dict[str, list[str]] = {}
    for gate in UNMEASURED:
        for key, reason in gate(where, columns, cells, info).items():
            scores.setdefault(reason, []).append(score_name(*key))
    return [f"{', '.join(names)}: {reason}" for reason, names in scores.items()]


# ---- floor and ceiling ----------------------------------------------------------------------------------------------


def bounds_gate(where: Where, columns: Columns, cells: Cells, info: ScoreInfo) -> Mapping[ScoreKey, str]:
    """Scores whose values all lie at a bound, ``saturated at 1.000`` or ``floored at 0.000``, or print alike."""
    found = ((key, _at_bound(key, column, info) or _equal_means(column, info)) for key, column in columns.items())
    return {key: reason for key, reason in found if reason}


def _at_bound(key: ScoreKey, column: Mapping[str, CellValues], info: ScoreInfo) -> str:
    spec = info.spec(*key)
    if spec is None or not np.isfinite(spec.high - spec.low):
        return ""
    hair = HAIR * (spec.high - spec.low) * (1 + _ROUNDING)
    values = dict(_compared_values(column, info))
    for bound, word in ((spec.high, "saturated"), (spec.low, "floored")):
        near = {e: np.abs(v - bound) <= hair for e, v in values.items()}
        least = [np.concatenate(list(near.values()))] if near else []
        least += [n for e, n in near.items() if _is_random(e, info)]
        if least and min(float(n.mean()) for n in least) >= MOST_AT_BOUND:
            return f"{word} at {number(bound)}"
    return ""


def _equal_means(column: Mapping[str, CellValues], info: ScoreInfo) -> str:
    cells = [c for e, c in column.items() if len(c.values) and info.role(e) != "reference"]
    means = [number(exact_mean(even(c, c.values.samples).values)) for c in cells]
    return f"all means are {means[0]}, equal at the shown precision" if len(means) > 1 and len(set(means)) == 1 else ""


def _compared_values(column: Mapping[str, CellValues], info: ScoreInfo) -> Iterator[tuple[str, Floats]]:
    for explainer, cell in column.items():
        if len(cell.values) and info.role(explainer) != "reference":
            yield explainer, cell.values.values


def _is_random(explainer: str, info: ScoreInfo) -> bool:
    return info.role(explainer) == "control" and short(explainer).partition(":")[0] == _RANDOM


# ---- a reference that knows the answer ------------------------------------------------------------------------------


def reference_gate(where: Where, columns: Columns, cells: Cells, info: ScoreInfo) -> Mapping[ScoreKey, str]:
    """Scores under which no reference is shown better than random maps."""
    return {key: text for key, (told, text) in _readings(where, columns, cells, info) if told is False}


def reference_unmeasured(where: Where, columns: Columns, cells: Cells, info: ScoreInfo) -> Mapping[ScoreKey, str]:
    """Scores of which it is not known whether a reference is told from random maps."""
    before = "not measured whether a reference is told from random maps"
    return {key: f"{before}: {text}" for key, (told, text) in _readings(where, columns, cells, info) if told is None}


def _readings(
    where: Where, columns: Columns, cells: Cells, info: ScoreInfo
) -> Iterator[tuple[ScoreKey, tuple[bool | None, str]]]:
    """Of the scores under which evidence must score better than random maps, and whose measure has no ceiling of its
    own."""
    for key, column in columns.items():
        spec = info.spec(*key)
        if (spec is None or (spec.ranks_evidence and spec.headroom is None)) and len(measured(column).values):
            yield key, _reading(where, key, column, cells, info)


def _reading(
    where: Where, key: ScoreKey, column: Mapping[str, CellValues], cells: Cells, info: ScoreInfo
) -> tuple[bool | None, str]:
    """Whether a reference is told from random maps, None where that is not known, and the words for either. One
    reference that is told is enough."""
    names = [e for e in sorted(column) if len(column[e].values)]
    references, random = [e for e in names if e in info.references], [e for e in names if _is_random(e, info)]
    if not references or not random:
        return None, "no random maps have values" if references else "no reference, such as mask-oracle, has values"
    spreads = tie_spreads(where, key, cells, column, info)
    texts: dict[bool | None, str] = {}
    for reference in references:
        told, text = _against_random(reference, random[0], column, spreads)
        if told:
            return True, ""
        texts.setdefault(told, text)
    return (False, texts[False]) if False in texts else (None, texts[None])


def _against_random(
    reference: str, random: str, column: Mapping[str, CellValues], spreads: Mapping[str, CellValues]
) -> tuple[bool | None, str]:
    """Judged as an explainer is, but alone: a gate is no finding that a whole board has to be corrected for."""
    better, both = measured(column).better, (spreads.get(reference), spreads.get(random))
    pair = OrientedPair.of(column[reference], column[random], better, both)
    if not len(pair.delta):
        return None, "no common samples"
    key = (reference, "")
    judgement = judge_against_controls({key: {random: pair.delta}}, margins={key: {random: pair.margin}})[key]
    if judgement.word is None:
        return None, Design.of(pair.delta.groups, pair.delta.cross).too_few().partition(": ")[0]
    d = pair.difference()
    ties = f"; ties move it by {number(pair.margin)}" if pair.margin >= abs(d.value or 0.0) > 0 else ""
    size = f"difference {number(d.value)} {interval(d)}".rstrip()
    text = f"{short(reference)} is not told from {short(random)} maps: {size} in {plural(d.groups, 'group')}{ties}"
    return judgement.word == "better", text


# ---- a ceiling of the measure's own ---------------------------------------------------------------------------------


def headroom_gate(where: Where, columns: Columns, cells: Cells, info: ScoreInfo) -> Mapping[ScoreKey, str]:
    """Scores of attacks under which no explainer's regions leave headroom between random regions and the ceiling."""
    found: dict[ScoreKey, str] = {}
    for key, column in columns.items():
        reasons = without_headroom(where, key, column, cells, info)
        explainers = [e for e, c in column.items() if len(c.values) and info.role(e) == "explainer"]
        if explainers and all(e in reasons for e in explainers):
            found[key] = reasons[min(explainers)]
    return found


def without_headroom(
    where: Where, key: ScoreKey, column: Mapping[str, CellValues], cells: Cells, info: ScoreInfo
) -> dict[str, str]:
    """The explainers and controls whose own regions leave no headroom, with the reason: they have no part in ranks and
    verdicts of the score."""
    found = ((e, no_headroom(CellKey(where, *key, e), cell, cells, info)) for e, cell in column.items())
    return {e: reason for e, reason in found if reason}


def headroom_unmeasured(where: Where, columns: Columns, cells: Cells, info: ScoreInfo) -> Mapping[ScoreKey, str]:
    """Scores that declare a ceiling which has no values."""
    return {
        key: "not measured whether the measure's ceiling is told from random regions"
        for key, column in columns.items()
        if (spec := info.spec(*key)) is not None and spec.headroom is not None and len(measured(column).values)
        if not any(headroom_measured(CellKey(where, *key, e), cells, info) for e in column)
    }


# ---- masks in the middle --------------------------------------------------------------------------------------------


def centre_prior_gate(where: Where, columns: Columns, cells: Cells, info: ScoreInfo) -> Mapping[ScoreKey, str]:
    """Scores of localisation all of whose manipulation methods have their masks in the middle."""
    here = {key: column for key, column in columns.items() if info.family(key[0]) == FAMILY}
    gate = centre_gate(where, cells) if here else None
    found = {key: gate.closed(column.values()) for key, column in here.items()} if gate else {}
    return {key: reason for key, reason in found.items() if reason}


GATES: Final[tuple[Gate, ...]] = (
    centre_prior_gate,
    fill_gate,
    bounds_gate,
    headroom_gate,
    reference_gate,
)
"""The reason of the first one that speaks is shown."""
UNMEASURED: Final[tuple[Gate, ...]] = (fill_unmeasured, headroom_unmeasured, reference_unmeasured)
"""Say what was not measured and withhold nothing. The centre prior's stands among the notes on methods."""
