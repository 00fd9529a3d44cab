"""The logits of a PyTorch model that returns probabilities, caught where they go into its last sigmoid or softmax.

A probability that is 0 or 1 in float32 has no gradient, and its logarithm is clipped; the logits behind it have both.
The last sigmoid or softmax of a forward pass is watched, and believed to be the one that the output leaves where the
output on test pictures is what it gave, one of its columns, or one less it. TorchScript runs out of sight.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

import xaibench_operations as operations
from xaibench_models.outputs import as_columns

Activated = Literal["sigmoid", "softmax"]
Call = Callable[[Tensor], Tensor]

_ALIKE = 1e-6


class _LastActivation(TorchFunctionMode):
    """Keeps what went into the last sigmoid or softmax over the classes of ``pictures``, and what came out."""

    def __init__(self, pictures: int) -> None:
        super().__init__()
        self.pictures = pictures
        self.kind: Activated | None = None
        self.before: Tensor | None = None
        self.after: Tensor | None = None

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        call = operations.Call.of(func, args, kwargs)
        if call.name not in ("sigmoid", "softmax"):
            return func(*args, **(kwargs or {}))
        before = call.args[0].clone() if call.in_place else call.args[0]
        result = func(*args, **(kwargs or {}))
        over_classes = call.name == "sigmoid" or call.get(1, "dim") in (1, 1 - before.ndim)
        if before.ndim and before.shape[0] == self.pictures and over_classes and all(d == 1 for d in before.shape[2:]):
            self.kind = "sigmoid" if call.name == "sigmoid" else "softmax"
            self.before, self.after = before, result
        return result


@dataclass(frozen=True, slots=True)
class TorchEnding:
    """How the output of a model follows from the ``kind`` that it leaves.

    ``column`` None: all columns as they are. Else one column of it; ``turned`` is one less that; ``paired`` both, the
    column that is not turned at place ``paired``.
    """

    kind: Activated
    column: int | None = None
    turned: bool = False
    paired: int | None = None

    def logits(self, network: Call, images: Tensor) -> Tensor:
        """``(N, columns)`` values before activation, as many columns as the output has."""
        with _LastActivation(len(images)) as last:
            network(images)
        assert last.before is not None  # the module ran the same code on test pictures
        z = as_columns(last.before, len(images)).float()
        if self.column is None:
            return z
        odds = self._odds(z, self.column)
        if self.paired is None:
            return -odds if self.turned else odds
        pair = (odds / 2, -odds / 2) if self.paired == 0 else (-odds / 2, odds / 2)
        return torch.cat(pair, 1)

    def _odds(self, z: Tensor, column: int) -> Tensor:
        """``(N, 1)`` log-odds of one column against the others."""
        own = z[:, column : column + 1]
        if self.kind == "sigmoid":
            return own
        others = [i for i in range(z.shape[1]) if i != column]
        return own - z[:, others].logsumexp(1, keepdim=True)


def torch_ending(network: Call, pictures: Tensor) -> TorchEnding | None:
    """The ending of a model that returns probabilities; None where its output leaves no sigmoid or softmax in sight,
    or saturates so far that its columns cannot be told apart."""
    with torch.no_grad(), _LastActivation(len(pictures)) as last:
        values = network(pictures).float()
    if last.kind is None or last.after is None:
        return None
    p = as_columns(last.after, len(pictures)).float()
    if last.kind == "softmax" and p.shape[1] < 2:
        return None
    if p.shape == values.shape and _alike(p, values):
        return TorchEnding(last.kind, None)
    if values.shape[1] == 1:
        return _one_column(last.kind, p, values)
    pairs = [
        TorchEnding(last.kind, 0, paired=place)
        for place in (1, 0)
        if p.shape[1] == 1 and values.shape[1] == 2
        if _alike(values[:, place], p[:, 0]) and _alike(values[:, 1 - place], 1 - p[:, 0])
    ]
    return pairs[0] if pairs else None


def _one_column(kind: Activated, p: Tensor, values: Tensor) -> TorchEnding | None:
    for turned in (False, True):
        columns = [i for i in range(p.shape[1]) if _alike(1 - p[:, i] if turned else p[:, i], values[:, 0])]
        if len(columns) == 1:
            return TorchEnding(kind, columns[0], turned)
        if columns:
            return None
    return None


def _alike(one: Tensor, other: Tensor) -> bool:
    return bool((one - other).abs().max() <= _ALIKE)
