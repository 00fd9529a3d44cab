"""The calls of torch operations that a network makes, each under one name, and rules that answer in their place."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

Rule = Callable[["Call"], Any]

_ALIASES = {
    "_convolution": "convolution", "_softmax": "softmax",
    "_threshold": "threshold", "absolute": "abs", "bmm": "matmul", "clip": "clamp",
    "concat": "cat", "concatenate": "cat", "divide": "div", "mm": "matmul", "multiply": "mul",
    "subtract": "sub", "swapaxes": "transpose", "swapdims": "transpose", "true_divide": "div",
    "_native_batch_norm_legit_no_training": "batch_norm", "native_group_norm": "group_norm",
    "native_layer_norm": "layer_norm",
    "max_pool1d_with_indices": "max_pool1d", "max_pool2d_with_indices": "max_pool2d",
    "max_pool3d_with_indices": "max_pool3d",
}  # fmt: skip

_TUPLES = {"_native_batch_norm_legit_no_training": 3, "native_group_norm": 3, "native_layer_norm": 3,
           "max_pool1d_with_indices": 2, "max_pool2d_with_indices": 2, "max_pool3d_with_indices": 2}  # fmt: skip
"""Operations of decomposed programs that return more than the result; inference reads the first alone."""

ELEMENTWISE = frozenset((
    "abs", "celu", "clamp", "clamp_max", "clamp_min", "elu", "erf", "exp", "expm1", "gelu", "hardsigmoid", "hardswish",
    "hardtanh", "leaky_relu", "log", "log1p", "log_sigmoid", "logsigmoid", "maximum", "minimum", "mish", "pow", "prelu",
    "rdiv", "reciprocal", "relu", "relu6", "rpow", "rsqrt", "selu", "sigmoid", "silu", "softplus", "softsign", "sqrt",
    "square", "tanh", "threshold",
))  # fmt: skip
"""Functions of one number, applied to each; with a second argument where that does not depend on the picture."""

MAX_POOLS = ("max_pool1d", "max_pool2d", "max_pool3d")


def depends(value: object) -> bool:
    """Whether a value may depend on the picture: a tensor inside autograd that is not a parameter."""
    return isinstance(value, Tensor) and value.requires_grad and not isinstance(value, nn.Parameter)


@dataclass(frozen=True, slots=True)
class Call:
    """One call of an operation. ``bare`` is the name of the very function, ``in_place`` whether the caller wants its
    first argument overwritten."""

    name: str
    func: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    bare: str
    in_place: bool = False

    @staticmethod
    def of(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any] | None) -> Call:
        """The call that a torch function mode was handed."""
        named, bare = dict(kwargs or {}), _bare_name(func)
        given = tuple(args) or tuple(named.pop(n) for n in ("input", "self") if n in named)
        in_place = bool(named.pop("inplace", False)) or _overwrites(bare)
        stem = bare[:-1] if _overwrites(bare) else bare
        stem = stem.strip("_") if stem.startswith("__") else stem
        if stem == "rmatmul":
            return Call("matmul", torch.matmul, given[::-1], named, "matmul")
        return Call(_ALIASES.get(stem, stem), func, given, named, bare, in_place)

    def get(self, index: int, name: str, default: Any = None) -> Any:
        """An argument by position or keyword."""
        return self.args[index] if index < len(self.args) else self.kwargs.get(name, default)

    def operands(self) -> list[int]:
        """Positions of the arguments that may depend on the picture."""
        return [i for i, value in enumerate(self.args) if depends(value)]

    def run(self, replaced: Mapping[int, Any] | None = None) -> Tensor:
        """The operation itself, never in place, with some positional arguments replaced."""
        args = [(replaced or {}).get(i, value) for i, value in enumerate(self.args)]
        if self.in_place:  # what the operation keeps for the gradient must not be overwritten
            args[0] = args[0].clone()
        result = self.func(*args, **self.kwargs)
        return cast("Tensor", result[0] if self.bare in _TUPLES else result)


def _bare_name(func: Any) -> str:
    schema = getattr(func, "_schema", None)
    if schema is not None:
        return str(schema.name).partition("::")[2]
    return str(getattr(func, "__name__", type(func).__name__))


def _overwrites(bare: str) -> bool:
    return bare.endswith("_") and not bare.endswith("__")


class Operations(TorchFunctionMode):
    """Asks ``rules`` for the answer to every operation that they name; :meth:`otherwise` answers the rest.

    A rule gets the :class:`Call` and returns what the operation returns; operations in place are called on a copy,
    and what the rule returns is written back. Rules run outside of the mode; ``with self:`` inside a rule lets it see
    what that rule calls.
    """

    def __init__(self, rules: Mapping[str, Rule]) -> None:
        super().__init__()
        self.rules = dict(rules)

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        call = Call.of(func, args, kwargs)
        taken_apart = _COMPOSITES.get(call.name)
        if taken_apart is not None:
            with self:
                result = taken_apart(call)
            if result is not NotImplemented:
                return result
        rule = self.rules.get(call.name)
        if rule is None:
            return self.otherwise(call, lambda: func(*args, **(kwargs or {})))
        return self._written(call, rule(call))

    def otherwise(self, call: Call, plain: Callable[[], Any]) -> Any:
        """The answer to an operation without a rule: ``plain()``, the operation as it was called."""
        return plain()

    @staticmethod
    def _written(call: Call, result: Any) -> Any:
        """The rule's answer in the form that the caller expects."""
        if call.in_place:
            target = call.args[0]
            return result if result is target else target.copy_(result)
        beside = _TUPLES.get(call.bare)
        return (result, *[None] * (beside - 1)) if beside else result


