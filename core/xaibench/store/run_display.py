"""What a notebook shows of a run by itself: what was evaluated, how much of it has values, and what to ask next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from xaibench.api import PROJECT
from xaibench.api.safe_text import one_line

_MOST = 6


def run_html(
    place: str, components: Sequence[dict[str, Any]], statuses: Iterable[str], samples: int, views: str
) -> str:
    """A small table. ``components`` are the rows of that table, ``statuses`` those of all values, ``views`` names of
    views of the run."""
    by_kind: dict[str, dict[str, None]] = {}
    for row in components:
        by_kind.setdefault(row["kind"], {})[row["name"].removeprefix(f"{PROJECT}/")] = None
    counts = Counter(statuses)
    values = ", ".join(f"{n:,} {status.replace('_', ' ')}" for status, n in sorted(counts.items(), key=_ok_first))
    rows = [
        ("detectors", _listed(by_kind.get("model", {}))),
        ("pictures", f"{samples:,} of {_listed(by_kind.get('dataset', {}))}"),
        ("explainers", _listed(by_kind.get("explainer", {}))),
        ("metrics", _listed(by_kind.get("metric", {}))),
        ("values", values or "none"),
        ("place", place),
        ("views", views),
    ]
    cells = "".join(
        f'<tr><th style="text-align: left">{name}</th><td style="text-align: left">{escape(one_line(text))}</td></tr>'
        for name, text in rows
    )
    return f"<table>{cells}</table>"


def _ok_first(entry: tuple[str, int]) -> tuple[bool, str]:
    return entry[0] != "ok", entry[0]


def _listed(names: Iterable[str]) -> str:
    """How many, and the first of them by name."""
    several = list(names)
    more = ", ..." if len(several) > _MOST else ""
    return f"{len(several)}: {', '.join(several[:_MOST])}{more}" if len(several) > 1 else "".join(several)
