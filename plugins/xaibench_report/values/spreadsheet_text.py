"""Text that no spreadsheet takes for a formula."""

from __future__ import annotations

import re
from typing import Final

FORMULA_START: Final = r"^[=+\-@\t\r\n]"
"""What a spreadsheet would take for the beginning of a formula, as a regular expression."""


def spreadsheet_text(text: str) -> str:
    """``text`` with an apostrophe before what a spreadsheet would take for a formula.

    >>> spreadsheet_text("=1+1"), spreadsheet_text("swap")
    ("'=1+1", 'swap')
    """
    return f"'{text}" if re.match(FORMULA_START, text) else text
