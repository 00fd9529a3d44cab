"""Text in lines that break at no place inside a word."""

from __future__ import annotations

import re
from collections.abc import Iterable

_PIECES = re.compile(r"[^-:,/\s]*[-:,/]+|[^-:,/\s]+")


def break_lines(text: str, width: int) -> str:
    """The text in lines of at most ``width`` characters, broken at spaces and after ``- : , /`` alone. A piece that
    is longer by itself stays whole."""
    return "\n".join(line for part in text.split("\n") for line in _lines(part, width))


def longest_piece(text: str) -> int:
    """The width that a text needs at least."""
    return max((len(piece.rstrip()) for piece in _pieces(text)), default=0)


def _lines(text: str, width: int) -> Iterable[str]:
    line = ""
    for word in text.split(" "):
        joined = f"{line} {word}" if line else word
        if len(joined) <= width:
            line = joined
            continue
        if line and longest_piece(word) <= width and len(word) <= width:
            yield line
            line = word
            continue
        line = f"{line} " if line else ""
        for piece in _pieces(word):
            if line.strip() and len(line) + len(piece) > width:
                yield line.rstrip()
                line = ""
            line += piece
    yield line


def _pieces(word: str) -> list[str]:
    return _PIECES.findall(word) or [word]
