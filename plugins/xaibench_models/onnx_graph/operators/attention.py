"""Attention and rotary embeddings, written out so that the weights of attention are tensors like any other."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from xaibench_models.onnx_graph.node import Node
from xaibench_models.onnx_graph.registration import operator


def _heads(x: Tensor, count: int) -> Tensor:
    """``(batch, length, heads * size)`` to ``(batch, heads, length, size)``; with four axes as it is."""
    if x.ndim == 4:
        return x
    return x.reshape(x.shape[0], x.shape[1], count, -1).transpose(1, 2)


@operator("Attention")
def attention(
    node: Node,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None = None,
    past_key: Tensor | None = None,
    past_value: Tensor | None = None,
    lengths: Tensor | None = None,
) -> Tensor | tuple[Tensor, ...]:
    """``softmax(scale Q K^T + bias) V``; a query that may see no key gives zeros."""
    flat = q.ndim == 3
    q, k, v = (
        _heads(t, node.integer(name)) for t, name in ((q, "q_num_heads"), (k, "kv_num_heads"), (v, "kv_num_heads"))
    )
    if past_key is not None and past_value is not None:
        k, v = torch.cat((past_key, k), 2), torch.cat((past_value, v), 2)
    offset = 0 if past_key is None else past_key.shape[2]
    bias = _bias(node, q, k, mask, lengths, offset)
    weights, shown = _weights(node, q, _repeat(k, q), bias)
    y = torch.matmul(weights, _repeat(v, q).to(weights.dtype))
    if flat:
        y = y.transpose(1, 2).reshape(y.shape[0], y.shape[2], -1)
    return y if len(node.results) == 1 else (y, k, v, shown)


def _repeat(x: Tensor, q: Tensor) -> Tensor:
    """Each head of keys or values for its group of queries."""
    times = q.shape[1] // x.shape[1]
    return x if times == 1 else x.repeat_interleave(times, 1)


def _bias(node: Node, q: Tensor, k: Tensor, mask: Tensor | None, lengths: Tensor | None, offset: int) -> Tensor | None:
    """What is added to the scores: the mask, and -inf where causality, windows or lengths forbid a key; or None."""
    rows, columns = q.shape[2], k.shape[2]
    allowed = _allowed(node, q, rows, columns, lengths, offset)
    if mask is None:
        return None if allowed is None else _forbid(q, allowed)
    missing = columns - mask.shape[-1]
    boolean = mask.dtype == torch.bool
    if missing:
        mask = F.pad(mask, (0, missing), value=False if boolean else -math.inf)
    bias = _forbid(q, mask) if boolean else mask
    return bias if allowed is None else bias + _forbid(q, allowed)


def _forbid(q: Tensor, allowed: Tensor) -> Tensor:
    return torch.zeros(allowed.shape, dtype=q.dtype, device=q.device).masked_fill(~allowed, -math.inf)


def _allowed(node: Node, q: Tensor, rows: int, columns: int, lengths: Tensor | None, offset: int) -> Tensor | None:
    """Which keys each query may see: ``(1 or batch, 1, rows, columns)``, or None where all."""
    keys = torch.arange(columns, device=q.device)
    queries = torch.arange(rows, device=q.device)[:, None] + offset
    rules: list[Tensor] = []
    if lengths is not None:
        valid = lengths.reshape(-1, 1, 1, 1)
        rules.append((keys < valid).expand(-1, 1, rows, columns))
        queries = queries + valid - rows
    if node.integer("is_causal"):
        rules.append(keys <= queries)
    left, right = node.integer("left_window_size", -1), node.integer("right_window_size", -1)
    if left >= 0:
        rules.append(keys >= queries - left)
    if right >= 0:
        rules.append(keys <= queries + right)
    if not rules:
        return None
    found = rules[0]
    for rule in rules[1:]:
        found = found & rule
    return found


def _weights(node: Node, q: Tensor, k: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """The attention weights, and the stage that the fourth output shows."""
    root = math.sqrt(node.attributes.get("scale") or 1 / math.sqrt(q.shape[3]))
    raw = torch.matmul(q * root, k.mT * root)
    cap = node.real("softcap")
    capped = cap * torch.tanh(raw / cap) if cap else raw
    biased = capped if bias is None else capped + bias
    precision = node.integer("softmax_precision")
    weights = torch.softmax(biased.to(node.dtype(precision)) if precision else biased, -1).to(q.dtype)
    if bias is not None:
        blind = torch.isneginf(bias).all(dim=-1, keepdim=True)
        weights = weights.masked_fill(blind, 0.0)
    return weights, (raw, capped, biased, weights)[node.integer("qk_matmul_output_mode")]


@operator("RotaryEmbedding")
def rotary_embedding(node: Node, x: Tensor, cosines: Tensor, sines: Tensor, positions: Tensor | None = None) -> Tensor:
    """Rotates pairs of the first ``rotary_embedding_dim`` features of each head by the angle of their position."""
    heads = _heads(x, node.integer("num_heads"))
    turned_count = node.integer("rotary_embedding_dim") or heads.shape[-1]
    turned, rest = heads[..., :turned_count], heads[..., turned_count:]
    if positions is not None:
        cosines, sines = cosines[positions.long()], sines[positions.long()]
    cosines, sines = (t[..., : turned_count // 2].unsqueeze(1) for t in (cosines, sines))
    interleaved = bool(node.integer("interleaved"))
    first, second = (turned[..., 0::2], turned[..., 1::2]) if interleaved else turned.chunk(2, -1)
    pair = cosines * first - sines * second, sines * first + cosines * second
    mixed = torch.stack(pair, -1).flatten(-2) if interleaved else torch.cat(pair, -1)
    y = torch.cat((mixed, rest), -1)
    return y if x.ndim == 4 else y.transpose(1, 2).reshape(x.shape)
