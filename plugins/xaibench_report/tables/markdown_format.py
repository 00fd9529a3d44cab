"""Tables in Markdown: levels of headers joined, since the language has one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from xaibench.api import printable
from xaibench_report.tables.table_grid import Grid, GridCell, Path
from xaibench_report.tables.text_format import digits_of
from xaibench_report.values.number_format import interval, number


def to_markdown(grids: Sequence[Grid]) -> str:
    """All tables as pipe tables with title, caption and notes."""
    return "\n\n".join("\n".join(_lines(grid)) for grid in grids) + "\n"


def _lines(grid: Grid) -> Iterator[str]:
    yield f"**{_escape(grid.title)}**"
    yield ""
    yield _row([*map(_escape, grid.row_keys), *(_joined(c) for c in grid.columns)])
    yield _row([*(["---"] * len(grid.row_keys)), *(["---:"] * len(grid.columns))])
    for row, cells in zip(grid.rows, grid.cells, strict=True):
        yield _row(
            [*(_marked(t, m) for t, m in zip(row.heads, row.marks, strict=True)), *(_cell(c, grid) for c in cells)]
        )
    yield ""
    yield _escape(grid.caption)
    for note in grid.notes:
        yield ""
        yield f"<sup>{note.mark}</sup> {_escape(note.text)}" if note.mark else _escape(f"Note: {note.text}")


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _joined(path: Path) -> str:
    size = [] if path.size is None else [f"n = {path.size}"]
    return ", ".join([*(_marked(t, m) for t, m in zip(path.heads, path.marks, strict=True) if t), *size])


def _marked(text: str, mark: str) -> str:
    return f"{_escape(text)}<sup>{mark}</sup>" if mark else _escape(text)


def _cell(cell: GridCell, grid: Grid) -> str:
    digits, estimate = digits_of(grid), cell.estimate
    value = number(estimate.value if estimate else None, digits)
    text = _marked(value, cell.mark) if not cell.best else f"**{value}**{_marked('', cell.mark)}"
    if estimate is None:
        return text
    ends = interval(estimate, digits) if grid.intervals else ""
    size = "" if cell.size is None else f"n = {cell.size}"
    return " ".join(part for part in (text, ends, size, *map(_escape, cell.verdict.lines)) if part)


def _escape(text: str) -> str:
    r"""Text in which nothing is markup: ``a\_b``, ``\|``."""
    return re.sub(r"([\\`*_\[\]<>|#~])", r"\\\1", re.sub(r"\s+", " ", printable(text)))
