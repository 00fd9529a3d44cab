"""Watching and changing the torch operations of a network while it runs.

A detector that gives ``operations`` computes its logits by torch functions, whatever it was made from: modules,
functional code, an exported program (which calls ``torch.ops.aten``), the ONNX executor. :class:`Operations` sees each
call under one name and lets a rule answer in its place::

    class Doubled(Operations):
        def __init__(self) -> None:
            super().__init__({"relu": lambda call: 2 * call.run()})

    with Doubled():
        logits = detector.logits(images)

Names are those of ``torch.nn.functional`` where there are several: ``F.relu``, ``nn.ReLU``, ``torch.relu``,
``Tensor.relu_`` and ``aten.relu_.default`` are all ``relu``. Attention is taken apart into ``matmul`` and ``softmax``
before rules are asked. Code that TorchScript runs is out of sight.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
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
_CONVOLUTIONS = ("conv1d", "conv2d", "conv3d", "convolution")
_TRANSPOSED = ("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")


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


# ---- linear operations ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Linear:
    """A linear operation: ``apply(x, weight, bias)`` is its result.

    ``axis`` is that of the output's channels. ``foldable``: ``weight`` has the output's channels first, so that a
    scale and a shift of each channel can be taken into it.
    """

    x: Tensor
    weight: Tensor
    bias: Tensor | None
    apply: Callable[[Tensor, Tensor, Tensor | None], Tensor]
    axis: int = 1
    foldable: bool = False

    def folded(self, scale: Tensor, shift: Tensor) -> Linear:
        """The operation followed by ``scale * y + shift``, ``(channels,)`` each, as one."""
        weight = self.weight * scale.view(-1, *[1] * (self.weight.ndim - 1))
        return replace(self, weight=weight, bias=shift if self.bias is None else self.bias * scale + shift)


def as_linear(call: Call) -> Linear | None:
    """The call as a linear operation of the picture, None where it is none."""
    if call.name in (*_CONVOLUTIONS, *_TRANSPOSED, "linear"):
        dense, plain = call.name == "linear", call.name in _CONVOLUTIONS
        transposed = call.name == "convolution" and bool(call.args[6])
        return _linear(call, 0, 1, 2, axis=-1 if dense else 1, foldable=dense or (plain and not transposed))
    if call.name == "addmm":
        return _linear(call, 1, 2, 0, axis=-1)
    if call.name == "matmul" and len(call.operands()) == 1:
        x = call.operands()[0]
        return _linear(call, x, 1 - x, None, axis=-1 if x == 0 else -2)
    return None


LINEAR = (*_CONVOLUTIONS, *_TRANSPOSED, "linear", "addmm", "matmul")
"""Names of the operations that :func:`as_linear` may take."""


def _linear(call: Call, x: int, weight: int, bias: int | None, *, axis: int, foldable: bool = False) -> Linear | None:
    names = ("input", "weight", "bias")
    full = [call.get(i, names[i] if i < 3 else "") for i in range(max(len(call.args), 3 if bias == 2 else 0))]
    if not depends(full[x]) or depends(full[weight]):
        return None

    def apply(new_x: Tensor, new_weight: Tensor, new_bias: Tensor | None) -> Tensor:
        args = list(full)
        args[x], args[weight] = new_x, new_weight
        if bias is not None:
            # addmm, whose bias comes first, takes no None for it
            args[bias] = new_weight.new_zeros(()) if new_bias is None and bias == 0 else new_bias
        kwargs = {k: v for k, v in call.kwargs.items() if k not in names}
        return cast("Tensor", call.func(*args, **kwargs))

    return Linear(full[x], full[weight], full[bias] if bias is not None else None, apply, axis, foldable)


def batch_norm_affine(call: Call) -> tuple[Tensor, Tensor, Tensor] | None:
    """``x, scale, shift`` of a batch norm with running statistics, the latter ``(channels,)``; None where it has none.

    ``torch.nn.functional`` has the statistics before the weight, ``torch`` and ``aten`` after it.
    """
    if call.func is functional.batch_norm:
        names = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
    elif call.bare == "_native_batch_norm_legit_no_training":
        names = ("input", "weight", "bias", "running_mean", "running_var", "momentum", "eps", "training")
    else:
        names = ("input", "weight", "bias", "running_mean", "running_var", "training", "momentum", "eps")
    values = {name: call.get(i, name) for i, name in enumerate(names)}
    if values["training"] or values["running_mean"] is None:
        return None
    scale = (values["running_var"] + (1e-5 if values["eps"] is None else values["eps"])).rsqrt()
    scale = scale if values["weight"] is None else scale * values["weight"]
    shift = -values["running_mean"] * scale
    return values["input"], scale, shift if values["bias"] is None else shift + values["bias"]


# ---- does it have attention? ------------------------------------------------------------------------------------

MOST_EXTRA = 8
"""Tokens beside those of the picture (class token, registers) that a network is believed to have at most."""


@dataclass(frozen=True, slots=True)
class TokenGrid:
    """Where the tokens of a picture lie: ``extra`` tokens first, then ``height`` rows of ``width``."""

    height: int
    width: int
    extra: int


def token_grid(tokens: int, size: tuple[int, int]) -> TokenGrid | None:
    """The grid of square patches on a picture of ``(H, W)`` pixels with the fewest extra tokens, None where no patch
    size leaves 0 to :data:`MOST_EXTRA`."""
    sides = range(1, min(size) + 1)
    cut = {(size[0] // p, size[1] // p) for p in sides} | {(-(-size[0] // p), -(-size[1] // p)) for p in sides}
    grids = [TokenGrid(h, w, tokens - h * w) for h, w in cut if 0 <= tokens - h * w <= MOST_EXTRA]
    return min(grids, key=lambda g: (g.extra, g.height), default=None)


class Attention(Operations):
    """Keeps the attention of a network: its softmaxes over the last of three or four axes, in order.

    ``matrices`` are the very tensors that go on through the network, so that logits can be differentiated with respect
    to them; or what ``keep`` makes of each. They are kept as long as there is no :meth:`limit`.
    """

    def __init__(self, pictures: int, size: tuple[int, int], keep: Callable[[Tensor], Tensor] | None = None) -> None:
        super().__init__({"softmax": self._softmax})
        self.pictures, self.size, self.keep = pictures, size, keep
        self.shapes: list[tuple[int, ...]] = []
        self.matrices: list[Tensor] = []

    def _softmax(self, call: Call) -> Tensor:
        result = call.run()
        last = call.get(1, "dim") in (-1, result.ndim - 1)
        if result.ndim in (3, 4) and last and result.shape[-2] > 1:
            self.shapes.append(tuple(result.shape))
            if not self.limit():
                self.matrices.append(self.keep(result) if self.keep else result)
        return result

    def limit(self) -> str:
        """Why what was seen is no attention of all picture tokens to one another; empty where it is."""
        if not any(shape[-1] == shape[-2] for shape in self.shapes):
            return NO_ATTENTION
        tokens = self.shapes[0][-1]
        for shape in self.shapes:
            if shape[-1] != shape[-2]:
                return f"the network attends from {shape[-2]} tokens to {shape[-1]} others (pooled or cross-attention)"
            if shape[0] != self.pictures if len(shape) == 4 else shape[0] % self.pictures:
                return "the network attends within windows: no token sees the whole picture"
            if shape[-1] != tokens:
                return f"the number of tokens changes from {tokens} to {shape[-1]} on the way through the network"
        if token_grid(tokens, self.size) is None:
            return f"the network's {tokens} tokens do not lie on a grid over {self.size[0]} x {self.size[1]} pixels"
        return ""

    def grid(self) -> TokenGrid:
        """Where the tokens lie. Raises ValueError where there is a limit."""
        found = token_grid(self.shapes[0][-1], self.size) if self.shapes else None
        if found is None:
            raise ValueError(self.limit())
        return found


NO_ATTENTION = "the network has no attention of picture tokens to one another"


def attention_limit(logits: Callable[[Tensor], Tensor], images: Tensor) -> str:
    """Why methods on attention cannot work on ``logits``, tried on ``images`` ``(N, 3, H, W)``; empty where they can.

    Attention counts where every matrix is ``(N, heads, T, T)``, ``(N * heads, T, T)`` with the pictures first, of one
    number T of tokens that lie on the picture (:func:`token_grid`). Windowed attention (Swin), pooled keys (PVT) and a
    changing number of tokens do not count: their matrices cannot be multiplied with one another.
    """
    watching = Attention(len(images), (images.shape[-2], images.shape[-1]))
    with torch.no_grad(), watching:
        logits(images)
    return watching.limit()


def has_attention(logits: Callable[[Tensor], Tensor], images: Tensor) -> bool:
    """Whether there is no :func:`attention_limit`."""
    return not attention_limit(logits, images)
