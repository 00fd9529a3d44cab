"""From what a model returns to logits and probabilities of named classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from xaibench.api import ModelError
from xaibench_models.card import Activation, High

_NAME_SCORES = "name the output that holds one row of class scores a picture"
CLIP = 1e-7
"""Probabilities are kept this far from 0 and 1 before their logarithm is taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """The meaning of ``columns`` output values a picture.

    One column stands for two classes: ``high`` says which of them a high value means. Otherwise there are as many
    columns as ``classes``. ``activation`` says whether values are logits or probabilities.
    """

    classes: tuple[str, ...]
    real: int
    columns: int
    activation: Activation
    high: High | None = None

    def probabilities(self, values: Tensor) -> Tensor:
        """``(N, columns)`` output values to ``(N, C)`` float32 probabilities."""
        if self.activation == "logit":
            return self.logits(values).softmax(dim=1)
        if self.columns == 1:
            p = values.float()
            return self._ordered(1 - p, p)
        p = values.float()
        return p if values.dtype == torch.float32 else p / p.sum(dim=1, keepdim=True)

    def logits(self, values: Tensor) -> Tensor:
        """``(N, columns)`` values before activation to ``(N, C)`` float32 logits; one logit gives (-z/2, +z/2)."""
        z = values.float()
        return self._ordered(-z / 2, z / 2) if self.columns == 1 else z

    def log_odds(self, values: Tensor) -> Tensor:
        """``(N, columns)`` probabilities to ``(N, C)`` logits: log-odds of one, logarithms of several, clipped."""
        p = values.float().clamp(CLIP, 1 - CLIP)
        if self.columns == 1:
            return self.logits(p.log() - (1 - p).log())
        return p.log()

    def _ordered(self, low: Tensor, high: Tensor) -> Tensor:
        """Two ``(N, 1)`` columns in the order of the classes."""
        high_index = self.real if self.high == "real" else 1 - self.real
        return torch.cat((low, high) if high_index == 1 else (high, low), dim=1)


def as_columns(raw: Tensor, pictures: int) -> Tensor:
    """A model's output as ``(N, K)``: ``(N,)``, ``(N, K)`` and ``(N, K, 1, 1)`` are accepted.

    Raises :class:`ModelError` for any other shape, and for numbers that are no scores.
    """
    if not raw.is_floating_point():
        kind = str(raw.dtype).removeprefix("torch.")
        raise ModelError(f"the output holds {kind} values: classes or labels, and no scores", _NAME_SCORES)
    if raw.ndim <= 1 and pictures == 1:
        return raw.reshape(1, -1)
    if raw.ndim == 0 or raw.shape[0] != pictures or any(d != 1 for d in raw.shape[2:]) or not raw.numel():
        features = ", as a map of features or tokens has" if raw.ndim > 2 and raw.shape[0] == pictures else ""
        raise ModelError(
            f"the output has shape {tuple(raw.shape)} for {pictures} pictures{features}, not (pictures, classes)",
            f"{_NAME_SCORES} (card keys output, output_key, batch)",
        )
    return raw.reshape(pictures, -1)


def check_values(values: Tensor, outputs: Outputs) -> None:
    """Refuse ``(N, columns)`` values that are not what ``outputs`` says: finite, and probabilities where stated."""
    if not values.isfinite().all():
        raise ModelError(
            "the output is not finite on a test batch", "check range, mean, std and the number type of the input"
        )
    if outputs.activation == "logit":
        return
    low, high = float(values.min()), float(values.max())
    if low < -1e-4 or high > 1 + 1e-4:
        raise ModelError(
            f"output values from {low:.4g} to {high:.4g} are no probabilities, though activation is "
            f"'{outputs.activation}'",
            'say activation = "logit" if the values are not yet activated',
        )
    sums = values.float().sum(dim=1)
    if outputs.columns > 1 and (sums - 1).abs().max() > 1e-2:
        raise ModelError(
            f"{outputs.columns} output values sum to {float(sums[0]):.4g}, not to 1",
            'say activation = "logit", or name one output and what high means (high = "fake" or "real")',
        )


def lie_between_0_and_1(values: Tensor) -> bool:
    """Whether no value lies outside [0, 1]."""
    return bool((values >= 0).all() and (values <= 1).all())


def sum_to_1(values: Tensor) -> bool:
    """Whether every row of ``(N, K)`` values sums to 1, as exactly as their number type can."""
    allowed = 1e-4 if values.dtype in (torch.float32, torch.float64) else 1e-2
    return bool(((values.float().sum(dim=1) - 1).abs() < allowed).all())


def may_be_probabilities(values: Tensor) -> bool:
    """Whether ``(N, K)`` values could be probabilities: all in [0, 1], and rows of several summing to 1."""
    return lie_between_0_and_1(values) and (values.shape[1] == 1 or sum_to_1(values))


def find_real(classes: Sequence[str], real: str | None) -> int | None:
    """Index of the class that means real: the one named, else the only one called "real" in any case, else None."""
    if real is not None:
        return classes.index(real) if real in classes else None
    called = [i for i, name in enumerate(classes) if name.lower() == "real"]
    return called[0] if len(called) == 1 else None
