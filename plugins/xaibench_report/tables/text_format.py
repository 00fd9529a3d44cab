"""Tables as plain text: columns that do not fit the width go on in further parts."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from typing import Final

from xaibench.api import printable
from xaibench_report.tables.table_grid import Grid, GridCell, Path
from xaibench_report.values.number_format import interval, number

WIDTH: Final = 80
RULE: Final = "\u2500"
_GAP: Final = 2
_WIDEST: Final = 30
_LEAST: Final = 7


def to_text(grids: Sequence[Grid], width: int = WIDTH) -> str:
    """All tables, each with title, caption and notes, in lines of at most ``width`` characters where words allow."""
    return "\n\n".join("\n".join(_lines(grid, width)) for grid in grids) + "\n"


def digits_of(grid: Grid) -> int:
    """The decimals of its cells."""
    return 3 if grid.digits is None else grid.digits


def _lines(grid: Grid, width: int) -> Iterator[str]:
    yield from _fold(grid.title, width)
    names = _row_names(grid, min(_WIDEST, width // 2))
    stub = max(len(line) for lines in names for line in lines)
    parts = list(_parts(grid, width - stub))
    for i, part in enumerate(parts):
        yield ""
        if len(parts) > 1:
            yield f"({i + 1}/{len(parts)})"
        yield from _table(grid, part, names, stub)
    yield ""
    yield from _fold(grid.caption, width)
    for note in grid.notes:
        yield from _fold(f"({note.mark}) {note.text}" if note.mark else f"note: {note.text}", width, "  ")


def _fold(text: str, width: int, indent: str = "") -> list[str]:
    return textwrap.wrap(
        printable(text), width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def _row_names(grid: Grid, widest: int) -> list[list[str]]:
    """The header's names and those of each row, outer keys once, in lines that end between words."""
    before: tuple[str, ...] = ()
    names = [[printable(", ".join(grid.row_keys))]]
    for row in grid.rows:
        start = _shared(before, row.labels)
        shown = [_marked(t, m) for t, m in zip(row.heads, row.marks, strict=True)][start:]
        names.append(wrap_name("  " * start + ", ".join(shown), widest))
        before = row.labels
    return names


def _shared(a: Sequence[str], b: Sequence[str]) -> int:
    """How many outer labels of a row are those of the row above it; never all of them."""
    same = 0
    while same < min(len(a), len(b) - 1) and a[same] == b[same]:
        same += 1
    return same


def wrap_name(name: str, widest: int) -> list[str]:
    """A name in lines of at most ``widest`` characters, cut after ``:``, ``,`` or a space where it has one."""
    lines = [""]
    for piece in re.findall(r"[^:, ]*[:, ]?|.", printable(name)):
        if lines[-1].strip() and len((lines[-1] + piece).rstrip()) > widest:
            lines.append("  ")
        lines[-1] += piece
    return [line.rstrip() for line in lines]


def _parts(grid: Grid, room: int) -> Iterator[list[int]]:
    """The columns of each part, as many as fit, one at least."""
    part: list[int] = []
    for i in range(len(grid.columns)):
        if part and sum(w + _GAP for w in _widths(grid, [*part, i])) > room:
            yield part
            part = []
        part.append(i)
    yield part


def _widths(grid: Grid, part: Sequence[int]) -> list[int]:
    """The width of each column: that of its numbers and its own header, and the last under a wider header more."""
    widths = [max(len(line) for row in grid.cells for line in _cell_lines(row[i], grid)) for i in part]
    paths = [grid.columns[i] for i in part]
    for level in range(len(grid.column_keys))[::-1]:
        for label, mark, under in spans_of(paths, level):
            need = max(len(line) for line in (*head_lines(_marked(label, mark), 0), _n(grid.columns[part[under[-1]]])))
            widths[under[-1]] += max(0, need - _span(widths, under))
    return widths


def _span(widths: Sequence[int], columns: Sequence[int]) -> int:
    return sum(widths[c] for c in columns) + _GAP * (len(columns) - 1)


