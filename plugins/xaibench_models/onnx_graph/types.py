"""ONNX element types as torch dtypes, and ONNX tensors as torch tensors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, numpy_helper
from torch import Tensor

TORCH: dict[int, torch.dtype] = {
    TensorProto.FLOAT16: torch.float16,
    TensorProto.BFLOAT16: torch.bfloat16,
    TensorProto.FLOAT: torch.float32,
    TensorProto.DOUBLE: torch.float64,
    TensorProto.INT8: torch.int8,
    TensorProto.INT16: torch.int16,
    TensorProto.INT32: torch.int32,
    TensorProto.INT64: torch.int64,
    TensorProto.UINT8: torch.uint8,
    TensorProto.BOOL: torch.bool,
}


def type_name(element: int) -> str:
    """``float16`` for 10, as the claims spell it."""
    return str(TensorProto.DataType.Name(element)).lower()


def to_torch(proto: onnx.TensorProto, single: torch.dtype, folder: Path | None = None) -> Tensor:
    """The tensor of ``proto``, with float32 read as ``single``; external data lies relative to ``folder``.

    Raises :class:`TypeError` for an element type that has no counterpart (strings, 4- and 8-bit floats, unsigned
    integers above 8 bits, complex numbers).
    """
    dtype = TORCH.get(proto.data_type)
    if dtype is None:
        raise TypeError(f"a constant of type {type_name(proto.data_type)}")
    array = np.asarray(numpy_helper.to_array(proto, base_dir=str(folder or "")))
    if proto.data_type == TensorProto.BFLOAT16:  # exact: numpy has no such type of its own
        return torch.from_numpy(array.astype(np.float32)).to(dtype)
    tensor = torch.from_numpy(np.array(array, order="C"))  # owned and writable
    return tensor.to(single) if dtype == torch.float32 else tensor
