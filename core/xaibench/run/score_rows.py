"""Scores and curves as rows of their tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from xaibench.api import Curve, Score, Scores, ScoreSpec, Status
from xaibench.store.sample_columns import sample_columns
from xaibench.store.schema import CURVES, SCORES


class ScoreRows:
    """The rows of ``scores`` and ``curves`` of one cell. ``specs`` are the scores that the metric declares."""

    def __init__(self, specs: Iterable[ScoreSpec]) -> None:
        self._specs = {s.name: s for s in specs}
        self._scores: list[dict[str, Any]] = []
        self._points: list[dict[str, Any]] = []

    def add(self, columns: Mapping[str, Any], scores: Scores) -> None:
        """Add the values and curves of one case. ``columns`` are the columns that they share."""
        self._scores += [{**columns, **_score_columns(s, self._specs[s.name])} for s in scores.values]
        self._points += [{**columns, **point} for curve in scores.curves for point in _curve_points(curve)]

    def tables(self) -> dict[str, pa.Table]:
        """The tables by name; without ``curves`` where there are none."""
        tables = {"scores": pa.Table.from_pylist(self._scores, schema=SCORES)}
        if self._points:
            tables["curves"] = pa.Table.from_pylist(self._points, schema=CURVES)
        return tables


def set_columns(scope: str, seed: int, repeat: int) -> dict[str, Any]:
    """Columns of a value that belongs to no single sample."""
    context = {"prediction": None, "target": None, "scope": scope, "seed": seed, "repeat": repeat}
    return context | sample_columns(None)


def blank_scores(specs: Iterable[ScoreSpec], status: Status, reason: str) -> Scores:
    """Every score without a value, with one status and reason."""
    return Scores(tuple(Score(name=s.name, status=status, reason=reason) for s in specs))


def _score_columns(score: Score, spec: ScoreSpec) -> dict[str, Any]:
    return {
        "score": score.name,
        "item": score.item,
        "definition": spec.version,
        "value": None if score.value is None else float(score.value),
        "better": spec.better,
        "status": score.status,
        "reason": score.reason or None,
    }


def _curve_points(curve: Curve) -> Iterable[dict[str, Any]]:
    for i, (x, y) in enumerate(zip(curve.x, curve.y, strict=True)):
        yield {"curve": curve.name, "item": curve.item, "point": i, "x": float(x), "y": float(y)}
