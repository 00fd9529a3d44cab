"""Where the numbers of a run come from and what they cost, as the template of provenance shows it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from xaibench_report.values.run_values import Table, short, texts


def cost_rows(commits: Table) -> list[dict[str, Any]]:
    """Seconds and passes by kind of cell, explainer and metric, over what is done."""
    names = [texts(commits, c).tolist() for c in ("kind", "explainer", "metric")]
    numbers = {c: commits[c].to_pylist() for c in ("seconds", "forward", "backward")}
    totals: dict[tuple[str, ...], Counter[str]] = {}
    for i, key in enumerate(zip(*names, strict=True)):
        total = totals.setdefault(key, Counter())
        for column, values in numbers.items():
            total[column] += values[i] or 0
    return [
        {"what": " ".join(p for p in (k[0], short(k[1]), short(k[2])) if p), **total}
        for k, total in sorted(totals.items())
    ]


def run_rows(runs: Table | None) -> list[dict[str, Any]]:
    """Every run of the folder, the first one first, plan and provenance as indented JSON."""
    rows: Sequence[dict[str, Any]] = runs.to_pylist() if runs is not None else []
    return [
        row | {"plan": _pretty(row["plan"]), "provenance": _pretty(row["provenance"])}
        for row in sorted(rows, key=lambda r: (str(r["started"]), r["run"]))
    ]


def component_rows(components: Table | None) -> list[dict[str, Any]]:
    """Every component once, as the last run used it, with its source from the details."""
    rows = components.to_pylist() if components is not None else []
    latest = {(r["kind"], r["name"]): r | {"source": _details(r).get("source", "")} for r in rows}
    return [latest[key] for key in sorted(latest)]


def model_notes(components: Table | None) -> list[str]:
    """What the detectors of the last run say of themselves: Python code that they run, each card's once."""
    models = [row for row in component_rows(components) if row["kind"] == "model"]
    notes = ((short(row["name"]), note) for row in models for note in _details(row).get("notes", ()))
    return list(dict.fromkeys(f"{name}: {note}" for name, note in notes if note.startswith("Python code")))


def _details(row: Mapping[str, Any]) -> dict[str, Any]:
    details: dict[str, Any] = json.loads(row["details"] or "{}")
    return details


def _pretty(text: str) -> str:
    try:
        return json.dumps(json.loads(text), indent=2, sort_keys=True, ensure_ascii=False)
    except ValueError:
        return text
