"""The logits of a PyTorch model that returns probabilities, caught where they go into its last sigmoid or softmax.

A probability that is 0 or 1 in float32 has no gradient, and its logarithm is clipped; the logits behind it have both.
A sigmoid or softmax of a forward pass is believed to be the one that the output leaves where the output follows what is
put in the place of its result: it is that, one of its columns, or one less it. TorchScript runs out of sight.
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

_ALIKE = 1e-2  # between random numbers, which half precision may have rounded
_TRIED = 4


class _Activations(TorchFunctionMode):
    """Keeps what goes into every sigmoid and softmax over the classes of ``pictures``.

    ``replaced`` gives the result of the call with that number in place of the operation.
    """

    def __init__(self, pictures: int, replaced: Mapping[int, Call] | None = None) -> None:
        super().__init__()
        self.pictures, self.replaced = pictures, replaced or {}
        self.calls: list[tuple[Activated, Tensor]] = []

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        call = operations.Call.of(func, args, kwargs)
        before = call.args[0] if call.args else None
        if (
            call.name not in ("sigmoid", "softmax")
            or not isinstance(before, Tensor)
            or not self._of_classes(call, before)
        ):
            return func(*args, **(kwargs or {}))
        number = len(self.calls)
        self.calls.append(("sigmoid" if call.name == "sigmoid" else "softmax", before.clone()))
        result = func(*args, **(kwargs or {}))
        return result.copy_(self.replaced[number](result)) if number in self.replaced else result

    def _of_classes(self, call: operations.Call, before: Tensor) -> bool:
        if call.name not in ("sigmoid", "softmax"):
            return False
        over_classes = call.name == "sigmoid" or call.get(1, "dim") in (1, 1 - before.ndim)
        rows = before.ndim > 0 and before.shape[0] == self.pictures
        return rows and over_classes and all(length == 1 for length in before.shape[2:])


@dataclass(frozen=True, slots=True)
class TorchEnding:
    """How the output of a model follows from the activation that it leaves, which is its call number ``call``.

    ``column`` None: all columns as they are. Else one column of it; ``turned`` is one less that; ``paired`` both, the
    column that is not turned at place ``paired``.
    """

    kind: Activated
    call: int
    column: int | None = None
    turned: bool = False
    paired: int | None = None

    def logits(self, network: Call, images: Tensor) -> Tensor:
        """``(N, columns)`` values before activation, as many columns as the output has."""
        with _Activations(len(images)) as seen:
            network(images)
        z = as_columns(seen.calls[self.call][1], len(images)).float()
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
    """The ending of a model that returns probabilities; None where its output leaves no sigmoid or softmax in sight."""
    with torch.no_grad(), _Activations(len(pictures)) as seen:
        network(pictures)
    for number in reversed(range(max(len(seen.calls) - _TRIED, 0), len(seen.calls))):
        kind, before = seen.calls[number]
        columns = as_columns(before, len(pictures)).shape[1]
        if kind == "softmax" and columns < 2:
            continue
        generator = torch.Generator().manual_seed(0)
        given = torch.rand((len(pictures), columns), generator=generator).to(before.device)

        def replacement(result: Tensor, given: Tensor = given) -> Tensor:
            return given.reshape(result.shape).to(result.dtype)

        with torch.no_grad(), _Activations(len(pictures), {number: replacement}):
            found = _followed(kind, number, given, network(pictures).float())
        if found is not None:
            return found
    return None


def _followed(kind: Activated, call: int, given: Tensor, values: Tensor) -> TorchEnding | None:
    """How ``values`` follow from ``given`` in the place of an activation; None where they do not."""
    if given.shape == values.shape and _alike(given, values):
        return TorchEnding(kind, call)
    if values.shape[1] == 1:
        for column in range(given.shape[1]):
            for turned in (False, True):
                if _alike(1 - given[:, column] if turned else given[:, column], values[:, 0]):
                    return TorchEnding(kind, call, column, turned)
    if given.shape[1] == 1 and values.shape[1] == 2:
        for place in (1, 0):
            if _alike(values[:, place], given[:, 0]) and _alike(values[:, 1 - place], 1 - given[:, 0]):
                return TorchEnding(kind, call, 0, paired=place)
    return None


def _alike(one: Tensor, other: Tensor) -> bool:
    return bool((one - other).abs().max() <= _ALIKE)
