"""What the executor claims: for every operator its opsets, number types, limits and inference mode.

A node inside its claim gives what the ONNX definition says; a node outside is refused at load. The claims are written
beside the operators (``@operator(...)``) and collected here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

import onnx

if TYPE_CHECKING:
    from xaibench_models.onnx_graph.node import Node

OLDEST, NEWEST = 11, 28
"""The opsets whose operator definitions are claimed; 28 is the newest that the verifying onnx (1.23) knows."""

FLOATS = frozenset({"float16", "bfloat16", "float", "double"})
INTS = frozenset({"int8", "int16", "int32", "int64", "uint8"})
NUMBERS = FLOATS | INTS
ALL = NUMBERS | {"bool"}
MICROSOFT = "com.microsoft"

Run: TypeAlias = Callable[..., Any]  # (node, *tensors) -> a tensor, or a tuple of as many as the operator gives
Check: TypeAlias = Callable[["Node"], "str | None"]  # a reason to refuse the node, or None


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


_OPERATORS: dict[str, Operator] = {}


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
            _OPERATORS[name] = Operator(claim, run, host, check, pools, projects, followed)
        return run

    return register


def operators() -> Mapping[str, Operator]:
    """Every operator that is implemented, by name (``domain::Name`` outside the ONNX domain)."""
    from xaibench_models.onnx_graph import operators as _  # noqa: F401  registers them

    return _OPERATORS


@cache
def _versions() -> dict[str, tuple[int, ...]]:
    """The definitions of every ONNX operator that the installed onnx knows, oldest first."""
    found: dict[str, list[int]] = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        if schema.domain == "":
            found.setdefault(schema.name, []).append(schema.since_version)
    return {name: tuple(sorted(versions)) for name, versions in found.items()}


def _since(name: str) -> tuple[int, int]:
    if "::" in name:  # contributed operators have one version and no opset
        return 1, 1
    return max(OLDEST, min(_versions().get(name, (NEWEST,)))), min(NEWEST, onnx.defs.onnx_opset_version())


def definition(name: str, opset: int) -> int | None:
    """The version of the definition of ``name`` in force at ``opset``; None where there is none."""
    return max((version for version in _versions().get(name, ()) if version <= opset), default=None)


_STILL_RUN = frozenset({"GroupNormalization"})
"""Operators with a deprecated definition that is in force all the same: opsets 18 to 20 scale by group."""


def claimed_definition(name: str, opset: int) -> str | None:
    """Why the definition of ``name`` at ``opset`` is outside the claims, or None.

    A model of an older opset passes where its operators are still defined the same at opset 11, and one of a newer
    opset where they are defined as in the newest claimed one.
    """
    version = definition(name, opset)
    replaced = version is not None and onnx.defs.get_schema(name, opset, "").deprecated
    if version is None or (replaced and name not in _STILL_RUN):
        return f"the operator does not exist in opset {opset}"
    first, last = _OPERATORS[name].claim.since
    oldest = definition(name, first)
    assert oldest is not None
    if not oldest <= version <= last:
        return f"its definition of opset {version} is outside the claimed opsets {first} to {last}"
    return None


class _Claims(Mapping[str, Claim]):
    """Read-only view of the claims: operator -> :class:`Claim`."""

    def __getitem__(self, name: str) -> Claim:
        return operators()[name].claim

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(operators()))

    def __len__(self) -> int:
        return len(operators())


CLAIMS: Mapping[str, Claim] = _Claims()


def claims_table() -> list[tuple[str, str, str, str, str]]:
    """Rows of text for the documentation: operator, opsets, number types, limits, inference mode."""
    return [
        (name, f"{claim.since[0]}-{claim.since[1]}", ", ".join(sorted(claim.dtypes)), claim.limits, claim.inference)
        for name, claim in CLAIMS.items()
    ]
