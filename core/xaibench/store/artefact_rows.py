"""Products of artefacts as rows of the ``artefacts`` table, and back, without rounding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xaibench.api import Artefact, Product, canonical_json, format_value

if TYPE_CHECKING:
    from torch import Tensor


def name_of(artefact: Artefact) -> str:
    """The name of an artefact, ``kind:key=value,…``, with every parameter that is not None."""
    values = ",".join(f"{k}={format_value(v)}" for k, v in sorted(artefact.parameters().items()) if v is not None)
    return f"{artefact.kind}:{values}" if values else artefact.kind


def to_row(artefact: Artefact, product: Product) -> dict[str, Any]:
    """The columns that hold a product."""
    return {
        "kind": artefact.kind,
        "parameters": canonical_json(dict(artefact.parameters())),
        "numbers": [(name, float(value)) for name, value in sorted(product.numbers.items())],
        "tensors": [_tensor_row(name, tensor) for name, tensor in sorted(product.tensors.items())],
        "status": product.status,
        "reason": product.reason or None,
    }


def from_row(row: dict[str, Any]) -> Product:
    """The product that a row holds."""
    return Product(
        status=row["status"],
        reason=row["reason"] or "",
        numbers=dict(row["numbers"]),
        tensors={t["name"]: _tensor(t) for t in row["tensors"]},
    )


def _tensor_row(name: str, tensor: Tensor) -> dict[str, Any]:
    import numpy as np

    values = tensor.detach().cpu().contiguous().numpy()
    little = values.astype(values.dtype.newbyteorder("<"), copy=False)
    data = np.ascontiguousarray(little).tobytes()
    return {"name": name, "dtype": str(values.dtype), "shape": list(values.shape), "data": data}


def _tensor(row: dict[str, Any]) -> Tensor:
    import numpy as np
    import torch

    values = np.frombuffer(row["data"], dtype=np.dtype(row["dtype"]).newbyteorder("<"))
    return torch.from_numpy(values.reshape(row["shape"]).astype(row["dtype"]))
