"""A finished run as statistics see it: its tables, what the scores mean, and one value a sample.

A value of a score is first averaged over repeats, draws and items *within* its sample. A sample counts only
if all of its values are ``ok``; a sample with one undefined repeat or item is left out and counted, never
averaged over what happened to be there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from xaibench.api import ScoreSpec
from xaibench_statistics import Estimate, Floats, Ints, Strings, Values, exact_mean

Table: TypeAlias = Any  # pyarrow.Table; pyarrow ships no types
Pixels: TypeAlias = npt.NDArray[np.uint8]  # (H, W, 3) RGB
Role = Literal["explainer", "control", "inverse", "reference"]
ScoreKey: TypeAlias = tuple[str, str]  # metric, score; a score whose items are columns of their own with its item

BUILT_IN = "xaibench/"
FAMILIES = ("faithfulness", "localisation", "attack", "robustness", "salience", "interpretability")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTables:
    """The Arrow tables of one run, restricted to the rows of its plan; schemas in
    :mod:`xaibench.store.schema`."""

    scores: Table
    predictions: Table
    commits: Table
    curves: Table | None = None
    artefacts: Table | None = None
    detectors: Table | None = None
    runs: Table | None = None
    components: Table | None = None
    samples: Table | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreInfo:
    """What the tables do not say about components.

    ``controls``: names of explainers that are controls (``distribution/name[:…]``, as in the tables); ``references``:
    of those that know what no detector shows; ``independent``: of those whose maps no detector enters.
    ``families``: metric name -> family of the leaderboard it stands in (``other`` where it is missing).
    ``specs``: (metric name, score name) -> its declaration; a score without one counts as primary. Their
    order is the order of columns.
    ``accompanied_by``: metric name -> names of the metrics that say whether it means anything on a detector, whether or
    not they ran.
    """

    controls: frozenset[str] = frozenset()
    references: frozenset[str] = frozenset()
    independent: frozenset[str] = frozenset()
    families: Mapping[str, str] = field(default_factory=dict)
    specs: Mapping[tuple[str, str], ScoreSpec] = field(default_factory=dict)
    accompanied_by: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def family(self, metric: str) -> str:
        """The leaderboard that a metric stands in."""
        return self.families.get(metric, "other")

    def spec(self, metric: str, score: str) -> ScoreSpec | None:
        """The declaration of a score, which may be named with its item: ``margin-drop slic-50 top-1``."""
        return self.specs.get((metric, score.partition(" ")[0]))

    def limits(self, metric: str, score: str) -> tuple[float, float]:
        """The declared range of a score."""
        spec = self.spec(metric, score)
        return (spec.low, spec.high) if spec else (float("-inf"), float("inf"))

    def primary(self, metric: str, score: str) -> bool:
        """Whether a score stands in the leaderboard."""
        spec = self.spec(metric, score)
        return spec is None or spec.primary

    def role(self, explainer: str) -> Role:
        """A reference is not to be beaten, nor is a map that no detector enters and that is no control;
        ``inverse:of=X`` is a control of X alone."""
        if explainer in self.references:
            return "reference"
        if explainer not in self.controls:
            return "reference" if explainer in self.independent else "explainer"
        return "inverse" if short(explainer).partition(":")[0] == "inverse" else "control"


def family_order(family: str) -> tuple[int, str]:
    """Key that sorts metric families as they are printed, those of other plugins last."""
    return (FAMILIES.index(family) if family in FAMILIES else len(FAMILIES), family)


def score_order(info: ScoreInfo) -> Callable[[tuple[str, str]], tuple[int, tuple[str, str]]]:
    """Key that sorts (metric, score) in the order in which scores are declared."""
    declared = {key: i for i, key in enumerate(info.specs)}
    return lambda k: (declared.get((k[0], k[1].partition(" ")[0]), len(declared)), k)


def short(name: str) -> str:
    """A component's name as people read it: built-ins lose their distribution."""
    return name.replace(f"of={BUILT_IN}", "of=").removeprefix(BUILT_IN)


def score_name(metric: str, score: str, between: str = " ") -> str:
    """Metric and score, the name said once where both have the same."""
    return short(metric) if short(metric).partition(":")[0] == score else f"{short(metric)}{between}{score}"


