"""A trained member of a family on disk: weights in safetensors, and a card by which ``--model`` opens them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xaibench.api import UsageError
from xaibench_training.networks import TARGET_LAYER, NetworkSpec
from xaibench_training.writing import write_bytes

if TYPE_CHECKING:
    from torch import Tensor

FACTORY = "xaibench_training.networks:build_trained"
DEFAULT_THRESHOLD = 0.5
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def write_member(
    folder: Path,
    name: str,
    spec: NetworkSpec,
    state: Mapping[str, Tensor],
    *,
    threshold: float = DEFAULT_THRESHOLD,
    licence: str | None = None,
    training_data: str | None = None,
) -> Path:
    """Write ``NAME.safetensors`` and ``NAME.toml`` to ``folder``, each at once or not at all; the card's path.

    The card comes last, so that a folder never names weights that it does not hold. The same state gives the same
    bytes. ``state`` is the ``state_dict()`` of the network that ``build_trained`` makes of ``spec``. Raises
    :class:`UsageError` for a name that is no plain file name.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"'{name}' is no name for a member", "use letters, digits, dots, dashes and underscores")
    import tomli_w
    from safetensors.torch import save

    weights = f"{name}.safetensors"
    words = card(spec, weights, threshold=threshold, licence=licence, training_data=training_data)
    write_bytes(folder / weights, save({k: v.detach().cpu().contiguous().clone() for k, v in state.items()}))
    path = folder / f"{name}.toml"
    write_bytes(path, tomli_w.dumps(words).encode())
    return path


def card(
    spec: NetworkSpec,
    weights: str,
    *,
    threshold: float = DEFAULT_THRESHOLD,
    licence: str | None = None,
    training_data: str | None = None,
) -> dict[str, Any]:
    """The keys by which the ``torch`` model component opens a member; ``weights`` is a path relative to the card."""
    changes = [dict(change) for change in spec.changes]
    words = {
        "factory": FACTORY,
        "weights": weights,
        **interface(spec.size, threshold=threshold, licence=licence, training_data=training_data),
        "target_layer": TARGET_LAYER,
        "kwargs": {"name": spec.name, "size": spec.size, **({"changes": changes} if changes else {})},
    }
    return words


def interface(
    size: int, *, threshold: float = DEFAULT_THRESHOLD, licence: str | None = None, training_data: str | None = None
) -> dict[str, Any]:
    """The card keys that hold for a member in any format: what goes in, what comes out, and where it is from."""
    words = {
        "layout": "NCHW",
        "colour": "RGB",
        "range": [0.0, 1.0],
        "mean": 0.0,
        "std": 1.0,
        "resize": {"interpolation": "bilinear", "antialias": True, "mode": "squash"},
        "size": [size, size],
        "activation": "logit",
        "classes": ["real", "fake"],
        "real": "real",
        "threshold": float(threshold),
    }
    said = {"licence": licence, "training_data": training_data}
    return {**words, **{key: value for key, value in said.items() if value is not None}}
