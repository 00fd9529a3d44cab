"""From entries to tables: headers, cells, and the notes with what they are marked with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple, TypeAlias, cast

from xaibench.api import NothingToEvaluate
from xaibench_report.boards.wording import ARROWS
from xaibench_report.tables.table_caption import caption_of, legend_of, title_of
from xaibench_report.tables.table_entries import Entries, Entry
from xaibench_report.tables.table_marks import Note, NoteAt, place_notes
from xaibench_report.tables.table_request import TableRequest
from xaibench_report.tables.untouched import NONE_SUCH
from xaibench_report.tables.verdict_cells import VerdictCell
from xaibench_report.values.aliases import Aliases
from xaibench_statistics import Estimate

Labels: TypeAlias = tuple[tuple[object, str], ...]
"""A row or column: of each key what sorts it and what it says."""
PLAIN_KEYS: Final = frozenset(
    {"explainer", "score", "metric", "family", "item", "model", "member", "dataset", "method", "label", "split"}
)
"""Keys whose values speak for themselves in a header of columns."""


class Path(NamedTuple):
    """The labels of one row or column, one a key, with what headers show of them and the marks of each. ``names``:
    headers with the full names of components and without arrows, for data. ``size``: the samples behind each number of
    a column, where they are as many and the table is to say so."""

    labels: tuple[str, ...]
    heads: tuple[str, ...]
    marks: tuple[str, ...]
    names: tuple[str, ...]
    section: int = 1
    size: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GridCell:
    """``estimate`` is None for a dash, of which ``mark`` names the reason; ``mark`` is empty for nothing to say.
    ``size``: the samples behind it, where neither its column nor the caption says so and the table is to.
    ``verdict`` is empty where none is asked for."""

    estimate: Estimate | None
    mark: str = ""
    best: bool = False
    size: int | None = None
    verdict: VerdictCell = VerdictCell("")


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """One table. ``title`` says what it shows of what, ``caption`` what a number is; ``cells`` by row and column.

    ``notes`` have a mark where they belong to a part of the table, none where they belong to all of it. ``texts``: all
    notes of each cell, wherever they are marked. ``intervals``, ``n``, ``verdicts`` and ``digits``: what cells show.
    """

    title: str
    caption: str
    row_keys: tuple[str, ...]
    column_keys: tuple[str, ...]
    rows: tuple[Path, ...]
    columns: tuple[Path, ...]
    cells: tuple[tuple[GridCell, ...], ...]
    notes: tuple[Note, ...]
    texts: tuple[tuple[tuple[str, ...], ...], ...]
    by: Mapping[str, str]
    intervals: bool = False
    n: bool = False
    verdicts: bool = False
    digits: int | None = None


def make_grids(found: Entries, request: TableRequest) -> tuple[Grid, ...]:
    """One table for every value of the keys of ``request.by`` and of what differs and is neither row nor column.

    Raises NothingToEvaluate where no number is left.
    """
    by = (*request.by, *_unresolved(found, request))
    groups: dict[tuple[object, ...], list[Entry]] = {}
    for entry in found.entries:
        groups.setdefault(tuple(_label(entry, k) for k in by), []).append(entry)
    ordered = [group for _, group in sorted(groups.items(), key=lambda g: _order(g[0]))]
    made = [(group, _grid(group, by, found, request)) for group in ordered]
    grids = tuple(grid for _, grid in made if grid is not None)
    empty = tuple(_no_table(group, by) for group, grid in made if grid is None)
    if not grids:
        reasons = dict.fromkeys(n for e in found.entries for n in e.notes)
        raise NothingToEvaluate("the table has no number", "; ".join([*reasons][:3]) or "name another score")
    return (*grids[:-1], replace(grids[-1], notes=(*grids[-1].notes, *empty)))


def _no_table(group: Sequence[Entry], by: Sequence[str]) -> Note:
    """Why a value of the keys of tables has none."""
    reasons = dict.fromkeys(e.cell.why or "no rows" for e in group if e.section)
    names = " ".join(str(_label(group[0], k)[1]) for k in by)
    return Note("", f"no table for {names}, without any value: {'; '.join(reasons)}")


def _label(entry: Entry, key: str) -> tuple[object, str]:
    return tuple(entry.labels.get(key, _BLANK))  # type: ignore[return-value]


_BLANK: Final = ((), "")


def _order(path: Iterable[object]) -> tuple[object, ...]:
    return tuple(path)


def _unresolved(found: Entries, request: TableRequest) -> list[str]:
    """What differs between numbers and has no key: each gives a table for each of its values, as nothing is averaged
    over it. Members, scores and items only where the keys do not tell them."""
    missing: list[str] = []
    for key in ("dataset", "model", "explainer", "member", "score", *found.names, "item"):
        used = (*request.keys, *missing)
        strict = key in ("dataset", "model", "explainer")
        if key not in used and _differs(found.entries, key, () if strict else used):
            missing.append(key)
    return missing


def _differs(entries: Iterable[Entry], key: str, used: Sequence[str]) -> bool:
    """Whether entries of the same ``used`` labels have several of ``key``."""
    seen: dict[tuple[object, ...], object] = {}
    for entry in entries:
        place = tuple(_label(entry, k) for k in used)
        if seen.setdefault(place, _label(entry, key)) != _label(entry, key):
            return True
    return False


# ---- one table ------------------------------------------------------------------------------------------------------


class _Place(NamedTuple):
    row: Labels
    column: Labels


def _grid(entries: Sequence[Entry], by: Sequence[str], found: Entries, request: TableRequest) -> Grid | None:
    placed = {_place(e, request): e for e in entries}
    rows = _in_board_order(_with_values(placed, "row", request), entries, found, request)
    columns = _with_values(placed, "column", request)
    if not rows or not columns:
        return None
    texts = {(r, c): _texts(placed.get(_Place(r, c)), r, c, placed, found) for r in rows for c in columns}
    marked = place_notes(
        [[t for _, t in r] for r in rows], [[t for _, t in c] for c in columns],
        [[_note_at(placed.get(_Place(r, c)), texts[r, c]) for c in columns] for r in rows],
    )  # fmt: skip
    dropped = _dropped(placed, rows, columns)
    titles = _Titles(_arrows(entries, request), found.aliases)
    shown = [e for p, e in placed.items() if p.row in rows and p.column in columns]
    sizes = {c: _size(shown, c, request) for c in columns}
    return Grid(
        title=title_of(shown, by, found, request),
        caption=caption_of(shown, found, request),
        row_keys=request.rows,
        column_keys=request.columns,
        rows=tuple(
            _path(r, request.rows, titles, None, marks)._replace(section=_section(r, placed))
            for r, marks in zip(rows, marked.rows, strict=True)
        ),
        columns=tuple(
            _path(c, request.columns, titles, found.names, marks)._replace(size=sizes[c][0])
            for c, marks in zip(columns, marked.columns, strict=True)
        ),
        cells=tuple(
            tuple(_cell(placed.get(_Place(r, c)), mark, sizes[c][1]) for c, mark in zip(columns, marks, strict=True))
            for r, marks in zip(rows, marked.cells, strict=True)
        ),
        notes=(*marked.notes, *(Note("", text) for text in (*legend_of(shown, found, request), *dropped))),
        texts=tuple(tuple(tuple(texts[r, c]) for c in columns) for r in rows),
        by={k: str(_label(entries[0], k)[1]) for k in by},
        intervals=request.intervals,
        n=request.n,
        verdicts=request.verdicts,
        digits=request.digits,
    )  # fmt: skip


def _place(entry: Entry, request: TableRequest) -> _Place:
    return _Place(tuple(_label(entry, k) for k in request.rows), tuple(_label(entry, k) for k in request.columns))


def _with_values(placed: Mapping[_Place, Entry], side: str, request: TableRequest) -> list[Labels]:
    """The rows, or columns, in which an explainer or the detector itself has a number."""
    paths = {getattr(p, side) for p, e in placed.items() if e.cell.estimate is not None}
    return sorted(paths, key=_order)


def _in_board_order(
    rows: Sequence[Labels], entries: Sequence[Entry], found: Entries, request: TableRequest
) -> list[Labels]:
    """Explainers by their rank under the first score of the table that ranks them, as on the boards; those without a
    rank after them."""
    if "explainer" not in request.rows:
        return list(rows)
    at = request.rows.index("explainer")
    scores = list(dict.fromkeys((e.key.metric, e.key.score.partition(" ")[0]) for e in entries))
    scores = [key for key in found.choice.items if key in scores]
    places = found.footings.board_order(min(e.key.where for e in entries), scores)

    def order(row: Labels) -> tuple[object, ...]:
        role, *rest = cast(tuple[object, ...], row[at][0])
        place = places.get(str(rest[-1]), len(places))
        return (*row[:at], (role, place, *rest), *row[at + 1 :])

    return sorted(rows, key=order)


def _dropped(placed: Mapping[_Place, Entry], rows: Sequence[Labels], columns: Sequence[Labels]) -> list[str]:
    """One line for the rows and columns without any number, by reason."""
    why: dict[str, dict[str, None]] = {}
    for place, entry in placed.items():
        untouched_row = [(place.row, rows)] if place.column in columns else []
        sides = [(place.row, rows), (place.column, columns)] if entry.section else untouched_row
        for path, kept in sides:
            if path not in kept:
                why.setdefault(entry.cell.why or "no rows", {})[_name_of(path, kept)] = None
    return [f"left out, without any value: {', '.join(names)} ({reason})" for reason, names in sorted(why.items())]


def _cell(entry: Entry | None, mark: str, sized: bool) -> GridCell:
    if entry is None or entry.cell.estimate is None:
        return GridCell(estimate=None, mark=mark)
    estimate = entry.cell.estimate
    return GridCell(
        estimate=estimate,
        mark=mark,
        best=entry.best.is_best,
        size=estimate.n or None if sized else None,
        verdict=entry.verdict,
    )


def _size(shown: Iterable[Entry], column: object, request: TableRequest) -> tuple[int | None, bool]:
    """The samples of each number of a column, None where they differ or where the caption says them, and whether its
    cells say them."""
    sizes = [(e, e.cell.estimate.n) for e in shown if e.cell.estimate and e.cell.estimate.n]
    here = {n for e, n in sizes if _place(e, request).column == column}
    if not request.n or len({n for _, n in sizes}) < 2:
        return None, False
    return (here.pop(), False) if len(here) == 1 else (None, True)


def _name_of(path: Labels, kept: Sequence[Labels]) -> str:
    """As many levels of a header as tell it from those that are kept."""
    levels = next(n for n in range(1, len(path) + 1) if all(k[:n] != path[:n] for k in kept))
    return " ".join(text for _, text in path[:levels] if text)


def _section(row: Sequence[tuple[object, str]], placed: Mapping[_Place, Entry]) -> int:
    return min(e.section for p, e in placed.items() if p.row == row)


def _texts(
    entry: Entry | None, row: object, column: object, placed: Mapping[_Place, Entry], found: Entries
) -> tuple[str, ...]:
    if entry is not None:
        return entry.notes
    beside = next((e for p, e in placed.items() if p.row == row), None)
    across = next((e for p, e in placed.items() if p.column == column), None)
    if not all(e and e.section for e in (beside, across)):
        return (NONE_SUCH,)
    reasons = [
        why for key, why in found.absent.items()
        if beside and across and key.explainer in (beside.key.explainer, across.key.explainer)
        and key.metric in (beside.key.metric, across.key.metric)
    ]  # fmt: skip
    return (reasons[0] if reasons else "not measured",)


def _note_at(entry: Entry | None, texts: Sequence[str]) -> NoteAt:
    if entry is None or entry.cell.estimate is None:
        return NoteAt(tuple(texts), valued=False)
    return NoteAt(tuple(texts), valued=True, counts=entry.section > 0)


# ---- headers --------------------------------------------------------------------------------------------------------


class _Titles(NamedTuple):
    """The arrow of every label of a score, and short names."""

    arrows: Mapping[str, str]
    aliases: Aliases


def _arrows(entries: Iterable[Entry], request: TableRequest) -> dict[str, str]:
    """The arrow of every label of a score."""
    if "score" not in request.keys:
        return {}
    found: dict[str, set[str]] = {}
    for entry in entries:
        found.setdefault(entry.labels["score"].text, set()).add(entry.better)
    return {text: ARROWS.get(better.pop(), "") for text, better in found.items() if len(better) == 1}


def _path(
    path: Sequence[tuple[object, str]],
    keys: Sequence[str],
    titles: _Titles,
    parts: Sequence[str] | None,
    marks: tuple[str, ...],
) -> Path:
    """Labels as headers show them: components by their short names, a score with its arrow; over columns a part of an
    item with its name, and so what its value alone would not tell. ``parts``: the names of the parts, None for rows,
    whose keys stand above them."""
    labels = tuple(text for _, text in path)
    names = tuple(_full_name(key, text, parts) for key, text in zip(keys, labels, strict=True))
    heads = tuple(_head(key, text, titles) for key, text in zip(keys, names, strict=True))
    return Path(labels, heads, marks, names)


def _head(key: str, text: str, titles: _Titles) -> str:
    if key == "score":
        return f"{titles.aliases.text(text)} {titles.arrows.get(text, '')}".rstrip()
    return titles.aliases.text(text) if key in ("explainer", "metric") else text


def _full_name(key: str, text: str, parts: Sequence[str] | None) -> str:
    if parts is None or key in PLAIN_KEYS or not text or text.startswith("("):
        return text
    return f"{key} = {text}" if key in parts else f"{key} {text}"
