"""Comparison of the rows of a run with the same rows computed anew, value by value."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np

TableRows: TypeAlias = Mapping[str, Sequence[Mapping[str, Any]]]
"""Rows of the tables of a run, by table."""

_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "predictions": (), "artefacts": (), "scores": ("score", "item", "repeat"), "maps": ("view", "repeat"),
    "curves": ("curve", "item", "repeat", "point"), "detectors": ("check", "name", "item"),
}  # fmt: skip
"""The columns that tell apart the rows of one address and sample."""
_NOT_COMPARED: Final = frozenset((
    "run", "unit", "cell", "model", "member", "dataset", "sample", "explainer", "metric",  # the address
    "group", "cross_group",  # no part of a row: readers take those of the table samples
    "forward", "backward",  # a cost
))  # fmt: skip
_HALF_FLOATS: Final = ("map", "native_map")
ABSENT: Final = "no such row"


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueChange:
    """One value that is not the same.

    ``item`` names it within its row: score, item and repeat, or the point of a curve. ``distance`` is the absolute
    difference, of values beyond 1 the relative one, of lists and maps the largest one; None where there is no measure.
    """

    table: str
    item: str
    column: str
    stored: Any
    recomputed: Any
    distance: float | None


def compare_rows(stored: TableRows, recomputed: TableRows) -> tuple[int, list[ValueChange]]:
    """The number of rows of tables that were compared, and every value that is not the same to the bit."""
    changes: list[ValueChange] = []
    count = 0
    for table, names in _NAMES.items():
        before, after = (_by_name(rows.get(table, ()), names) for rows in (stored, recomputed))
        for name in dict.fromkeys((*before, *after)):
            count += 1
            changes += _compare(table, name[0], before.get(name), after.get(name))
    return count, changes


def _by_name(rows: Iterable[Mapping[str, Any]], names: Sequence[str]) -> dict[tuple[str, int], Mapping[str, Any]]:
    """The rows by what tells them apart, and a number where that is the same."""
    named: dict[tuple[str, int], Mapping[str, Any]] = {}
    for row in rows:
        name = " ".join(f"{n} {row[n]}" if n in ("repeat", "point") else str(row[n]) for n in names if row[n] != "")
        number = 0
        while (name, number) in named:
            number += 1
        named[name, number] = row
    return named


def _compare(
    table: str, item: str, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None
) -> list[ValueChange]:
    if before is None or after is None:
        there = (ABSENT if row is None else _gist(row) for row in (before, after))
        stored, recomputed = there
        return [ValueChange(table=table, item=item, column="", stored=stored, recomputed=recomputed, distance=None)]
    changes = []
    for column in after:
        a, b = before.get(column), after[column]
        # The text of an exception may name a path, a size or a time.
        failed = column == "reason" and before.get("status") == after.get("status") == "failed"
        if column not in _NOT_COMPARED and not failed and not _same(a, b):
            d = _distance(column, a, b)
            changes.append(ValueChange(table=table, item=item, column=column, stored=a, recomputed=b, distance=d))
    return changes


def _gist(row: Mapping[str, Any]) -> str:
    value = row.get("value", row.get("y"))
    return str(row.get("status", "there")) if value is None else repr(value)


def _same(a: Any, b: Any) -> bool:
    """Equality to the bit. Two values that are no numbers are equal."""
    if isinstance(a, float) and isinstance(b, float):
        return struct.pack("<d", a) == struct.pack("<d", b) or (math.isnan(a) and math.isnan(b))
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(a[k], b[k]) for k in a)
    return type(a) is type(b) and bool(a == b)


def _distance(column: str, a: Any, b: Any) -> float | None:
    """How far apart two values are; None where that cannot be told."""
    if column in _HALF_FLOATS and a is not None and b is not None and len(a) == len(b):
        return _largest(np.frombuffer(a, "<f2").astype(float).tolist(), np.frombuffer(b, "<f2").astype(float).tolist())
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return _largest(a, b)
    return _largest([a], [b])


def _largest(a: Sequence[Any], b: Sequence[Any]) -> float | None:
    """The largest distance of two lists of numbers; items that are the same count as 0."""
    distances = [0.0]
    for one, other in zip(a, b, strict=True):
        if _same(one, other):
            continue
        if not (isinstance(one, float) and isinstance(other, float) and math.isfinite(one) and math.isfinite(other)):
            return None
        distances.append(abs(one - other) / max(1.0, abs(one)))
    return max(distances)
