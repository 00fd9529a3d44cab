"""Where the notes of cells are marked: at the widest header that all of their cells lie under."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Note(NamedTuple):
    """One note beneath a table; ``mark`` is empty where it belongs to all of it."""

    mark: str
    text: str


@dataclass(frozen=True, slots=True)
class NoteAt:
    """The notes of one cell. ``valued``: whether it holds a number, else its note is the reason; ``counts``: whether
    notes of its neighbours would have to be its own to be marked at their common header."""

    texts: tuple[str, ...]
    valued: bool
    counts: bool = True


@dataclass(frozen=True, slots=True)
class Marked:
    """The marks of every level of rows and columns and of every cell, and the notes in the order of their marks."""

    rows: tuple[tuple[str, ...], ...]
    columns: tuple[tuple[str, ...], ...]
    cells: tuple[tuple[str, ...], ...]
    notes: tuple[Note, ...]


class _Spot(NamedTuple):
    """``columns`` sorts first: headers are read before rows, rows before cells."""

    rank: int
    row: int
    column: int
    level: int


def place_notes(
    rows: Sequence[Sequence[str]], columns: Sequence[Sequence[str]], cells: Sequence[Sequence[NoteAt]]
) -> Marked:
    """Marks for ``cells`` by row and column; ``rows`` and ``columns``: the labels of their headers by level."""
    texts = dict.fromkeys(t for line in cells for cell in line for t in cell.texts)
    spots = {text: tuple(_spots(text, rows, columns, cells)) for text in texts}
    everywhere = [t for t, found in spots.items() if not found]
    order = sorted((t for t in texts if spots[t]), key=lambda t: min(spots[t]))
    names = {t: _name(i) for i, t in enumerate(order)}
    at: dict[_Spot, list[str]] = {}
    for text in order:
        for spot in spots[text]:
            at.setdefault(spot, []).append(names[text])
    return Marked(
        rows=tuple(tuple(_join(at, _Spot(1, i, 0, level)) for level in range(len(r))) for i, r in enumerate(rows)),
        columns=tuple(
            tuple(_join(at, _Spot(0, 0, i, level)) for level in range(len(c))) for i, c in enumerate(columns)
        ),
        cells=tuple(tuple(_join(at, _Spot(2, r, c, 0)) for c in range(len(columns))) for r in range(len(rows))),
        notes=(*(Note(names[t], t) for t in order), *(Note("", t) for t in everywhere)),
    )


def _join(at: dict[_Spot, list[str]], spot: _Spot) -> str:
    return ",".join(at.get(spot, ()))


def _name(index: int) -> str:
    """``a`` to ``z``, then ``aa``."""
    return chr(97 + index) if index < 26 else _name(index // 26 - 1) + _name(index % 26)


def _spots(
    text: str, rows: Sequence[Sequence[str]], columns: Sequence[Sequence[str]], cells: Sequence[Sequence[NoteAt]]
) -> Iterator[_Spot]:
    """Nothing where the note belongs to the whole table. A reason for a dash is marked at its dash."""
    every = [(r, c) for r in range(len(rows)) for c in range(len(columns))]
    dashes = [(r, c) for r, c in every if not cells[r][c].valued and text in cells[r][c].texts]
    yield from (_Spot(2, r, c, 0) for r, c in dashes)
    valued = {(r, c) for r, c in every if cells[r][c].valued and text in cells[r][c].texts}
    alone = not any(cells[r][c].counts for r, c in valued)
    counting = {(r, c) for r, c in every if cells[r][c].valued and (alone or cells[r][c].counts)}
    if valued >= counting and not dashes:
        return
    headers = [(True, i, level) for level in range(len(columns[0])) for i in range(len(columns))]
    headers += [(False, i, level) for level in range(len(rows[0])) for i in range(len(rows))]
    for of_column, index, level in headers:
        under = _under(rows, columns, of_column, index, level)
        here = under & counting
        if here and here <= valued:
            valued -= under
            same = _same(columns if of_column else rows, index, level)
            yield from (_Spot(0, 0, i, level) if of_column else _Spot(1, i, 0, level) for i in same)
    yield from (_Spot(2, r, c, 0) for r, c in sorted(valued))


def _under(
    rows: Sequence[Sequence[str]], columns: Sequence[Sequence[str]], of_column: bool, index: int, level: int
) -> set[tuple[int, int]]:
    """The cells under the header of one level of a row or column: of all neighbours that share it."""
    same = _same(columns if of_column else rows, index, level)
    if of_column:
        return {(r, c) for r in range(len(rows)) for c in same}
    return {(r, c) for r in same for c in range(len(columns))}


def _same(labels: Sequence[Sequence[str]], index: int, level: int) -> list[int]:
    """All rows, or columns, under one header."""
    return [i for i in range(len(labels)) if labels[i][: level + 1] == labels[index][: level + 1]]
