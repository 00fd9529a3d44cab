"""Two runs on the same samples: what changed, and whether more than chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from xaibench.api import PlanError
from xaibench_report.detectors.detection import detections
from xaibench_report.detectors.marks import DetectorMark, withholding
from xaibench_report.judgement.manipulation_methods import FAMILY, alike, even_pair
from xaibench_report.values.run_values import (
    CellKey,
    CellValues,
    RunTables,
    ScoreInfo,
    Table,
    Where,
    cell_values,
    encode,
    short,
    texts,
)
from xaibench_report.values.score_items import split_items
from xaibench_statistics import SEED, Difference, holm, paired_difference


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedScore:
    """The second run minus the first, for one explainer under one score.

    ``first`` and ``second`` are the means over the common samples. ``improved``: whether the interval lies
    wholly on the better (True) or worse (False) side of 0; None where it holds 0, is missing, no side is better, or a
    mark of the detector withholds ranks.
    """

    where: Where
    metric: str
    score: str
    explainer: str
    better: str
    first: float | None
    second: float | None
    difference: Difference
    improved: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunComparison:
    """Every cell that both runs have. p values are adjusted by Holm over all rows that have one. The marks are those of
    the detectors of each run.

    ``only_first`` and ``only_second`` name cells that one run lacks.
    """

    rows: tuple[ComparedScore, ...]
    only_first: tuple[CellKey, ...]
    only_second: tuple[CellKey, ...]
    notes: tuple[str, ...]
    first_marks: tuple[DetectorMark, ...] = ()
    second_marks: tuple[DetectorMark, ...] = ()


def compare_runs(
    first: RunTables, second: RunTables, info: ScoreInfo | None = None, *, seed: int = SEED
) -> RunComparison:
    """Paired differences (second - first) of all cells that both runs have, on their common samples.

    Detectors and datasets are matched by name. Where each run has exactly one of them, the two are compared
    under the second's name whatever they are called, and a note says so. With ``info``, only primary scores
    are compared, and in localisation every manipulation method weighs alike, as on the leaderboard. Raises
    PlanError where a sample of one name is another picture (label, group or method differ).
    """
    _check_samples(first, second)
    a, notes = _renamed(cell_values(_split(first.scores, info)), first, second)
    b = cell_values(_split(second.scores, info))
    both = [k for k in sorted(a.keys() & b.keys()) if info is None or info.primary(k.metric, k.score)]
    rows = [_compared(k, *_weighed(k, a[k], b[k], info), seed) for k in both]
    adjusted = holm([r.difference.p for r in rows])
    marks = [tuple(m for d in detections(t) for m in d.marks) for t in (first, second)]
    marked = {r.where for r in rows if withholding(r.where, [*_translated(marks[0], first, second), *marks[1]])}
    rows = [replace(r, improved=None) if r.where in marked else r for r in rows]
    return RunComparison(
        rows=tuple(replace(r, difference=replace(r.difference, p_holm=p)) for r, p in zip(rows, adjusted, strict=True)),
        only_first=tuple(sorted(a.keys() - b.keys())),
        only_second=tuple(sorted(b.keys() - a.keys())),
        notes=notes,
        first_marks=marks[0],
        second_marks=marks[1],
    )


def _split(scores: Table, info: ScoreInfo | None) -> Table:
    return scores if info is None else split_items(scores, info)


def _weighed(key: CellKey, a: CellValues, b: CellValues, info: ScoreInfo | None) -> tuple[CellValues, CellValues]:
    """Manipulation methods are kept apart only where they weigh alike."""
    by_method = info is not None and info.family(key.metric) == FAMILY
    return (a, b) if by_method else (alike(a), alike(b))


def _compared(key: CellKey, a: CellValues, b: CellValues, seed: int) -> ComparedScore:
    row = ComparedScore(
        where=key.where, metric=key.metric, score=key.score, explainer=key.explainer, better=b.better,
        first=None, second=None, difference=Difference(value=None, n=0, dropped=0), improved=None,
    )  # fmt: skip
    if a.definitions != b.definitions:
        note = f"definition {_list(a.definitions)} against {_list(b.definitions)}: not comparable"
        return replace(row, difference=replace(row.difference, note=note))
    if a.whole or b.whole:
        return _compared_whole(row, a.whole, b.whole)
    first, second = even_pair(a, b)
    difference = paired_difference(second, first, seed=seed)
    on = (first.on(second.samples), second.on(first.samples))
    means = [float(np.mean(v.values)) if len(v) else None for v in on]
    return replace(
        row, first=means[0], second=means[1], difference=difference, improved=_improved(difference, b.better)
    )


def _compared_whole(row: ComparedScore, a: Mapping[str, float], b: Mapping[str, float]) -> ComparedScore:
    items = sorted(a.keys() & b.keys())
    if not items:
        return replace(row, difference=replace(row.difference, note="no common items"))
    first, second = (sum(x[i] for i in items) / len(items) for x in (a, b))
    difference = Difference(value=second - first, n=0, dropped=0, note="no samples behind this score: no interval")
    return replace(row, first=first, second=second, difference=difference)


def _improved(difference: Difference, better: str) -> bool | None:
    if better == "none" or difference.low is None or difference.high is None:
        return None
    if difference.low <= 0 <= difference.high:
        return None
    return difference.favours_first(better)


def _list(numbers: tuple[int, ...]) -> str:
    return ", ".join(map(str, numbers))


def _renamed(
    cells: Mapping[CellKey, CellValues], first: RunTables, second: RunTables
) -> tuple[dict[CellKey, CellValues], tuple[str, ...]]:
    """The first run's cells under the second's names of dataset and detector, where each run has only one."""
    to = _names(first, second)
    notes = tuple(
        f"{column} {short(mine)} of the first run is compared with {short(theirs)}"
        for column, names in to.items()
        for mine, theirs in names.items()
    )
    renamed = {key: key._replace(where=_translate(key.where, to)) for key in cells}
    return {renamed[key]: cell for key, cell in cells.items()}, notes


def _names(first: RunTables, second: RunTables) -> dict[str, dict[str, str]]:
    """The second run's name of each dataset, model and member of the first that is called otherwise, by column."""
    to: dict[str, dict[str, str]] = {}
    for column in ("dataset", "model", "member"):
        mine, theirs = (encode(t.predictions, column).names.tolist() for t in (first, second))
        if len(mine) == len(theirs) == 1 and mine != theirs:
            to[column] = {mine[0]: theirs[0]}
    return to


