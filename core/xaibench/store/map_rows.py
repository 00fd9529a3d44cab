"""The stored form of a map: float16 values in [-1, 1] and one float32 scale. Every metric sees maps in this form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from xaibench.api import Explanation
from xaibench.api.vocabulary import STATUSES

if TYPE_CHECKING:
    from torch import Tensor


class BadMap(ValueError):
    """An explainer returned something that is not a map of its picture. This is an error of the explainer."""


def check(explanation: Explanation, height: int, width: int) -> Explanation:
    """Return ``explanation`` where it fulfils the contract, else raise :class:`BadMap`.

    A map must be finite and have the shape ``(height, width)``; every status but ``ok`` must have a reason. Whatever
    has another type than declared is refused.
    """
    if not isinstance(explanation, Explanation):
        raise BadMap(f"explain() returned {type(explanation).__name__}, not an Explanation")
    if explanation.status not in STATUSES:
        raise BadMap(f"the status is {explanation.status!r}; give {', '.join(STATUSES)}")
    if not isinstance(explanation.reason, str):
        raise BadMap(f"the reason is {type(explanation.reason).__name__}, not text")
    if explanation.status != "ok":
        if not explanation.reason:
            raise BadMap(f"status '{explanation.status}' without a reason")
        return explanation
    if explanation.map is None or tuple(_values(explanation.map, "map").shape) != (height, width):
        shape = None if explanation.map is None else tuple(explanation.map.shape)
        raise BadMap(f"the map's shape is {shape}, the picture's is ({height}, {width})")
    for name, tensor, dimensions in (
        ("native map", explanation.native_map, 2), ("segment weights", explanation.segment_weights, 1)
    ):  # fmt: skip
        if tensor is not None and _values(tensor, name).dim() != dimensions:
            raise BadMap(f"the {name} has {tensor.dim()} dimensions, not {dimensions}")
    details = explanation.details
    if not isinstance(details, Mapping):
        raise BadMap(f"details is {type(details).__name__}, not a mapping")
    for key, value in details.items():
        if not isinstance(key, str) or not hasattr(value, "__float__"):
            raise BadMap(f"details holds {key!r}: {value!r}, not a name and a number")
    return explanation


def _values(tensor: object, name: str) -> Tensor:
    """A tensor of finite real numbers."""
    import torch

    if not isinstance(tensor, torch.Tensor):
        raise BadMap(f"the {name} is {type(tensor).__name__}, not a tensor")
    if tensor.layout is not torch.strided or tensor.is_complex() or tensor.is_quantized or tensor.is_meta:
        raise BadMap(f"the {name} is {tensor.dtype} and {tensor.layout}, not a dense tensor of real numbers")
    # in the form in which it is stored: what is finite in float64 may not be there
    if not bool(torch.isfinite(tensor.detach().float()).all()):
        raise BadMap(f"the {name} holds NaN or infinite values")
    return tensor


def encode(values: Tensor) -> tuple[float, bytes]:
    """The scale (the largest absolute value) and ``values / scale`` as float16 bytes, row-major and little-endian."""
    import numpy as np

    array = values.detach().to("cpu").float().numpy()
    scale = np.float32(np.abs(array).max(initial=0.0))
    scaled = array / scale if scale > 0 else array
    return float(scale), np.ascontiguousarray(scaled, dtype="<f2").tobytes()


def decode(scale: float, data: bytes, height: int, width: int) -> Tensor:
    """The values of :func:`encode`, ``(height, width)`` float32."""
    import numpy as np
    import torch

    array = np.frombuffer(data, dtype="<f2").astype(np.float32).reshape(height, width)
    return torch.from_numpy(array * np.float32(scale))


def stored_form(explanation: Explanation) -> Explanation:
    """The explanation as it is read from the store."""
    return explanation if explanation.status != "ok" else from_row(to_row(explanation))


def to_row(explanation: Explanation) -> dict[str, Any]:
    """The columns of the ``maps`` table that hold the explanation."""
    row: dict[str, Any] = {"status": explanation.status, "reason": explanation.reason or None}
    for prefix, tensor in (("", explanation.map), ("native_", explanation.native_map)):
        if tensor is not None:
            scale, data = encode(tensor)
            row |= {f"{prefix}height": tensor.shape[0], f"{prefix}width": tensor.shape[1]}
            row |= {f"{prefix}scale": scale, f"{prefix}map": data}
    if explanation.segment_weights is not None:
        row["segment_weights"] = explanation.segment_weights.detach().cpu().float().tolist()
    if explanation.details:
        row["details"] = [(name, float(value)) for name, value in sorted(explanation.details.items())]
    return row


def from_row(row: dict[str, Any]) -> Explanation:
    """The explanation that a row of the ``maps`` table holds."""
    import torch

    if row["status"] != "ok":
        return Explanation(map=None, status=row["status"], reason=row["reason"])
    native = row.get("native_map")
    weights = row.get("segment_weights")
    return Explanation(
        map=decode(row["scale"], row["map"], row["height"], row["width"]),
        native_map=None
        if native is None
        else decode(row["native_scale"], native, row["native_height"], row["native_width"]),
        segment_weights=None if weights is None else torch.tensor(weights, dtype=torch.float32),
        details=dict(row.get("details") or ()),
    )
