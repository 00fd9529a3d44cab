"""Normalisations and the softmax family."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from xaibench_models.onnx_graph.node import Node
from xaibench_models.onnx_graph.registration import FLOATS, operator

_FLATTENING = 13  # before it, softmax flattened the input to two axes


def _along(function: Callable[[Tensor, int], Tensor], node: Node, x: Tensor) -> Tensor:
    """Before opset 13 all axes from ``axis`` (default 1) on are normalised together; since then only ``axis``."""
    if node.version >= _FLATTENING:
        return function(x, node.integer("axis", -1))
    axis = node.integer("axis", 1) % max(x.ndim, 1)
    rows = math.prod(x.shape[:axis])
    return function(x.reshape(rows, -1), 1).reshape(x.shape)


def _hardmax(x: Tensor, axis: int) -> Tensor:
    return F.one_hot(torch.argmax(x, axis), x.shape[axis]).movedim(-1, axis).to(x.dtype)


operator("Softmax")(partial(_along, torch.softmax))
operator("LogSoftmax")(partial(_along, torch.log_softmax))
operator("Hardmax")(partial(_along, _hardmax))


def _batch_norm_training(node: Node) -> str | None:
    if node.integer("training_mode"):
        return "training mode: export the model in inference mode"
    return "training mode: it gives batch statistics" if any(node.results[1:]) else None


@operator("BatchNormalization", check=_batch_norm_training, inference="training_mode and extra outputs are refused")
def batch_norm(node: Node, x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    epsilon = node.real("epsilon", 1e-5)
    types = {t.dtype for t in (x, scale, bias, mean, variance)}
    if len(types) == 1:
        return F.batch_norm(x, mean, variance, scale, bias, training=False, eps=epsilon)
    # opsets 14 and 15 allow statistics of a wider type than the data
    wide = torch.promote_types(mean.dtype, torch.promote_types(x.dtype, scale.dtype))
    wide_x, mean, variance, scale, bias = (t.to(wide) for t in (x, mean, variance, scale, bias))
    return F.batch_norm(wide_x, mean, variance, scale, bias, training=False, eps=epsilon).to(x.dtype)


@operator("InstanceNormalization")
def instance_norm(node: Node, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    return F.instance_norm(x, weight=scale, bias=bias, use_input_stats=True, eps=node.real("epsilon", 1e-5))


def _stash(node: Node, x: Tensor) -> torch.dtype:
    """The type of the statistics: that of ``stash_type`` (float32) where ``x`` is narrower, else that of ``x``."""
    return torch.promote_types(x.dtype, node.dtype(node.integer("stash_type", 1)))


@operator("LayerNormalization")
def layer_norm(node: Node, x: Tensor, scale: Tensor, bias: Tensor | None = None) -> Tensor | tuple[Tensor, ...]:
    axis, epsilon = node.integer("axis", -1) % x.ndim, node.real("epsilon", 1e-5)
    shape = x.shape[axis:]
    if scale.shape == shape and (bias is None or bias.shape == shape):
        y = F.layer_norm(x, shape, scale, bias, epsilon)
    else:
        y = F.layer_norm(x, shape, None, None, epsilon) * scale
        y = y if bias is None else y + bias
    if len(node.results) == 1:
        return y
    wide, axes = x.to(_stash(node, x)), list(range(axis, x.ndim))
    variance, mean = torch.var_mean(wide, axes, correction=0, keepdim=True)
    return y, mean, torch.rsqrt(variance + epsilon)


@operator("RMSNormalization")
def rms_norm(node: Node, x: Tensor, scale: Tensor) -> Tensor:
    axis = node.integer("axis", -1) % x.ndim
    wide = x.to(_stash(node, x))
    y = F.rms_norm(wide, x.shape[axis:], None, node.real("epsilon", 1e-5))
    return y.to(x.dtype) * scale


@operator("GroupNormalization")
def group_norm(node: Node, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """Before opset 21 ``scale`` and ``bias`` were given per group; since then per channel."""
    groups = node.integer("num_groups")
    if scale.numel() != x.shape[1]:
        scale, bias = (t.repeat_interleave(x.shape[1] // groups) for t in (scale, bias))
    return F.group_norm(x, groups, scale, bias, node.real("epsilon", 1e-5))


@operator("LRN")
def local_response(node: Node, x: Tensor) -> Tensor:
    """``x / (bias + alpha / size * S)^beta``, S the sum of squares over ``size`` channels, the longer half after."""
    size, alpha = node.integer("size"), node.real("alpha", 1e-4)
    beta, bias = node.real("beta", 0.75), node.real("bias", 1.0)
    before = (size - 1) // 2
    padding = [0, 0] * (x.ndim - 2) + [before, size - 1 - before]
    squares = F.pad(torch.square(x), padding).unfold(1, size, 1).sum(dim=-1)
    return x / torch.pow(bias + alpha / size * squares, beta)


@operator("LpNormalization")
def lp_normalise(node: Node, x: Tensor) -> Tensor:
    """A vector of zeros stays zero."""
    return F.normalize(x, node.integer("p", 2), node.integer("axis", -1), eps=torch.finfo(x.dtype).tiny)


@operator("MeanVarianceNormalization", dtypes=FLOATS)
def mean_variance(node: Node, x: Tensor) -> Tensor:
    """``(x - mean) / (sd + 1e-9)``; the default axes leave out the channels."""
    axes = node.integers("axes") or [0, 2, 3]
    centred = x - torch.mean(x, axes, keepdim=True)
    return centred / (torch.sqrt(torch.mean(torch.square(centred), axes, keepdim=True)) + 1e-9)
