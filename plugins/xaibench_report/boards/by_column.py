"""Every board by the values of one column of the table ``samples``: a mean for each value, and the gap between them.

Any column that sorts pictures into kinds will do: manipulation method, compression, generator, face size, a group of
people. A text column and a number of at most :data:`MOST_NUMBERS` values go by value, any other number by terciles of
the pictures of the plan, equal numbers together. Pictures without a value have a mean of their own and no part in the
gap; so has a value with too few groups for an interval. Nothing is adjusted for other columns: where every picture of
one generator is of one method, the gap of the one is the gap of the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from xaibench.api import UsageError, closest_first
from xaibench_report.boards.detector_tables import of_detector
from xaibench_report.boards.leaderboard import ready_cells
from xaibench_report.judgement.manipulation_methods import even, even_mean
from xaibench_report.values.number_format import number
from xaibench_report.values.run_values import (
    CellKey,
    Cells,
    CellValues,
    Role,
    RunTables,
    ScoreInfo,
    Table,
    Where,
    family_order,
    measured,
    score_name,
    score_order,
    short,
    texts,
)
from xaibench_report.values.score_items import without_item
from xaibench_statistics import Estimate, Gap, Strings, Values, gap_between, mean_interval

NONE: Final = "(none)"
_LABELS: Final = frozenset({"real", "fake"})  # what stands for the method of a picture that has none
EXPLANATION: Final = (
    "The gap is the largest minus the smallest mean. Its interval is that of the true gap, whichever values lie "
    "furthest apart, and at least 0; the observed gap is too large on average, the more so the more values and the "
    "fewer groups. Means with 95 % intervals, clustered by group. Nothing is adjusted for other columns."
)
MOST_NUMBERS: Final = 6
MOST_VALUES: Final = 30
DETECTION: Final = "detection"
_ROLES: Final[tuple[Role, ...]] = ("explainer", "control", "inverse", "reference")
IDENTITIES: Final = frozenset(
    {
        *("dataset", "sample", "order", "pair", "stranger"),
        *("digest", "stranger_digest", "picture", "pixel_digest", "fingerprint"),
    }
)
"""Columns that name single pictures or say how they were read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnCell:
    """One explainer under one score; ``means`` follow the board's values, None where a value has no sample. The empty
    explainer is the detector itself."""

    explainer: str
    role: Role
    means: tuple[Estimate | None, ...]
    gap: Gap


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnScore:
    """One score of one metric by value: explainers first, controls after them."""

    metric: str
    score: str
    better: str
    cells: tuple[ColumnCell, ...]
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnBoard:
    """One metric family on one detector and dataset. ``values``: names of the column's values, as their order is."""

    family: str
    where: Where
    values: tuple[str, ...]
    scores: tuple[ColumnScore, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ByColumn:
    """Every board of a run by the values of one column."""

    column: str
    boards: tuple[ColumnBoard, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ColumnParts:
    """Which value every sample of one dataset has. ``apart``: names that are no values of the column."""

    names: tuple[str, ...]
    of_sample: Mapping[str, str]
    apart: frozenset[str] = frozenset({NONE})

    def split(self, cell: CellValues) -> dict[str, CellValues]:
        value = np.asarray([self.of_sample.get(s, NONE) for s in cell.values.samples.tolist()], dtype=np.str_)
        return {name: cell.where(value == name) for name in self.names if (value == name).any()}


def build_by_column(tables: RunTables, info: ScoreInfo, column: str, prepared: Cells | None = None) -> ByColumn:
    """The detectors' accuracy and every board by the values of ``column``.

    ``prepared``: what :func:`~xaibench_report.boards.leaderboard.prepared_cells` gives, where it is at hand.

    Raises UsageError, with the columns that there are, for a column that is missing, names single pictures or has one
    value only.
    """
    parts = _parts(tables.samples, column)
    cells = {k: c for k, c in ready_cells(tables, info, prepared).items() if not of_detector(c)}
    boards = [*_detection(tables.predictions, parts)]
    for where, family in sorted(
        {(k.where, info.family(k.metric)) for k in cells}, key=lambda k: (k[0], family_order(k[1]))
    ):
        if where.dataset in parts:
            boards.append(_board(where, family, cells, parts[where.dataset], info))
    return ByColumn(column=column, boards=tuple(b for b in boards if b.scores))


def cell_name(cell: ColumnCell) -> str:
    """The explainer's short name; the empty one is the detector itself."""
    return short(cell.explainer) or "(detector)"


def gap_lines(gap: Gap) -> list[str]:
    """The interval of a gap and its two values, as they stand below the number; nothing where there is no gap."""
    if gap.value is None:
        return []
    return [f"[{number(gap.low)}, {number(gap.high)}]", f"{gap.largest} over {gap.smallest}"]


# ---- the column -----------------------------------------------------------------------------------------------------


def offered_columns(samples: Table | None) -> tuple[str, ...]:
    """The columns of the table ``samples`` by which a board can be split: two values or more, and no identities."""
    if samples is None:
        return ()
    planned = planned_samples(samples)
    kinds = {n: planned[n].drop_null().unique() for n in planned.column_names if n not in IDENTITIES}
    return tuple(name for name, values in kinds.items() if len(values) > 1)


def planned_samples(samples: Table) -> Table:
    """The samples of the last plan."""
    return samples.filter(samples["order"].is_valid())


def _parts(samples: Table | None, column: str) -> dict[str, ColumnParts]:
    """By dataset, those in which the column has a value."""
    offered = offered_columns(samples)
    if samples is None or column not in offered:
        names = f"columns: {closest_first(column, offered)}" if offered else "the run has no column with two values"
        raise UsageError(f"no column '{column}' by which the pictures of this run differ", names)
    planned = planned_samples(samples)
    parts = {dataset: column_parts(values, column) for dataset, values in values_by_dataset(planned, column).items()}
    return {dataset: found for dataset, found in parts.items() if set(found.names) - found.apart}


def values_by_dataset(samples: Table, column: str) -> dict[str, dict[str, Any]]:
    """The raw value of every sample by dataset. The label stands for the manipulation method of a picture without."""
    values = samples[column].to_pylist()
    if column == "method":
        values = [method or label for method, label in zip(values, texts(samples, "label").tolist(), strict=True)]
    by_dataset: dict[str, dict[str, Any]] = {}
    ids = zip(texts(samples, "dataset").tolist(), texts(samples, "sample").tolist(), values, strict=True)
    for dataset, sample, value in ids:
        by_dataset.setdefault(dataset, {})[sample] = value
    return by_dataset


def column_parts(values: Mapping[str, Any], column: str) -> ColumnParts:
    """Which value every sample of one dataset has, from the raw values of the column by sample.

    Raises UsageError where there are more than :data:`MOST_VALUES`.
    """
    present = {s: v for s, v in values.items() if v is not None and v != ""}
    distinct = sorted(set(present.values()))
    numeric = all(isinstance(v, int | float) for v in distinct)
    if numeric and len(distinct) > MOST_NUMBERS:
        names, named = _terciles(present)
    else:
        names, named = [str(v) for v in distinct], {s: str(v) for s, v in present.items()}
    if len(names) > MOST_VALUES:
        raise UsageError(
            f"column '{column}' has {len(names)} values, more than {MOST_VALUES}",
            "give one that names kinds of pictures",
        )
    apart = frozenset({NONE, *(_LABELS if column == "method" else ())})
    names = [*(n for n in names if n not in apart), *(n for n in names if n in apart)]
    return ColumnParts(tuple(dict.fromkeys([*names, *([NONE] if len(present) < len(values) else [])])), named, apart)


def _terciles(values: Mapping[str, float]) -> tuple[list[str], dict[str, str]]:
    """Up to the first tercile of the pictures, up to the second, and above; the ends belong to the lower part."""
    low, high = np.quantile(np.asarray(list(values.values()), dtype=np.float64), [1 / 3, 2 / 3]).tolist()
    names = [f"up to {low:.4g}", f"{low:.4g} to {high:.4g}", f"above {high:.4g}"]
    named = {s: names[int(v > low) + int(v > high)] for s, v in values.items()}
    return [n for n in dict.fromkeys(names) if n in set(named.values())], named


# ---- the boards -----------------------------------------------------------------------------------------------------


def _board(
    where: Where, family: str, cells: Mapping[CellKey, CellValues], parts: ColumnParts, info: ScoreInfo
) -> ColumnBoard:
    by_score: dict[tuple[str, str], dict[str, CellValues]] = {}
    for key, cell in cells.items():
        if (
            key.where == where
            and info.family(key.metric) == family
            and key.score
            and info.primary(key.metric, key.score)
        ):
            by_score.setdefault((key.metric, key.score), {})[key.explainer] = cell
    order = sorted(by_score.keys() - without_item(by_score, info), key=score_order(info))
    split = [k for k in order if any(len(c.values) for c in by_score[k].values())]
    scores = tuple(_score(key, by_score[key], parts, info) for key in split)
    whole = [score_name(*k) for k in order if any(c.whole for c in by_score[k].values())]
    notes = [f"{', '.join(whole)}: a value of a whole set has no parts"] if whole and scores else []
    return ColumnBoard(
        family=family, where=where, values=parts.names, scores=scores, notes=(*notes, *_few_notes(scores, parts.names))
    )


def _score(key: tuple[str, str], cells: Mapping[str, CellValues], parts: ColumnParts, info: ScoreInfo) -> ColumnScore:
    spec = info.spec(*key)
    rows = [_cell(e, info.role(e), c, parts) for e, c in sorted(cells.items()) if len(c.values)]
    return ColumnScore(
        metric=key[0],
        score=key[1],
        better=measured(cells).better,
        cells=tuple(sorted(rows, key=lambda row: (_ROLES.index(row.role), row.explainer))),
        description=spec.description if spec else "",
    )


def _cell(explainer: str, role: Role, cell: CellValues, parts: ColumnParts) -> ColumnCell:
    split = parts.split(cell)
    return _column_cell(
        explainer,
        role,
        {name: even(part, part.values.samples) for name, part in split.items()},
        {name: even_mean(part) for name, part in split.items()},
        parts,
    )


def _column_cell(
    explainer: str, role: Role, values: Mapping[str, Values], means: Mapping[str, Estimate], parts: ColumnParts
) -> ColumnCell:
    known = {name: mean for name, mean in means.items() if name not in parts.apart}
    return ColumnCell(
        explainer=explainer,
        role=role,
        means=tuple(means.get(name) for name in parts.names),
        gap=gap_between(values, known),
    )


def _detection(predictions: Table, parts: Mapping[str, ColumnParts]) -> Iterator[ColumnBoard]:
    """How often every detector calls a picture by its label."""
    given = predictions.filter(predictions["correct"].is_valid())
    names = [texts(given, column) for column in ("dataset", "model", "member")]
    correct = np.asarray(given["correct"].to_pylist(), dtype=np.float64)
    samples, groups, cross = (texts(given, column) for column in ("sample", "group", "cross_group"))
    for where in sorted({Where(*row) for row in zip(*(n.tolist() for n in names), strict=True)}):
        if where.dataset not in parts:
            continue
        rows = np.logical_and.reduce([n == own for n, own in zip(names, where, strict=True)])
        values = Values.of(samples[rows], correct[rows], groups[rows], cross[rows])
        scores = (_accuracy(values, parts[where.dataset]),)
        here = parts[where.dataset].names
        yield ColumnBoard(family=DETECTION, where=where, values=here, scores=scores, notes=_few_notes(scores, here))


def _accuracy(values: Values, parts: ColumnParts) -> ColumnScore:
    kind: Strings = np.asarray([parts.of_sample.get(s, NONE) for s in values.samples.tolist()], dtype=np.str_)
    by_value = {name: values.where(kind == name) for name in parts.names if (kind == name).any()}
    means = {name: mean_interval(v) for name, v in by_value.items()}
    return ColumnScore(
        metric=DETECTION,
        score="accuracy",
        better="higher",
        cells=(_column_cell("", "explainer", by_value, means, parts),),
        description="share of pictures that the detector calls by their label",
    )


def _few_notes(scores: Sequence[ColumnScore], names: Sequence[str]) -> tuple[str, ...]:
    """The values without an interval, by reason."""
    why: dict[str, dict[str, None]] = {}
    for mean, name in ((m, n) for s in scores for c in s.cells for m, n in zip(c.means, names, strict=True)):
        if mean is not None and mean.note:
            why.setdefault(mean.note, {})[name] = None
    return tuple(f"{', '.join(found)}: {note}, no part in the gap" for note, found in sorted(why.items()))
