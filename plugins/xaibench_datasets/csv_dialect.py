"""What stands between the cells of a CSV table, and how its text is encoded: spreadsheets write several kinds."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Collection
from typing import Final

from xaibench.api import Location

SEPARATORS: Final = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}
"""Separators that are understood, and their names."""


def encoding_of(file: Location) -> str:
    """UTF-16 where the file begins with its mark, as a spreadsheet's "Unicode text" does, else UTF-8 with or without
    one. Raises ``OSError``."""
    with file.open("rb") as stream:
        start = stream.read(2)
    return "utf-16" if start in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"


def separator_of(header: str, required: Collection[str]) -> str:
    """The separator by which the first line of a table holds the most ``required`` columns; the comma, where several
    do.

    >>> separator_of("id;image;label", ("id", "image", "label"))
    ';'
    """
    return max(SEPARATORS, key=lambda separator: len(_columns(header, separator) & set(required)))


def said_separator(line: str) -> str:
    """The separator that a line ``sep=;`` tells, as spreadsheets write it before the columns; empty in other lines."""
    separator = line.rstrip("\r\n").removeprefix("sep=")
    return separator if line.startswith("sep=") and separator in SEPARATORS else ""


def _columns(line: str, separator: str) -> set[str]:
    try:
        return {name.strip() for name in next(csv.reader([line], delimiter=separator), [])}
    except csv.Error:  # a cell of more than 131,072 characters: by this separator the line is no header
        return set()
