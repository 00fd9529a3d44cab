"""The stored form of a map: float16 values in [-1, 1] and one float32 scale. Every metric sees maps in this form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xaibench.api import Explanation

if TYPE_CHECKING:
    from torch import Tensor


class BadMap(ValueError):
    """An explainer returned something that is not a map of its picture. This is an error of the explainer."""


def check(explanation: Explanation, height: int, width: int) -> Explanation:
    """Return ``explanation`` where it fulfils the contract, else raise :class:`BadMap`.

    A map must be finite and have the shape ``(height, width)``; every status but ``ok`` must have a reason.
    """
    import torch

    if not isinstance(explanation, Explanation):
        raise BadMap(f"explain() returned {type(explanation).__name__}, not an Explanation")
    if explanation.status != "ok":
        if not explanation.reason:
            raise BadMap(f"status '{explanation.status}' without a reason")
        return explanation
    if not isinstance(explanation.map, torch.Tensor | None):
        raise BadMap(f"the map is {type(explanation.map).__name__}, not a tensor")
    if explanation.map is None or tuple(explanation.map.shape) != (height, width):
        shape = None if explanation.map is None else tuple(explanation.map.shape)
        raise BadMap(f"the map's shape is {shape}, the picture's is ({height}, {width})")
    for name, tensor in (("map", explanation.map), ("native map", explanation.native_map)):
        if tensor is not None and not bool(torch.isfinite(tensor).all()):
            raise BadMap(f"the {name} holds NaN or infinite values")
    return explanation


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
