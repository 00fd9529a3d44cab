"""Tables and pictures of what ``explain`` and ``score`` give, as text and as HTML for notebooks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape

from xaibench.api.safe_text import one_line, printable

MOST = 16
"""Rows or pictures that are shown; the others are counted."""

_RIGHT, _LEFT = ' style="text-align: right"', ' style="text-align: left"'


def table_text(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A title and a table in columns, those of numbers right aligned."""
    lines = [list(map(one_line, row)) for row in (header, *rows[:MOST])]
    columns = [_aligned(column) for column in zip(*lines, strict=True)]
    text = ["  ".join(cells).rstrip() for cells in zip(*columns, strict=True)]
    more = [f"... and {len(rows) - MOST} more"] if len(rows) > MOST else []
    return "\n".join([printable(title), *(f"  {line}" for line in (*text, *more))])


def _aligned(column: Sequence[str]) -> list[str]:
    """The cells of a column, its title first, in one width."""
    width = max(map(len, column))
    return [cell.rjust(width) if _is_number(column[1:]) else cell.ljust(width) for cell in column]


def _is_number(cells: Iterable[str]) -> bool:
    return all(re.fullmatch(r"[-+.,e0-9]*|nan", cell) for cell in cells)


def table_html(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The same as an HTML table."""
    styles = [_RIGHT if _is_number(column) else _LEFT for column in zip(*rows[:MOST], strict=True)] or [_LEFT] * len(
        header
    )
    head = "".join(f"<th{style}>{escape(name)}</th>" for name, style in zip(header, styles, strict=True))
    body = "".join(
        f"<tr>{''.join(f'<td{s}>{escape(one_line(c))}</td>' for c, s in zip(row, styles, strict=True))}</tr>"
        for row in rows[:MOST]
    )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return titled_html(title, table, len(rows))


def titled_html(title: str, html: str, count: int) -> str:
    """HTML under a title; below it how many of ``count`` are not shown."""
    more = f"<p>... and {count - MOST} more</p>" if count > MOST else ""
    return f"<p><b>{escape(printable(title))}</b></p>{html}{more}"


def number(value: float) -> str:
    """Four significant digits; an integer without a point."""
    return f"{value:.4g}"
