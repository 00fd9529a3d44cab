"""Names that a message offers for a wrong one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def closest_first(name: str, names: Iterable[str], most: int = 20) -> str:
    """The names in a line, those most like ``name`` first."""
    likeness = {n: difflib.SequenceMatcher(None, name, n).ratio() for n in dict.fromkeys(names)}
    ordered = sorted(likeness, key=lambda n: -likeness[n])
    more = f" and {len(ordered) - most} more" if len(ordered) > most else ""
    return ", ".join(ordered[:most]) + more