def inverse_of(explainer: str) -> str:
    """The short name of the explainer that an ``inverse:of=X`` inverts."""
    return short(explainer).partition("of=")[2]


class Where(NamedTuple):
    """Which detector on which data. ``member`` is empty for scores of a whole family."""

    dataset: str
    model: str
    member: str


class CellKey(NamedTuple):
    """One explainer under one score of one metric, on one detector and dataset.

    ``explainer`` is empty for measures of the detector itself."""

    where: Where
    metric: str
    score: str
    explainer: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CellValues:
    """All that a run says about one :class:`CellKey`.

    ``values``: one value a complete sample. ``whole``: for scores without samples, item -> value (mean of its
    repeats). ``incomplete``: samples left out. ``left_out``: values that are not ok, by (status, reason).
    ``labels``: complete samples by ``real`` and ``fake``. ``methods``: the manipulation of every sample of ``values``,
    empty where it has none. ``censored``, where the score is right-censored: the samples of ``values`` whose value is
    only the largest tried. ``limits``: the declared range of the score, beyond which no interval reaches.
    """

    values: Values
    whole: Mapping[str, float]
    better: str
    scope: str
    definitions: tuple[int, ...]
    items: tuple[str, ...]
    incomplete: int
    left_out: Mapping[tuple[str, str], int]
    labels: Mapping[str, int]
    methods: Strings
    censored: npt.NDArray[np.bool_] | None = None
    limits: tuple[float, float] = (float("-inf"), float("inf"))

    @property
    def any(self) -> bool:
        """Whether anything was measured."""
        return len(self.values) > 0 or bool(self.whole)

    def within(self, estimate: Estimate) -> Estimate:
        """The estimate with its interval cut to the range of the score."""
        if estimate.low is None or estimate.high is None:
            return estimate
        return replace(estimate, low=max(estimate.low, self.limits[0]), high=min(estimate.high, self.limits[1]))

    def where(self, keep: npt.NDArray[np.bool_]) -> CellValues:
        """The samples where ``keep`` is True; what is counted stays as it is."""
        censored = None if self.censored is None else self.censored[keep]
        return replace(self, values=self.values.where(keep), methods=self.methods[keep], censored=censored)


Columns: TypeAlias = Mapping[ScoreKey, Mapping[str, CellValues]]
"""The scores of one board, each with the cells of its explainers."""
Cells: TypeAlias = Mapping[CellKey, CellValues]
"""All cells of a run."""


def measured(cells: Mapping[str, CellValues]) -> CellValues:
    """The first of several cells of one score that holds values, else the first: it knows direction and
    scope."""
    return next((c for c in cells.values() if c.any), next(iter(cells.values())))


class Codes(NamedTuple):
    """A text column as integers into its sorted distinct values; null is the empty text."""

    codes: Ints
    names: Strings

    def take(self, rows: Ints) -> Strings:
        """The texts of some rows."""
        return self.names[self.codes[rows]]


def encode(table: Table, column: str) -> Codes:
    """Encode a text column so that equal tables in any row order give equal names."""
    if not len(table):
        return Codes(np.zeros(0, dtype=np.intp), np.zeros(0, dtype=np.str_))
    filled = pc.fill_null(pc.cast(table[column], pa.string()), "")
    encoded = filled.combine_chunks().dictionary_encode()
    names = np.asarray(encoded.dictionary.to_pylist(), dtype=np.str_)
    order = np.argsort(names, kind="stable")
    rank = np.empty(len(order), dtype=np.intp)
    rank[order] = np.arange(len(order))
    return Codes(rank[encoded.indices.to_numpy(zero_copy_only=False)], names[order])


def texts(table: Table, column: str) -> Strings:
    """A text column as numpy strings; null is the empty text."""
    found = encode(table, column)
    return found.names[found.codes] if len(table) else found.names


