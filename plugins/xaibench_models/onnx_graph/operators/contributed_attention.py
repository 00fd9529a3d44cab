"""Attention as ONNX Runtime's optimiser writes it: projections and heads in one node of the domain com.microsoft."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from xaibench_models.onnx_graph.node import Node
from xaibench_models.onnx_graph.registration import operator

_MASK, _PAST = "a mask by lengths or for padding", "past keys and values"


def _attention_is_plain(node: Node) -> str | None:
    if node.integer("do_rotary"):
        return "rotary embedding inside an attention"
    if node.given(3):
        return _MASK
    return _PAST if node.given(4) or node.wants(1) else None


@operator(
    "com.microsoft::Attention",
    projects=1,
    check=_attention_is_plain,
    limits="no mask_index (attention_bias is taken), no past, no rotary embedding",
)
def attention(
    node: Node,
    x: Tensor,
    weights: Tensor,
    bias: Tensor | None = None,
    _mask: None = None,
    _past: None = None,
    added: Tensor | None = None,
    _length: None = None,
) -> Tensor:
    """Self-attention of ``x (N, L, C)``; ``weights (C, 2 K + V)`` project to queries, keys and values."""
    projected = F.linear(x, weights.mT, bias)
    sizes = node.integers("qkv_hidden_sizes") or [projected.shape[-1] // 3] * 3
    q, k, v = projected.split(sizes, -1)
    return _mixed(node, q, k, v, added)


def _heads_are_plain(node: Node) -> str | None:
    if not node.given(1) or not node.given(2):
        return "queries, keys and values in one tensor"
    if node.given(4):
        return _MASK
    if any(node.given(i) for i in range(6, 10)) or any(node.wants(i) for i in (1, 2, 3)):
        return _PAST
    return None


@operator(
    "com.microsoft::MultiHeadAttention",
    check=_heads_are_plain,
    limits="queries, keys and values of three axes; no key_padding_mask (attention_bias is taken), no past",
)
def multi_head_attention(
    node: Node,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor | None = None,
    _mask: None = None,
    added: Tensor | None = None,
) -> Tensor:
    """Attention of ``q (N, L, K)`` to ``k (N, S, K)`` and ``v (N, S, V)``, or to those with the heads split off."""
    if bias is not None:
        width = q.shape[-1]
        values = bias.shape[0] - 2 * width
        biases = bias.split([width, width, values])
        q, k, v = (t + b if t.ndim == 3 else t for t, b in zip((q, k, v), biases, strict=True))
    return _mixed(node, q, k, v, added)


def _mixed(node: Node, q: Tensor, k: Tensor, v: Tensor, added: Tensor | None) -> Tensor:
    heads = node.integer("num_heads")
    q, k, v = (t if t.ndim == 4 else t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in (q, k, v))
    scores = torch.matmul(q, k.mT) * (node.real("scale") or 1 / math.sqrt(q.shape[-1]))
    if added is not None:
        scores = scores + added
    if node.integer("unidirectional"):
        later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
        scores = scores.masked_fill(later, -math.inf)
    return torch.matmul(torch.softmax(scores, -1), v).transpose(1, 2).flatten(2)
