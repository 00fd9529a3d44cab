"""Detectors made of what lies in memory: a module, or any callable on pictures."""

from __future__ import annotations

import copy
import hashlib
import io
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from xaibench.api import Detector, ModelError, Runtime, describe_error
from xaibench_models.callables import Called
from xaibench_models.card import validate
from xaibench_models.torch_card import TorchKeys
from xaibench_models.torch_loading import Loaded, frozen
from xaibench_models.torch_model import build

_FILE_KEYS = frozenset(("factory", "kwargs", "pythonpath", "weights"))


class LiveModel:
    """One detector of a live object. It is copied when it is opened, so that training on changes nothing here.

    Parameters
    ----------
    thing: a ``torch.nn.Module``, or a callable that maps ``(N, 3, H, W)`` float32 tensors, prepared as ``card`` says,
        to a tensor or array ``(N, K)`` or ``(N,)``, or to a dict or tuple of such, of which ``output_key`` takes one.
    name: of the detector in tables, another for each object.
    card: keys of a model card; ``size`` is needed, and ``high`` where there is one output.
    version: stands for the code of ``thing`` in the detector's digest, beside its name and weights.
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
        module = self._copy() if isinstance(self.thing, nn.Module) else Called(self.thing)
        hooks = not isinstance(module, torch.jit.ScriptModule)
        loaded = Loaded(module=frozen(module), digest=self._digest(module), form="in memory", hooks=hooks)
        try:
            return build(loaded, self.keys, runtime, self.name)
        except ModelError as error:
            others = {str(p.dtype) for p in module.parameters() if p.is_floating_point() and p.dtype != torch.float32}
            mend = error.mend
            if others and error.__cause__ is not None:  # the module's own code failed
                mend = f"pictures are float32 and weights {', '.join(sorted(others))}: hand over a float() copy"
            raise ModelError(f"{self.name}: {error.what}", mend) from error.__cause__

    def _copy(self) -> nn.Module:
        assert isinstance(self.thing, nn.Module)
        try:
            scripted = isinstance(self.thing, torch.jit.ScriptModule)
            return _copy_of_script(self.thing) if scripted else copy.deepcopy(self.thing)
        except Exception as error:  # a module may hold anything, also what cannot be copied
            raise self._unusable("module cannot be copied", error) from error

    def _unusable(self, what: str, error: Exception) -> ModelError:
        return ModelError(
            f"{self.name}: the {what}: {describe_error(error)}",
            "hand over a function that calls it, or a file",
        )

    def _digest(self, module: nn.Module) -> str:
        """Sha256 over name, version and the module's weights. Raises :class:`ModelError` where they cannot be read."""
        try:
            return self._sha256(module)
        except Exception as error:  # weights on no device, packed by a quantisation ...
            raise self._unusable("weights cannot be read", error) from error

    def _sha256(self, module: nn.Module) -> str:
        total = hashlib.sha256(f"{type(self.thing).__qualname__} {self.name} {self.version}".encode())
        for key, value in sorted(module.state_dict().items()):
            total.update(f"{key}{value.dtype}{tuple(value.shape)}".encode())
            total.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
        return total.hexdigest()


def _copy_of_script(module: nn.Module) -> nn.Module:
    """A TorchScript module again; the weights of its deep copy are no leaves of autograd."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(module, file)
        file.seek(0)
        copied: nn.Module = torch.jit.load(file, map_location="cpu")  # type: ignore[no-untyped-call]
    return copied