def head_lines(text: str, room: int) -> list[str]:
    """A header in lines of at most ``room`` characters, or of the longest word; arrow and mark stay with theirs."""
    text = text.replace(" ", "\0").replace("\0=\0", " = ")
    words = [w.replace("\0", " ") for w in re.findall(r"[^-:, ]+\0?[-:,]?\s*|.", text)] or [""]
    widest = max(room, _LEAST, *(len(w.rstrip()) for w in words))
    lines = [""]
    for word in words:
        if lines[-1] and len((lines[-1] + word).rstrip()) > widest:
            lines.append("")
        lines[-1] += word
    return [line.rstrip() for line in lines]


def _marked(text: str, mark: str) -> str:
    return f"{text} ({mark})" if mark else text


def _cell_lines(cell: GridCell, grid: Grid) -> list[str]:
    digits = digits_of(grid)
    value = number(cell.estimate.value if cell.estimate else None, digits)
    lines = [_marked(f"*{value}*" if cell.best else value, cell.mark)]
    if cell.estimate is None:
        return lines
    if grid.intervals and cell.estimate.low is not None:
        lines.append(interval(cell.estimate, digits))
    if cell.size is not None:
        lines.append(f"n={cell.size}")
    lines += cell.verdict.lines
    return lines


def _table(grid: Grid, part: Sequence[int], names: Sequence[Sequence[str]], stub: int) -> Iterator[str]:
    widths = _widths(grid, part)
    paths = [grid.columns[i] for i in part]
    for level in range(len(grid.column_keys)):
        yield from _level(paths, level, widths, names[0] if level == len(grid.column_keys) - 1 else [""], stub)
    if any(p.size for p in paths):
        yield from _columns([[""], *([_n(p)] for p in paths)], [stub, *widths])
    yield " ".join([RULE * stub, *(RULE * (w + _GAP - 1) for w in widths)])
    for at, (row, name) in enumerate(zip(grid.rows, names[1:], strict=True)):
        if at and (row.section != grid.rows[at - 1].section or _outer(row) != _outer(grid.rows[at - 1])):
            yield ""
        cells = [_cell_lines(grid.cells[at][i], grid) for i in part]
        yield from _columns([list(name), *cells], [stub, *widths])


def _n(path: Path) -> str:
    return "" if path.size is None else f"n={path.size}"


def _outer(row: Path) -> tuple[str, ...]:
    return row.labels[:-1]


def _level(paths: Sequence[Path], level: int, widths: Sequence[int], name: Sequence[str], stub: int) -> Iterator[str]:
    """One level of headers, each once over all columns that it spans."""
    texts: list[list[str]] = [list(name)]
    spans = [stub]
    for labels, mark, columns in spans_of(paths, level):
        span = _span(widths, columns)
        texts.append(head_lines(_marked(labels, mark), span))
        spans.append(span)
    yield from _columns(texts, spans)


def spans_of(paths: Sequence[Path], level: int) -> Iterator[tuple[str, str, list[int]]]:
    """The headers of one level with their mark and the columns under each; neighbours of one path share one."""
    at = 0
    while at < len(paths):
        end = at
        while end + 1 < len(paths) and paths[end + 1].labels[: level + 1] == paths[at].labels[: level + 1]:
            end += 1
        marks = dict.fromkeys(paths[i].marks[level] for i in range(at, end + 1) if paths[i].marks[level])
        yield paths[at].heads[level], ",".join(marks), list(range(at, end + 1))
        at = end + 1


def _columns(cells: Sequence[Sequence[str]], widths: Sequence[int]) -> Iterator[str]:
    """Cells of several lines beside each other."""
    for i in range(max(map(len, cells))):
        texts = [lines[i] if i < len(lines) else "" for lines in cells]
        yield (" " * _GAP).join(t.ljust(w) for t, w in zip(texts, widths, strict=True)).rstrip()
