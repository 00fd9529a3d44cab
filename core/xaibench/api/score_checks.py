"""Checks of scores against their declaration."""

from __future__ import annotations

import math
from collections.abc import Iterable

from xaibench.api.metrics import Score, Scores, ScoreSpec


class BadScores(ValueError):
    """A metric returned something that its declaration does not allow. This is an error of the metric."""


def check_scores(scores: object, specs: Iterable[ScoreSpec]) -> Scores:
    """Return ``scores`` where they fulfil the contract, else raise :class:`BadScores`, which names the score.

    Every declared score must have a value. A value is finite and in the range of the score, or has another status than
    ``ok`` and a reason. A curve has as many x as y.
    """
    if not isinstance(scores, Scores):
        raise BadScores(f"score() returned {type(scores).__name__}, not Scores")
    spec_by_name = {s.name: s for s in specs}
    for score in scores.values:
        _check_score(score, spec_by_name.get(score.name))
    for curve in scores.curves:
        if len(curve.x) != len(curve.y):
            raise BadScores(f"curve '{curve.name}' has {len(curve.x)} x and {len(curve.y)} y")
    missing = spec_by_name.keys() - {s.name for s in scores.values}
    if missing:
        raise BadScores(f"no value for the declared score '{min(missing)}'")
    return scores


def _check_score(score: Score, spec: ScoreSpec | None) -> None:
    if spec is None:
        raise BadScores(f"'{score.name}' is not declared in scores")
    if score.status != "ok":
        if not score.reason or score.value is not None:
            raise BadScores(f"'{score.name}': status '{score.status}' needs a reason and no value")
        return
    if score.value is None or not math.isfinite(score.value):
        raise BadScores(f"'{score.name}' is {score.value}; say undefined, with the reason")
    slack = 1e-6 * max(1.0, abs(score.value))
    if not spec.low - slack <= score.value <= spec.high + slack:
        raise BadScores(f"'{score.name}' is {score.value}, outside [{spec.low}, {spec.high}]")
