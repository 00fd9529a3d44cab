"""The weights of a network in a file: read as data, and refused where they do not fit."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from xaibench.api import ModelError

_WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "weights", "params")
_CONVERT = 'save_file(model.state_dict(), "weights.safetensors"), with save_file from safetensors.torch'
_SHOWN = 3


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors in a safetensors file, or in a checkpoint that torch saved; pickled code is never run.

    Raises :class:`ModelError` where the file is missing, corrupt, or holds anything but a table of tensors.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such file", "give weights = FILE.safetensors, or a .pt of tensors")
    return _safetensors(path) if path.suffix == ".safetensors" else _saved(path)


def _safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return dict(load_file(str(path)))
    except SafetensorError as error:
        raise ModelError(
            f"{path}: is no safetensors file, or is cut off: {_first_line(error)}", "copy it again"
        ) from None


def _saved(path: Path) -> dict[str, Tensor]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about files of older versions
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise ModelError(
            f"{path}: needs pickled code, which is never run", f"where you trust it, convert it: {_CONVERT}"
        ) from None
    except Exception as error:  # the reader of a broken file raises whatever its parsing trips over
        raise ModelError(f"{path}: is no checkpoint, or is cut off: {_first_line(error)}", "copy it again") from None
    inner = next((loaded[k] for k in _WRAPPERS if isinstance(loaded, dict) and isinstance(loaded.get(k), dict)), loaded)
    if not isinstance(inner, dict) or not all(isinstance(v, Tensor) for v in inner.values()):
        raise ModelError(f"{path}: holds no table of tensors", f"save the state alone: {_CONVERT}")
    return dict(inner)


def check_fit(path: Path, state: Mapping[str, Tensor], expected: Mapping[str, Tensor], mend: str) -> None:
    """Refuse tensors that are not those of a network: :class:`ModelError` with the first keys and the way to ``mend``.

    ``expected`` is the network's ``state_dict()``. A weight may be missing where it is tied to one that is there, and
    so may counters of batches, as files of older versions lack them.
    """
    present = {value.data_ptr() for key, value in expected.items() if key in state and value.numel()}
    absent = (key for key in expected if key not in state and not key.endswith("num_batches_tracked"))
    missing = [key for key in absent if expected[key].data_ptr() not in present]
    left = [key for key in state if key not in expected]
    if missing or left:
        raise ModelError(
            f"{path}: does not fit the network: {len(missing)} weights missing{_some(missing)}, "
            f"{len(left)} left over{_some(left)}",
            mend,
        )
    for key, value in state.items():
        if value.shape != expected[key].shape:
            shapes = f"'{key}' has shape {tuple(value.shape)}, the network's {tuple(expected[key].shape)}"
            raise ModelError(f"{path}: {shapes}", mend)


def without_prefix(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors with ``prefix``, which a wrapper put there, taken off their names."""
    return {key.removeprefix(prefix): value for key, value in state.items()}


def _some(keys: Sequence[str]) -> str:
    return f" ({', '.join(keys[:_SHOWN])}{', …' if len(keys) > _SHOWN else ''})" if keys else ""


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
