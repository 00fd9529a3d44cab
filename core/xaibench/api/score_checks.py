"""Checks of scores against their declaration."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from numbers import Real
from typing import Any

from xaibench.api.metrics import Curve, Score, Scores, ScoreSpec
from xaibench.api.vocabulary import STATUSES


class BadScores(ValueError):
    """A metric returned something that its declaration does not allow. This is an error of the metric."""


def check_scores(scores: object, specs: Iterable[ScoreSpec]) -> Scores:
    """Return ``scores`` where they fulfil the contract, else raise :class:`BadScores`, which names the score.

    Every declared score must have a value. A value is finite and in the range of the score, or has another status than
    ``ok`` and a reason. A curve has as many x as y. Numbers of NumPy and torch become Python's; whatever else has
    another type than declared is refused.
    """
    if not isinstance(scores, Scores):
        raise BadScores(f"score() returned {type(scores).__name__}, not Scores")
    spec_by_name = {s.name: s for s in specs}
    values = tuple(_score(s, spec_by_name) for s in _items(scores.values, Score, "values"))
    curves = tuple(_curve(c) for c in _items(scores.curves, Curve, "curves"))
    missing = spec_by_name.keys() - {s.name for s in values}
    if missing:
        raise BadScores(f"no value for the declared score '{min(missing)}'")
    return Scores(values, curves)


def _items(items: object, kind: type, name: str) -> Sequence[Any]:
    """The members of a field of :class:`Scores`, each of the right type."""
    if not isinstance(items, tuple | list):
        raise BadScores(f"{name} is {type(items).__name__}, not a tuple")
    for item in items:
        if not isinstance(item, kind):
            raise BadScores(f"{name} holds {type(item).__name__}, not {kind.__name__}")
    return items


def _text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise BadScores(f"{what} is {type(value).__name__}, not text")
    return str(value)


def _number(value: object, what: str) -> float:
    """A real number of any library as Python's own."""
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, Real):
        raise BadScores(f"{what} is {type(value).__name__}, not a number")
    try:
        return float(value)
    except OverflowError:
        raise BadScores(f"{what} is too large for a float") from None


def _score(score: Score, specs: dict[str, ScoreSpec]) -> Score:
    name = _text(score.name, "the name of a score")
    spec = specs.get(name)
    if spec is None:
        raise BadScores(f"'{name}' is not declared in scores")
    item, reason = _text(score.item, f"the item of '{name}'"), _text(score.reason, f"the reason of '{name}'")
    if score.status not in STATUSES:
        raise BadScores(f"'{name}' has status {score.status!r}; give {', '.join(STATUSES)}")
    if score.status != "ok":
        if not reason or score.value is not None:
            raise BadScores(f"'{name}': status '{score.status}' needs a reason and no value")
        return Score(name=name, item=item, status=score.status, reason=reason)
    value = None if score.value is None else _number(score.value, f"'{name}'")
    if value is None or not math.isfinite(value):
        raise BadScores(f"'{name}' is {value}; say undefined, with the reason")
    slack = 1e-6 * max(1.0, abs(value))
    if not spec.low - slack <= value <= spec.high + slack:
        raise BadScores(f"'{name}' is {value}, outside [{spec.low}, {spec.high}]")
    return Score(name=name, value=value, item=item, reason=reason)


def _curve(curve: Curve) -> Curve:
    name = _text(curve.name, "the name of a curve")
    x, y = (_points(points, f"{axis} of curve '{name}'") for axis, points in (("x", curve.x), ("y", curve.y)))
    if len(x) != len(y):
        raise BadScores(f"curve '{name}' has {len(x)} x and {len(y)} y")
    return Curve(name=name, x=x, y=y, item=_text(curve.item, f"the item of curve '{name}'"))


def _points(points: Any, what: str) -> tuple[float, ...]:
    if hasattr(points, "tolist"):
        points = points.tolist()
    if isinstance(points, str | bytes) or not isinstance(points, Iterable):
        raise BadScores(f"{what} is {type(points).__name__}, not a list of numbers")
    return tuple(_number(p, what) for p in points)
