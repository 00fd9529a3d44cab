"""Tables of text in a terminal whose cells break between words only, and whose columns share the width."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from xaibench.api import break_lines, literal, longest_piece

GAP: Final = 2
"""Characters between two columns."""
MARGIN: Final = 2
"""Characters before the first column and behind the last one."""
NAME_WIDTH: Final = 22
LEAST: Final = 12


def plain_table() -> Table:
    """An empty table in the form of all tables of a report."""
    return Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))


def shared_widths(texts: Sequence[Sequence[str]], room: int) -> list[int]:
    """A width for every column: all that its texts want where there is room, else an equal share of what the narrower
    columns leave, and never less than the longest word."""
    wanted = [max((len(line) for t in column for line in t.split("\n")), default=0) for column in texts]
    least = [max((longest_piece(t) for t in column), default=0) for column in texts]
    widths = [0] * len(texts)
    left, open_columns = room, sorted(range(len(texts)), key=lambda i: wanted[i])
    while open_columns:
        i = open_columns.pop(0)
        share = left // (len(open_columns) + 1)
        widths[i] = max(least[i], min(wanted[i], share))
        left -= widths[i]
    return widths


def fitting(texts: Sequence[Sequence[str]], room: int, least: int = LEAST) -> int:
    """How many of the columns, from the first on, have room beside one another at their longest words."""
    taken = 0
    for i, column in enumerate(texts):
        taken += GAP + max(least, max((longest_piece(t) for t in column), default=0))
        if taken > room and i:
            return i
    return len(texts)


def name_width(names: Sequence[str]) -> int:
    """The width of the column of names: the longest, up to :data:`NAME_WIDTH` where it can be broken."""
    longest = max((len(n) for n in names), default=0)
    return max(min(longest, NAME_WIDTH), max((longest_piece(n) for n in names), default=0))


def broken(console: Console, text: str, width: int, style: str = "") -> Text:
    """Literal text in lines of at most ``width``."""
    return literal(console, break_lines(text, width), style)
