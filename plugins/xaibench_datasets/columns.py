"""Columns of text cells as numbers, where all of them are numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias

Value: TypeAlias = str | int | float

_INTEGER = re.compile(r"[+-]?(0|[1-9][0-9]*)")
_NUMBER = re.compile(r"[+-]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_LARGEST = 2**63 - 1


def typed(cells: Sequence[str]) -> list[Value | None]:
    """The values of one column. An empty cell is None.

    All are integers, or else floats, where every cell that is not empty is written as one; otherwise all are text. A
    number with leading zeros (``007``) is a code, and so is an integer of more than 64 bits: their columns are text. So
    are columns that hold ``nan`` or ``inf``.

    >>> typed(["1", "", "2"]), typed(["1", "2.5"]), typed(["c0", "23"]), typed(["007", "10"])
    ([1, None, 2], [1.0, 2.5], ['c0', '23'], ['007', '10'])
    """
    filled = [cell for cell in cells if cell]
    kind: type[int] | type[float] | type[str] = str
    if all(map(_is_integer, filled)):
        kind = int
    elif all(map(_is_number, filled)):
        kind = float
    return [kind(cell) if cell else None for cell in cells]


def _is_integer(cell: str) -> bool:
    return _INTEGER.fullmatch(cell) is not None and len(cell) <= 20 and abs(int(cell)) <= _LARGEST


def _is_number(cell: str) -> bool:
    if _INTEGER.fullmatch(cell):
        return _is_integer(cell)
    return _NUMBER.fullmatch(cell) is not None and math.isfinite(float(cell))


def rows_of_columns(columns: Mapping[str, Sequence[str]], count: int) -> list[tuple[tuple[str, Value], ...]]:
    """``Sample.columns`` of ``count`` samples from the cells of each column by its name."""
    values = {name: typed(columns[name]) for name in sorted(columns)}
    return [
        tuple((name, value) for name, column in values.items() if (value := column[i]) is not None)
        for i in range(count)
    ]
