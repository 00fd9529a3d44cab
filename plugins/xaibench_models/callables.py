"""Any callable on pictures as a PyTorch module."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn


class Called(nn.Module):
    """A callable as a module without parameters."""

    def __init__(self, call: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.call = call

    def __deepcopy__(self, memo: dict[int, Any]) -> Called:
        return Called(self.call)

    def forward(self, images: Tensor) -> Any:
        return _as_tensors(self.call(images))


def _as_tensors(values: Any) -> Any:
    """Arrays and lists of numbers as tensors, also those in a dict or tuple; anything else as it is.

    Integers stay integers: they are classes.
    """
    if isinstance(values, Mapping):
        return {key: _as_tensors(value) for key, value in values.items()}
    if isinstance(values, tuple):
        return tuple(_as_tensors(value) for value in values)
    if isinstance(values, list) and values and all(isinstance(v, Tensor) for v in values):
        return torch.stack(values)
    if isinstance(values, Tensor):
        return values
    try:
        tensor = torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError):
        return values
    return tensor.float() if tensor.is_floating_point() else tensor
