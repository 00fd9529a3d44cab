"""When a map can be held against a manipulation mask, and how the scores are put together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from torch import Tensor

from xaibench.api import MapCase, Score, Scores, ScoreSpec

Measured: TypeAlias = "Sequence[float | str] | str"
"""A value for each score in the order of the specs, or the reason why it has none; one reason stands for all."""


def why_no_mask(case: MapCase) -> str:
    """The reason why localisation cannot be scored, or ``""``."""
    mask = case.picture.mask
    if case.picture.sample.label == "real":
        return "real pictures have no mask"
    if case.picture.sample.mask_doubt:
        return f"in doubt: {case.picture.sample.mask_doubt}"
    if mask is None:
        return "the picture has no mask"
    if case.target == case.detector.facts.real_class:
        return "the class explained is real: its evidence is not what the mask shows"
    return "" if mask.any() else "the mask is empty"


def localised(
    case: MapCase,
    specs: Sequence[ScoreSpec],
    measure: Callable[[Tensor, Tensor], Measured],
    *,
    outside: bool = False,
) -> Scores:
    """``measure(map, mask)`` as scores, ``undefined`` where there is no mask to hold the map against.

    ``outside``: there must be pixels outside the mask, too.
    """
    reason = why_no_mask(case)
    saliency, mask = case.explanation.map, case.picture.mask
    if reason or saliency is None or mask is None:
        return Scores.undefined(specs, reason)
    if outside and bool(mask.all()):
        return Scores.undefined(specs, "the mask covers the whole picture: there is no outside")
    values = measure(saliency.cpu(), mask.cpu())
    if isinstance(values, str):
        return Scores.undefined(specs, values)
    return Scores(tuple(_score(spec.name, value) for spec, value in zip(specs, values, strict=True)))


def _score(name: str, value: float | str) -> Score:
    if isinstance(value, str):
        return Score(name=name, status="undefined", reason=value)
    return Score(name=name, value=value)
