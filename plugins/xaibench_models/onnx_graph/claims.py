"""What the executor claims: for every operator its opsets, number types, limits and inference mode.

A node inside its claim gives what the ONNX definition says; a node outside is refused at load. The claims are written
beside the operators and collected here.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import onnx

from xaibench_models.onnx_graph.operators import OPERATORS
from xaibench_models.onnx_graph.registration import Claim, versions

CLAIMS: Mapping[str, Claim] = MappingProxyType({name: OPERATORS[name].claim for name in sorted(OPERATORS)})
"""Operator -> what holds for it."""


def definition(name: str, opset: int) -> int | None:
    """The version of the definition of ``name`` in force at ``opset``; None where there is none."""
    return max((version for version in versions().get(name, ()) if version <= opset), default=None)


_STILL_RUN = frozenset({"GroupNormalization"})
"""Operators with a deprecated definition that is in force all the same: opsets 18 to 20 scale by group."""


_OF_ONNX_RUNTIME = frozenset({"LayerNormalization", "SimplifiedLayerNormalization"})
"""Operators that ONNX Runtime's optimiser writes without a domain into graphs of any opset."""


def claimed_definition(name: str, opset: int) -> str | None:
    """Why the definition of ``name`` at ``opset`` is outside the claims, or None.

    A model of an older opset passes where its operators are still defined the same at opset 11, and one of a newer
    opset where they are defined as in the newest claimed one.
    """
    version = definition(name, opset)
    if version is None and name in _OF_ONNX_RUNTIME:
        return None
    replaced = version is not None and onnx.defs.get_schema(name, opset, "").deprecated
    if version is None or (replaced and name not in _STILL_RUN):
        return f"the operator does not exist in opset {opset}"
    first, last = CLAIMS[name].since
    oldest = definition(name, first)
    assert oldest is not None
    if not oldest <= version <= last:
        return f"its definition of opset {version} is outside the claimed opsets {first} to {last}"
    return None


def claims_table() -> list[tuple[str, str, str, str, str]]:
    """Rows of text for the documentation: operator, opsets, number types, limits, inference mode."""
    return [
        (name, f"{claim.since[0]}-{claim.since[1]}", ", ".join(sorted(claim.dtypes)), claim.limits, claim.inference)
        for name, claim in CLAIMS.items()
    ]
