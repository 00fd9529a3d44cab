"""Names that a message offers for a wrong one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def closest_first(name: str, names: Iterable[str]) -> str:
    """The names in a line, those most like ``name`` first, equally like ones by name."""
    likeness = {n: difflib.SequenceMatcher(None, name, n).ratio() for n in dict.fromkeys(names)}
    return ", ".join(sorted(likeness, key=lambda n: (-likeness[n], n)))
