"""The rows of a run's scores by columns of the table ``samples`` and by repeat."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from xaibench_report.boards.by_column import IDENTITIES, NONE, column_parts, planned_samples, values_by_dataset
from xaibench_report.values.run_values import RunTables, Table, encode, texts
from xaibench_statistics import Ints

EVERY: Final = "(all)"
"""What stands where a value of a whole set has no part."""


class Label(NamedTuple):
    """What a header says, behind what sorts it."""

    order: tuple[Any, ...]
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """The scores of one combination of values. ``labels`` by key; ``holds``: by dataset, the samples of the part, None
    for a part that is not one of samples."""

    labels: Mapping[str, Label]
    tables: RunTables
    holds: Mapping[str, frozenset[str]] | None = None


def sample_keys(samples: Table | None) -> tuple[str, ...]:
    """The columns of ``samples`` that can be a key."""
    return () if samples is None else tuple(n for n in samples.column_names if n not in IDENTITIES)


def split_tables(tables: RunTables, keys: Sequence[str]) -> Iterator[Part]:
    """The part of every combination of values of ``keys`` that the planned samples have, then that of values of whole
    sets. Without keys the run itself."""
    if not keys:
        yield Part({}, tables)
        return
    columns = [_repeats(tables.scores) if k == "repeat" else _values(tables, k) for k in keys]
    whole = texts(tables.scores, "sample") == ""
    codes = np.stack([c.codes for c in columns], axis=1)
    for combination in np.unique(codes[~whole], axis=0):
        rows = ~whole & (codes == combination).all(axis=1)
        labels = {k: c.labels[code] for k, c, code in zip(keys, columns, combination.tolist(), strict=True)}
        yield Part(labels, _only(tables, rows), _samples_in(tables, rows))
    if whole.any():
        yield Part({k: Label((-1,), EVERY) for k in keys}, _only(tables, whole))


def _only(tables: RunTables, rows: npt.NDArray[np.bool_]) -> RunTables:
    return replace(tables, scores=tables.scores.filter(pa.array(rows)))


def _samples_in(tables: RunTables, rows: npt.NDArray[np.bool_]) -> dict[str, frozenset[str]]:
    chosen = tables.scores.select(["dataset", "sample"]).filter(pa.array(rows))
    found: dict[str, set[str]] = {}
    for row in chosen.group_by(["dataset", "sample"]).aggregate([]).to_pylist():
        found.setdefault(row["dataset"], set()).add(row["sample"])
    return {dataset: frozenset(samples) for dataset, samples in found.items()}


@dataclass(frozen=True, slots=True, eq=False)
class _Coded:
    """The value of every row of the scores as a number, with the labels of the numbers."""

    codes: Ints
    labels: Sequence[Label]


def _repeats(scores: Table) -> _Coded:
    numbers, codes = np.unique(np.asarray(scores["repeat"].to_numpy(), dtype=np.intp), return_inverse=True)
    return _Coded(codes, [Label((n,), str(n)) for n in numbers.tolist()])


def _values(tables: RunTables, column: str) -> _Coded:
    """Values of a text column by name and numbers by size or by terciles, as :mod:`~xaibench_report.boards.by_column`
    has them; samples without one last."""
    named = _named(planned_samples(tables.samples), column)
    names = list(dict.fromkeys([n for _, parts in named.items() for n in parts[0]]))
    names = [*(n for n in names if n != NONE), NONE]
    dataset, sample = encode(tables.scores, "dataset"), encode(tables.scores, "sample")
    pairs, which = np.unique(np.stack([dataset.codes, sample.codes], axis=1), axis=0, return_inverse=True)
    found = [_name_of(named, str(dataset.names[d]), str(sample.names[s])) for d, s in pairs.tolist()]
    of_pair = np.asarray([names.index(n) for n in found], dtype=np.intp)
    return _Coded(of_pair[which.ravel()], [Label((i,), n) for i, n in enumerate(names)])


def _name_of(named: Mapping[str, tuple[Sequence[str], Mapping[str, str]]], dataset: str, sample: str) -> str:
    return named[dataset][1].get(sample, NONE) if dataset in named else NONE


def _named(samples: Table, column: str) -> dict[str, tuple[Sequence[str], Mapping[str, str]]]:
    """By dataset, the values in their order and the value of every sample."""
    parts = {dataset: column_parts(found, column) for dataset, found in values_by_dataset(samples, column).items()}
    return {dataset: (p.names, p.of_sample) for dataset, p in parts.items()}
