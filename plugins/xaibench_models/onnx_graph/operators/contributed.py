"""Fused operators of the domain com.microsoft that ONNX Runtime's optimiser and some exporters write."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from xaibench_models.onnx_graph.node import Node
from xaibench_models.onnx_graph.operators.convolution import conv
from xaibench_models.onnx_graph.operators.matrix import gemm
from xaibench_models.onnx_graph.registration import operator

_ACTIVATIONS: dict[str, Callable[[Tensor, list[float]], Tensor]] = {
    "Relu": lambda x, _: F.relu(x),
    "Tanh": lambda x, _: torch.tanh(x),
    "Sigmoid": lambda x, _: torch.sigmoid(x),
    "LeakyRelu": lambda x, p: F.leaky_relu(x, p[0]),
    "Clip": lambda x, p: F.relu6(x) if p == [0, 6] else torch.clamp(x, p[0], p[1]),
    "HardSigmoid": lambda x, p: torch.clamp(p[0] * x + p[1], 0.0, 1.0),
}


def _known_activation(node: Node) -> str | None:
    name = node.text("activation")
    return None if name in _ACTIVATIONS else f"activation '{name}'"


@operator(
    "com.microsoft::FusedConv",
    check=_known_activation,
    limits="activations " + ", ".join(sorted(_ACTIVATIONS)) + "; 1 to 3 spatial axes",
)
def fused_conv(
    node: Node, x: Tensor, weight: Tensor, bias: Tensor | None = None, added: Tensor | None = None
) -> Tensor:
    """``activation(conv(x) + added)``."""
    y = conv(node, x, weight, bias)
    y = y if added is None else y + added
    return _ACTIVATIONS[node.text("activation")](y, list(node.attributes.get("activation_params", ())))


@operator(
    "com.microsoft::FusedGemm",
    check=_known_activation,
    projects=1,
    limits="activations " + ", ".join(sorted(_ACTIVATIONS)),
)
def fused_gemm(node: Node, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    """``activation(alpha A' B' + beta C)``."""
    parameters = [
        node.real(f"activation_{name}") for name in ("alpha", "beta") if f"activation_{name}" in node.attributes
    ]
    return _ACTIVATIONS[node.text("activation")](gemm(node, a, b, c), parameters)


@operator("com.microsoft::Gelu")
def gelu(node: Node, x: Tensor) -> Tensor:
    return F.gelu(x)


@operator("com.microsoft::BiasGelu")
def bias_gelu(node: Node, x: Tensor, bias: Tensor) -> Tensor:
    return F.gelu(x + bias)


@operator("com.microsoft::FastGelu")
def fast_gelu(node: Node, x: Tensor, bias: Tensor | None = None) -> Tensor:
    return F.gelu(x if bias is None else x + bias, approximate="tanh")


@operator("com.microsoft::QuickGelu")
def quick_gelu(node: Node, x: Tensor) -> Tensor:
    return x * torch.sigmoid(node.real("alpha", 1.702) * x)


def _batch(node: Node) -> str | None:
    return "transposed batch axes" if node.integer("transBatchA") or node.integer("transBatchB") else None


@operator("com.microsoft::FusedMatMul", projects=1, limits="no transBatchA, no transBatchB", check=_batch)
def fused_matmul(node: Node, a: Tensor, b: Tensor) -> Tensor:
    """``alpha A' B'``."""
    a = a.mT if node.integer("transA") else a
    weight = b if node.integer("transB") else b.mT
    y = F.linear(a, weight) if node.projects and b.ndim == 2 else torch.matmul(a, weight.mT)
    return y * node.real("alpha", 1.0)


def _only_first(node: Node) -> str | None:
    return "training outputs (mean and deviation)" if node.wants(1) or node.wants(2) else None


@operator("com.microsoft::SkipLayerNormalization", check=_only_first, limits="outputs 0 and 3")
def skip_layer_norm(
    node: Node, x: Tensor, skip: Tensor, scale: Tensor, shift: Tensor | None = None, bias: Tensor | None = None
) -> Tensor | tuple[Tensor | None, ...]:
    """``layer_norm(x + skip + bias)``; the fourth output is the sum."""
    total = x + skip if bias is None else x + skip + bias
    y = F.layer_norm(total, x.shape[-1:], scale, shift, node.real("epsilon", 1e-12))
    return y if len(node.results) == 1 else (y, None, None, total)


@operator("com.microsoft::SkipSimplifiedLayerNormalization", check=_only_first, limits="outputs 0 and 3")
def skip_rms_norm(
    node: Node, x: Tensor, skip: Tensor, scale: Tensor, bias: Tensor | None = None
) -> Tensor | tuple[Tensor | None, ...]:
    """``rms_norm(x + skip + bias)``; the fourth output is the sum."""
    total = x + skip if bias is None else x + skip + bias
    y = F.rms_norm(total, x.shape[-1:], scale, node.real("epsilon", 1e-12))
    return y if len(node.results) == 1 else (y, None, None, total)


@operator(
    "SimplifiedLayerNormalization", limits="output 0", check=lambda n: "its second output" if n.wants(1) else None
)
def simplified_layer_norm(node: Node, x: Tensor, scale: Tensor) -> Tensor:
    """ONNX Runtime's name, in ONNX's own domain, for a normalisation by the root mean square."""
    axis = node.integer("axis", -1) % x.ndim
    return F.rms_norm(x, x.shape[axis:], None, node.real("epsilon", 1e-5)) * scale
