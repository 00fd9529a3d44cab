"""How an operator is registered: its claim, written beside its function with ``@operator(...)``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

import onnx

OLDEST, NEWEST = 11, 28
"""The opsets whose operator definitions are claimed; 28 is the newest that the verifying onnx (1.23) knows."""

FLOATS = frozenset({"float16", "bfloat16", "float", "double"})
INTS = frozenset({"int8", "int16", "int32", "int64", "uint8"})
NUMBERS = FLOATS | INTS
ALL = NUMBERS | {"bool"}
MICROSOFT = "com.microsoft"

Run: TypeAlias = Callable[..., Any]  # (node, *tensors) -> a tensor, or a tuple of as many as the operator gives
Check: TypeAlias = Callable[..., "str | None"]  # (node) -> a reason to refuse it, or None


@dataclass(frozen=True, slots=True)
class Claim:
    """What holds for one operator.

    ``since``: first and last opset whose definition is implemented; ``dtypes``: number types of the first input and
    output (other places may also hold int32, int64 and bool); ``limits``: what of the definition is left out, ""
    where nothing is; ``inference``: what happens to a training mode, "" where the operator has none.
    """

    operator: str
    since: tuple[int, int]
    dtypes: frozenset[str]
    limits: str = ""
    inference: str = ""


@dataclass(frozen=True, slots=True)
class Operator:
    """An operator: its claim, its function, and what the loader must know about it.

    ``host`` are the inputs read as plain numbers (shapes, axes, bounds): they stay on the CPU, and no gradient reaches
    them. ``followed`` are those among them through which gradients flow where the picture decides them. ``pools``
    marks pooling; ``projects`` is the input that makes the node a projection where it is constant.
    """

    claim: Claim
    run: Run
    host: tuple[int, ...] = ()
    check: Check | None = None
    pools: bool = False
    projects: int | None = None
    followed: tuple[int, ...] = ()


OPERATORS: dict[str, Operator] = {}
"""By name (``domain::Name`` outside the ONNX domain); whole once the package ``operators`` is imported."""


def operator(
    *names: str,
    dtypes: frozenset[str] = FLOATS,
    host: tuple[int, ...] = (),
    limits: str = "",
    inference: str = "",
    check: Check | None = None,
    pools: bool = False,
    projects: int | None = None,
    followed: tuple[int, ...] = (),
) -> Callable[[Run], Run]:
    """Register ``run`` for ``names``; an operator of another domain is written ``domain::Name``."""

    def register(run: Run) -> Run:
        for name in names:
            claim = Claim(name, _since(name), dtypes, limits, inference)
            OPERATORS[name] = Operator(claim, run, host, check, pools, projects, followed)
        return run

    return register


@cache
def versions() -> dict[str, tuple[int, ...]]:
    """The definitions of every ONNX operator that the installed onnx knows, oldest first."""
    found: dict[str, list[int]] = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        if schema.domain == "":
            found.setdefault(schema.name, []).append(schema.since_version)
    return {name: tuple(sorted(versions)) for name, versions in found.items()}


def _since(name: str) -> tuple[int, int]:
    if name not in versions():  # contributed operators have one version and no opset
        return 1, 1
    return max(OLDEST, min(versions().get(name, (NEWEST,)))), min(NEWEST, onnx.defs.onnx_opset_version())
