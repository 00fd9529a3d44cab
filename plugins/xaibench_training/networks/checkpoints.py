"""A user's checkpoint of a backbone, read as data and brought into a network."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from xaibench.api import ModelError
from xaibench_training.networks.pooled import Plan, PooledNetwork

_WRAPPERS = ("state_dict", "model_state_dict", "model")
_PREFIXES = ("", "module.", "model.", "module.model.", "backbone.", "module.backbone.", "body.", "body.model.")
"""What wrappers put before every key; ``body`` is ours, so that a trained member's file can be trained on."""
_NORMALISING = frozenset({"mean", "std"})
_SHOWN = 3


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors in a safetensors file, or in a checkpoint that torch saved; pickled code is never run.

    Raises :class:`ModelError` where the file is missing, corrupt, or holds anything but a table of tensors.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such file", "give weights=FILE.safetensors, or a .pt of tensors")
    return _safetensors(path) if path.suffix == ".safetensors" else _saved(path)


def _safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return dict(load_file(str(path)))
    except SafetensorError as error:
        raise ModelError(f"{path}: is no safetensors file, or is cut off: {error}", "copy it again") from None


def _saved(path: Path) -> dict[str, Tensor]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about files of older versions
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        mend = "where you trust it, save its state_dict() alone with safetensors.torch.save_file"
        raise ModelError(f"{path}: needs pickled code, which is never run", mend) from None
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(f"{path}: is no checkpoint, or is cut off: {first}", "copy it again") from None
    inner = next((loaded[k] for k in _WRAPPERS if isinstance(loaded, dict) and isinstance(loaded.get(k), dict)), loaded)
    if not isinstance(inner, dict) or not all(isinstance(v, Tensor) for v in inner.values()):
        raise ModelError(f"{path}: holds no table of tensors", "save the state_dict() alone")
    return dict(inner)


def load_backbone(network: PooledNetwork, path: Path, plan: Plan) -> tuple[str, ...]:
    """Load a checkpoint of the backbone into ``network``, in place; the lines to be said aloud.

    A classifier of the same shape is taken over; one of another number of classes, or none, leaves the network's own
    as drawn. Raises :class:`ModelError`, naming the first keys, where any other weight is missing, left over or of
    another shape.
    """
    found = {key: value for key, value in read_tensors(path).items() if key not in _NORMALISING}
    expected = network.body.state_dict()
    candidates = [_fitted(_without(found, prefix), plan, expected) for prefix in _PREFIXES]
    body, head = min(candidates, key=lambda c: len(set(c[0]) ^ set(expected)))
    _refuse_misfit(path, body, expected)
    network.body.load_state_dict(body, strict=False)
    return _load_head(network, head, path)


def _without(found: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in found.items()}


def _fitted(
    found: Mapping[str, Tensor], plan: Plan, expected: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The tensors under the body's names, and the classifier's ``weight`` and ``bias`` where there is one."""
    body, head = split_head(found, plan.heads)
    named = {plan.renamed(key): value for key, value in body.items()}
    return {key: _as_kernel(value, expected.get(key)) for key, value in named.items()}, head


def _as_kernel(value: Tensor, wanted: Tensor | None) -> Tensor:
    """A matrix as the 1 x 1 kernel that is wanted: the published file of Xception holds its pointwise ones so."""
    if wanted is not None and value.ndim == 2 and wanted.shape == (*value.shape, 1, 1):
        return value[:, :, None, None]
    return value


def split_head(found: Mapping[str, Tensor], heads: Sequence[str]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The tensors of the body, and the classifier's ``weight`` and ``bias`` where there is one."""
    name = next((h for h in heads if f"{h}.weight" in found), None)
    keys = {f"{name}.{part}": part for part in ("weight", "bias")}
    body = {k: v for k, v in found.items() if k not in keys}
    return body, {part: found[key] for key, part in keys.items() if key in found}


def _load_head(network: PooledNetwork, head: Mapping[str, Tensor], path: Path) -> tuple[str, ...]:
    own = network.head.state_dict()
    if {k: v.shape for k, v in head.items()} == {k: v.shape for k, v in own.items()}:
        network.head.load_state_dict(dict(head))
        return ()
    if not head:
        return (f"{path.name} holds no classifier: one of {len(own['weight'])} classes was drawn",)
    had, has = len(head["weight"]), len(own["weight"])
    return (f"the classifier of {path.name} has {had} classes: replaced by one of {has}, drawn anew",)


def _refuse_misfit(path: Path, body: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Refuse what does not fit; counters of batches may be missing, as files of older versions lack them."""
    missing = [k for k in expected if k not in body and not k.endswith("num_batches_tracked")]
    left = [k for k in body if k not in expected]
    if missing or left:
        raise ModelError(
            f"{path}: does not fit the network: {len(missing)} weights missing{_some(missing)}, "
            f"{len(left)} left over{_some(left)}",
            "give a checkpoint of this network, named as its summary says",
        )
    for key, value in body.items():
        if value.shape != expected[key].shape:
            raise ModelError(
                f"{path}: '{key}' has shape {tuple(value.shape)}, the network's {tuple(expected[key].shape)}",
                "give a checkpoint of this network",
            )


def _some(keys: Sequence[str]) -> str:
    return f" ({', '.join(keys[:_SHOWN])}{', …' if len(keys) > _SHOWN else ''})" if keys else ""