@dataclass(frozen=True, slots=True, eq=False)
class _Columns:
    """The columns of the scores table, encoded once."""

    keys: tuple[Codes, ...]
    text: Mapping[str, Codes]
    value: Floats
    definition: Ints

    @staticmethod
    def of(scores: Table) -> _Columns:
        keys = ("dataset", "model", "member", "metric", "score", "explainer")
        rest = (
            "sample", "item", "group", "cross_group", "label", "method", "better", "scope", "status", "reason",
        )  # fmt: skip
        value = pc.cast(scores["value"], pa.float64()).to_numpy(zero_copy_only=False)
        definition = scores["definition"].to_numpy(zero_copy_only=False)
        return _Columns(
            tuple(encode(scores, k) for k in keys),
            {name: encode(scores, name) for name in rest},
            np.asarray(value, dtype=np.float64),
            np.asarray(definition, dtype=np.intp),
        )

    def texts(self, name: str, rows: Ints) -> Strings:
        return self.text[name].take(rows)

    def distinct(self, name: str, rows: Ints) -> list[str]:
        column = self.text[name]
        return [str(column.names[i]) for i in np.unique(column.codes[rows])]

    def cells(self) -> Iterator[tuple[CellKey, Ints]]:
        """The rows of every cell, sorted by sample, item and value."""
        cell = np.zeros(len(self.value), dtype=np.int64)
        for column in self.keys:
            cell = cell * max(1, len(column.names)) + column.codes
        order = np.lexsort((self.value, self.text["item"].codes, self.text["sample"].codes, cell))
        cuts = np.flatnonzero(np.diff(cell[order])) + 1
        for rows in np.split(order, cuts) if len(order) else []:
            dataset, model, member, metric, score, explainer = (str(c.take(rows[:1])[0]) for c in self.keys)
            yield CellKey(Where(dataset, model, member), metric, score, explainer), rows


def cell_values(scores: Table) -> dict[CellKey, CellValues]:
    """Every cell of a scores table, averaged within samples. The order of rows does not matter."""
    columns = _Columns.of(scores)
    return {key: _cell(columns, rows) for key, rows in columns.cells()}


def _cell(columns: _Columns, rows: Ints) -> CellValues:
    sample = columns.texts("sample", rows)
    status = columns.texts("status", rows)
    reason = columns.texts("reason", rows)
    bad = status != "ok"
    scope = columns.distinct("scope", rows)[-1]
    kept, incomplete = _average_samples(columns, rows[sample != ""], bad[sample != ""])
    labels = Counter(columns.texts("label", kept.rows).tolist())
    return CellValues(
        values=kept.values,
        whole=_average_items(columns, rows[(sample == "") & ~bad]),
        better=columns.distinct("better", rows)[0],
        scope=scope,
        definitions=tuple(int(d) for d in np.unique(columns.definition[rows])),
        items=tuple(i for i in columns.distinct("item", rows) if i),
        incomplete=incomplete,
        left_out=dict(sorted(Counter(zip(status[bad].tolist(), reason[bad].tolist(), strict=True)).items())),
        labels={label: labels[label] for label in ("real", "fake") if labels[label]},
        methods=columns.texts("method", kept.rows),
    )


class _Kept(NamedTuple):
    values: Values
    rows: Ints  # the first row of every complete sample


def _average_samples(columns: _Columns, rows: Ints, bad: np.ndarray[Any, Any]) -> tuple[_Kept, int]:
    if not len(rows):
        return _Kept(Values.of([], []), rows), 0
    codes = columns.text["sample"].codes[rows]
    starts = np.flatnonzero(np.concatenate([[True], codes[1:] != codes[:-1]]))
    sizes = np.diff(np.append(starts, len(rows)))
    complete = np.add.reduceat(bad.astype(np.intp), starts) == 0
    with np.errstate(invalid="ignore"):
        means = np.add.reduceat(columns.value[rows], starts) / sizes
    first = rows[starts][complete]
    values = Values.of(
        columns.texts("sample", first),
        means[complete],
        columns.texts("group", first),
        columns.texts("cross_group", first),
    )
    return _Kept(values, first), int((~complete).sum())


def _average_items(columns: _Columns, rows: Ints) -> dict[str, float]:
    items = columns.texts("item", rows)
    return {str(item): exact_mean(columns.value[rows[items == item]]) for item in np.unique(items)}