def _translated(marks: Sequence[DetectorMark], first: RunTables, second: RunTables) -> list[DetectorMark]:
    to = _names(first, second)
    return [replace(m, where=_translate(m.where, to)) for m in marks]


def _translate(where: Where, to: Mapping[str, Mapping[str, str]]) -> Where:
    names = (to.get(column, {}).get(name, name) for column, name in where._asdict().items())
    return Where(*map(str, names))


def _check_samples(first: RunTables, second: RunTables) -> None:
    one = all(len(encode(t.predictions, "dataset").names) == 1 for t in (first, second))
    a, b = (_identities(t, by_dataset=not one) for t in (first, second))
    wrong = sorted(s for s in a.keys() & b.keys() if a[s] != b[s])
    if wrong:
        was, now = _say(a[wrong[0]]), _say(b[wrong[0]])
        raise PlanError(
            f"sample '{wrong[0][1]}' is another picture in the second run ({was}; {now})",
            "compare runs on one dataset",
        )


def _identities(tables: RunTables, by_dataset: bool) -> dict[tuple[str, str], tuple[str, ...]]:
    columns = ("dataset", "sample", "label", "method", "group")
    rows = zip(*(texts(tables.predictions, c).tolist() for c in columns), strict=True)
    return {(dataset if by_dataset else "", sample): tuple(rest) for dataset, sample, *rest in rows}


def _say(identity: tuple[str, ...]) -> str:
    label, method, group = identity
    return f"{' '.join(p for p in (label, method) if p)} of group {group}"
