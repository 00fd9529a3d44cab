"""Detectors made of what lies in memory: a module, or any callable on pictures."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from xaibench.api import Detector, ModelError, Runtime
from xaibench_models.card import validate
from xaibench_models.torch_loading import Loaded, frozen
from xaibench_models.torch_model import TorchKeys, build

_FILE_KEYS = frozenset(("factory", "kwargs", "pythonpath", "weights"))


class LiveModel:
    """One detector of a live object. It is copied when it is opened, so that training on changes nothing here.

    Parameters
    ----------
    thing: a ``torch.nn.Module``, or a callable that maps ``(N, 3, H, W)`` float32 tensors, prepared as ``card`` says,
        to a tensor or array ``(N, K)`` or ``(N,)``.
    name: of the detector in tables.
    card: keys of a model card; ``size`` is needed, and ``high`` where there is one output.
    version: stands for the code of ``thing`` in the detector's digest, beside its weights.
    """

    def __init__(
        self, thing: nn.Module | Callable[[Tensor], Any], name: str, card: Mapping[str, Any], version: str
    ) -> None:
        self.thing, self.name, self.version = thing, name, version
        self.keys = validate(card, TorchKeys, name)
        file_key = next((k for k in sorted(_FILE_KEYS) if getattr(self.keys, k) is not None), None)
        if file_key is not None:
            raise ModelError(f"{name}: the key '{file_key}' is for files", "leave it out: the model is there already")

    def members(self) -> tuple[str, ...]:
        return (self.name,)

    def open(self, member: str, runtime: Runtime) -> Detector:
        """The detector, tried on a batch. Raises :class:`ModelError` as a model file does."""
        module = self._copy() if isinstance(self.thing, nn.Module) else _Called(self.thing)
        loaded = Loaded(module=frozen(module), digest=self._digest(module), form="in memory")
        try:
            return build(loaded, self.keys, runtime, self.name)
        except ModelError as error:
            raise ModelError(f"{self.name}: {error.what}", error.mend) from error.__cause__

    def _copy(self) -> nn.Module:
        assert isinstance(self.thing, nn.Module)
        try:
            return copy.deepcopy(self.thing)
        except Exception as error:  # a module may hold anything, also what cannot be copied
            raise ModelError(
                f"{self.name}: the module cannot be copied: {type(error).__name__}: {error}",
                "hand over a function that calls it, or a file",
            ) from error

    def _digest(self, module: nn.Module) -> str:
        """Sha256 over the version and the module's weights."""
        total = hashlib.sha256(f"{type(self.thing).__qualname__} {self.version}".encode())
        for key, value in sorted(module.state_dict().items()):
            total.update(f"{key}{value.dtype}{tuple(value.shape)}".encode())
            total.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
        return total.hexdigest()


class _Called(nn.Module):
    """A callable as a module without parameters."""

    def __init__(self, call: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.call = call

    def __deepcopy__(self, memo: dict[int, Any]) -> _Called:
        return _Called(self.call)

    def forward(self, images: Tensor) -> Tensor:
        values = self.call(images)
        return values if isinstance(values, Tensor) else torch.as_tensor(values, dtype=torch.float32)