# ---- attention, taken apart -------------------------------------------------------------------------------------


def _dot_product(call: Call) -> Any:
    """``softmax(q k' scale + mask) v`` of ``(..., T, d)``; NotImplemented where dropout is at work."""
    query, key, value = (call.get(i, n) for i, n in enumerate(("query", "key", "value")))
    flash = call.bare != "scaled_dot_product_attention"
    mask = call.kwargs.get("attn_mask") if flash else call.get(3, "attn_mask")
    dropout, causal = (call.get(3 if flash else 4, "dropout_p", 0.0), call.get(4 if flash else 5, "is_causal", False))
    if dropout:
        return NotImplemented
    if call.kwargs.get("enable_gqa"):
        key, value = (t.repeat_interleave(query.shape[-3] // t.shape[-3], dim=-3) for t in (key, value))
    scale = call.kwargs.get("scale") or 1 / math.sqrt(query.shape[-1])
    scores = (query * scale) @ key.transpose(-2, -1)
    if causal:
        allowed = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
        scores = scores.masked_fill(~allowed, -math.inf)
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else scores + mask
    mixed = torch.softmax(scores, dim=-1) @ value
    return (mixed, None) if flash else mixed


_PLAIN_HEADS: Mapping[str, Any] = {
    "key_padding_mask": None, "attn_mask": None, "use_separate_proj_weight": False,
    "static_k": None, "static_v": None, "is_causal": False,
}  # fmt: skip


def _multi_head(call: Call) -> Any:
    """``F.multi_head_attention_forward`` without masks and extra keys, ``(T, N, E)``; NotImplemented for others."""
    query, key, value, _, heads, weight, bias = call.args[:7]
    extra_keys = any(call.args[i] is not None for i in (7, 8)) or bool(call.args[9])
    masked = any(call.kwargs.get(name, plain) is not plain for name, plain in _PLAIN_HEADS.items())
    if extra_keys or masked or query.ndim != 3 or (call.args[10] and call.kwargs.get("training", True)):
        return NotImplemented
    weights = weight.chunk(3)
    biases = bias.chunk(3) if bias is not None else (None, None, None)
    q, k, v = (_heads(functional.linear(*p), heads) for p in zip((query, key, value), weights, biases, strict=True))
    attention = torch.softmax((q / math.sqrt(q.shape[-1])) @ k.transpose(-2, -1), dim=-1)
    mixed = (attention @ v).permute(2, 0, 1, 3).flatten(2)
    out = functional.linear(mixed, call.args[11], call.args[12])
    if not call.kwargs.get("need_weights", True):
        return out, None
    return out, attention.mean(dim=1) if call.kwargs.get("average_attn_weights", True) else attention


def _heads(rows: Tensor, heads: int) -> Tensor:
    """``(T, N, E)`` to ``(N, heads, T, E / heads)``."""
    return rows.reshape(*rows.shape[:2], heads, -1).permute(1, 2, 0, 3)


_COMPOSITES: Mapping[str, Rule] = {
    "scaled_dot_product_attention": _dot_product,
    "_scaled_dot_product_flash_attention_for_cpu": _dot_product,
    "multi_head_attention_forward": _multi_head,
}
