"""Tables and pictures of what ``explain`` and ``score`` give, as text and as HTML for notebooks."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence
from html import escape

from xaibench.api.safe_text import one_line, printable

MOST = 16
"""Rows or pictures that are shown; the others are counted."""

_RIGHT, _LEFT = ' style="text-align: right"', ' style="text-align: left"'
_FIGURE = (
    '<figure style="margin: 0; width: 160px"><img style="width: 160px; image-rendering: pixelated" src="{}" alt="{}">'
)


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
    more = f"<p>... and {len(rows) - MOST} more</p>" if len(rows) > MOST else ""
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f"<p><b>{escape(printable(title))}</b></p>{table}{more}"


def gallery_html(title: str, pictures: Iterable[tuple[str, bytes | None]], count: int) -> str:
    """Pictures as PNG side by side, each with a caption; None where there is no picture. ``count``: of all."""
    figures = [_figure(caption, png) for caption, png in pictures]
    more = f"<p>... and {count - len(figures)} more</p>" if count > len(figures) else ""
    row = f'<div style="display: flex; flex-wrap: wrap; gap: 8px">{"".join(figures)}</div>'
    return f"<p><b>{escape(printable(title))}</b></p>{row}{more}"


def _figure(caption: str, png: bytes | None) -> str:
    text = escape(one_line(caption))
    below = f"<figcaption>{text}</figcaption></figure>"
    if png is None:
        return f'<figure style="margin: 0; width: 160px">{below}'
    return _FIGURE.format(f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}", text) + below


def number(value: float) -> str:
    """Four significant digits; an integer without a point."""
    return f"{value:.4g}"
