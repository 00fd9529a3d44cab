"""Which operators a program in a file may call: those in ``torch_operators.txt``, which reach nothing outside."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import torch

_SYM_OPERATORS = frozenset(
    ["sym_not", "sym_int", "sym_float", "sym_ite", "sym_max", "sym_min", "sym_sqrt", "_sym_sqrt", "sym_sum"]
)
_OPERATOR = frozenset(
    [
        "abs",
        "add",
        "and_",
        "eq",
        "floordiv",
        "ge",
        "getitem",
        "gt",
        "invert",
        "le",
        "lshift",
        "lt",
        "mod",
        "mul",
        "ne",
        "neg",
        "not_",
        "or_",
        "pos",
        "pow",
        "rshift",
        "sub",
        "truediv",
        "xor",
    ]
)
_MATH = frozenset(
    [
        "acos",
        "asin",
        "atan",
        "ceil",
        "cos",
        "cosh",
        "exp",
        "floor",
        "log",
        "log2",
        "pow",
        "sin",
        "sinh",
        "sqrt",
        "tan",
        "tanh",
        "trunc",
    ]
)
_HIGHER_ORDER = frozenset(
    [
        "cond",
        "while_loop",
        "map_impl",
        "scan",
        "associative_scan",
        "invoke_subgraph",
        "wrap_with_set_grad_enabled",
        "wrap_with_autocast",
    ]
)
_QUANTISING = frozenset(
    [
        "quantize_per_tensor",
        "dequantize_per_tensor",
        "quantize_per_channel",
        "dequantize_per_channel",
        "quantize_per_token",
        "dequantize_per_token",
        "choose_qparams",
        "choose_qparams_symmetric",
        "choose_qparams_per_token",
        "fake_quant_per_channel",
    ]
)


@cache
def allowed_operators() -> frozenset[str]:
    """The operators of TorchScript, ``namespace::name``, that a program may call."""
    names, namespace = set[str](), ""
    for line in files("xaibench_models").joinpath("torch_operators.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            namespace = line.strip("[]")
        elif not line.startswith("#"):
            names.update(f"{namespace}::{name}" for name in line.split())
    return frozenset(names)


@cache
def forbidden_methods() -> frozenset[str]:
    """Names that TorchScript takes for operators where they stand behind a dot, and that are not allowed."""
    schemas = torch._C._jit_get_all_schemas()
    names = {s.name.removeprefix("aten::") for s in schemas if s.name.startswith("aten::")}
    return frozenset(name for name in names if f"aten::{name}" not in allowed_operators())


def is_allowed_target(target: str) -> bool:
    """Whether the graph of a ``torch.export`` file may call the function of this dotted name."""
    parts = target.split(".")
    if not all(part.isidentifier() and not part.startswith("__") for part in parts[:-1]):
        return False
    names = _OPERATOR if parts[0] == "_operator" else _MATH if parts[0] == "math" else frozenset[str]()
    match parts:
        case ["torch", "ops", "aten" | "quantized_decomposed" as namespace, name, overload]:
            known = f"aten::{name}" in allowed_operators() if namespace == "aten" else name in _QUANTISING
            return known and overload.isidentifier() and overload[0] != "_"
        case ["torch", "ops", "higher_order", name]:
            return name in _HIGHER_ORDER
        case ["torch", name]:
            return name in _SYM_OPERATORS
    return len(parts) == 2 and parts[1] in names
