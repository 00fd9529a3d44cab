"""Products of matrices."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from xaibench_models.onnx_graph.node import Node
from xaibench_models.onnx_graph.registration import FLOATS, INTS, operator

_MATRIX = FLOATS | {"int32", "int64"}


@operator("Gemm", dtypes=_MATRIX, projects=1)
def gemm(node: Node, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    """``alpha A' B' + beta C``; as ``F.linear`` wherever it is one, so that rules for linear layers see it."""
    a = a.mT if node.integer("transA") else a
    weight = b if node.integer("transB") else b.mT
    alpha, beta = node.real("alpha", 1.0), node.real("beta", 1.0)
    if alpha == 1 and a.is_floating_point() and _is_bias(c, weight) and beta == 1:
        return F.linear(a, weight, None if c is None else c.reshape(-1))
    y = F.linear(a, weight) if a.is_floating_point() else torch.matmul(a, weight.mT)
    y = _scaled(y, alpha)
    return y if c is None else y + _scaled(c, beta)


def _is_bias(c: Tensor | None, weight: Tensor) -> bool:
    return c is None or (c.numel() == c.shape[-1] == weight.shape[0] if c.ndim else False)


def _scaled(x: Tensor, factor: float) -> Tensor:
    return x if factor == 1 else (x * factor).to(x.dtype)


@operator("MatMul", dtypes=_MATRIX, projects=1)
def matmul(node: Node, a: Tensor, b: Tensor) -> Tensor:
    """With a constant matrix on the right it is ``F.linear``, which rules for linear layers know."""
    if node.projects and b.ndim == 2 and a.ndim >= 2 and a.is_floating_point():
        return F.linear(a, b.mT)
    return torch.matmul(a, b)


@operator("Einsum", dtypes=FLOATS | INTS)
def einsum(node: Node, *values: Tensor) -> Tensor:
    result: Tensor = torch.einsum(node.text("equation").replace(" ", ""), *values)
    return result


@operator("Det", dtypes=frozenset({"float", "double"}))
def determinant(node: Node, x: Tensor) -> Tensor:
    result: Tensor = torch.linalg.det(x)
    return result
