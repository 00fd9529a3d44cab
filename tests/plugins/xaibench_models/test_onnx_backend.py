"""The official ONNX backend node tests that lie inside the claims of the executor, and a count of those outside."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, numpy_helper
from torch import Tensor

from xaibench_models.onnx_graph import CLAIMS, UnsupportedGraph, load_graph
from xaibench_models.onnx_graph.types import TORCH

# onnx's own runner allows two units in the last place of bfloat16; the same for float16
HALF_RTOL = {torch.bfloat16: 2.0**-6, torch.float16: 2.0**-9}
FLOOR = 1290  # of 1,884 with onnx 1.23; 1,293 pass
CLAIMED_WITHOUT_NODE_TEST = {  # held to ONNX Runtime in test_onnx_graph.py
    *(name for name in CLAIMS if name.startswith("com.microsoft::")),
    "GlobalLpPool",
    "SimplifiedLayerNormalization",
}


def as_tensor(value: Any) -> Tensor:
    array = np.asarray(numpy_helper.to_array(value) if isinstance(value, TensorProto) else value)
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.astype(np.float32)).to(torch.bfloat16)
    return torch.from_numpy(np.array(array))


def reason_kind(problem: Any) -> str:
    """The reason without the names of this model's tensors."""
    reason = re.sub(r"(input|output) '[^']*' is", r"\1 is", problem.reason).split("; claimed")[0]
    return f"{problem.operator}: {reason}"


def check(case: Any, graph: Any) -> None:
    for given, expected in case.data_sets:
        names = [value.name for value in case.model.graph.input]
        found = graph(dict(zip(names, map(as_tensor, given), strict=True)))
        results = found if isinstance(found, tuple) else (found,)
        assert len(results) == len(expected)
        for ours, theirs in zip(results, map(as_tensor, expected), strict=True):
            assert ours.dtype == theirs.dtype
            rtol = max(case.rtol, HALF_RTOL.get(ours.dtype, 0.0))
            torch.testing.assert_close(ours, theirs, rtol=rtol, atol=case.atol, equal_nan=True)


@dataclass
class Outcome:
    passed: list[str] = field(default_factory=list)
    outside: Counter[str] = field(default_factory=Counter)
    failed: dict[str, str] = field(default_factory=dict)
    operators: set[str] = field(default_factory=set)


@pytest.fixture(scope="module")
def cases() -> list[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # onnx divides by zero on purpose while it makes the cases
        from onnx.backend.test.loader import load_model_tests

        return load_model_tests(kind="node")


@pytest.fixture(scope="module")
def outcome(cases: list[Any]) -> Outcome:
    found = Outcome()
    for case in cases:
        try:
            graph = load_graph(case.model, Path())
        except UnsupportedGraph as error:
            found.outside[reason_kind(error.problems[0])] += 1
            continue
        try:
            check(case, graph)
        except Exception as error:  # every failing case is to be reported, whatever it fails with
            found.failed[case.name] = f"{type(error).__name__}: {error}"
            continue
        found.passed.append(case.name)
        found.operators.update(node.op_type for node in case.model.graph.node)
    return found


def test_every_node_test_inside_the_claims_passes(outcome: Outcome) -> None:
    total = len(outcome.passed) + len(outcome.failed) + sum(outcome.outside.values())
    print(f"\n{len(outcome.passed)} of {total} node tests pass; {len(outcome.failed)} fail inside the claims")
    print(f"{sum(outcome.outside.values())} lie outside the claims:")
    for reason, count in sorted(outcome.outside.items(), key=lambda item: (-item[1], item[0])):
        print(f"  {count:3d}  {reason}")
    assert outcome.failed == {}
    assert len(outcome.passed) >= FLOOR or onnx.defs.onnx_opset_version() < 28


def test_every_claimed_operator_has_a_node_test_that_passes(outcome: Outcome) -> None:
    if onnx.defs.onnx_opset_version() < 28:
        pytest.skip("an older onnx has fewer operators")
    assert {name for name in CLAIMS if name not in outcome.operators} == CLAIMED_WITHOUT_NODE_TEST


def in_type(model: onnx.ModelProto, element: int) -> onnx.ModelProto | None:
    """The one-node model of float32 with every tensor of its main type in another type; None where it is not float32."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    graph = changed.graph
    if len(graph.node) != 1 or not graph.input or graph.input[0].type.tensor_type.elem_type != TensorProto.FLOAT:
        return None
    schema = onnx.defs.get_schema(graph.node[0].op_type, model.opset_import[0].version, graph.node[0].domain)
    main = schema.inputs[0].type_str
    values = {value.name: value.type.tensor_type for value in (*graph.input, *graph.output)}
    for names, formals in ((graph.node[0].input, schema.inputs), (graph.node[0].output, schema.outputs)):
        for i, name in enumerate(names):
            if name and formals[min(i, len(formals) - 1)].type_str == main:
                values[name].elem_type = element
    return changed


@pytest.mark.parametrize(
    ("element", "tolerance", "floor"),
    [(TensorProto.FLOAT16, 2.0**-6, 560), (TensorProto.BFLOAT16, 2.0**-4, 560), (TensorProto.DOUBLE, 1e-4, 560)],
    ids=["float16", "bfloat16", "double"],
)
def test_other_floating_types_give_what_float32_gives(
    cases: list[Any], element: int, tolerance: float, floor: int
) -> None:
    """Every float32 node test, run in a further claimed type on inputs that both types hold exactly."""
    discontinuous = {
        "ArgMax",
        "ArgMin",
        "Ceil",
        "Floor",
        "Round",
        "Mod",
        "TopK",
        "BitCast",
        "Cast",
        "Hardmax",
        "GridSample",
        "MaxPool",
        "Resize",
    }
    compared = 0
    for case in cases:
        changed = in_type(case.model, element)
        if changed is None or changed.graph.node[0].op_type in discontinuous:
            continue
        try:
            plain, other = load_graph(case.model, Path()), load_graph(changed, Path())
        except UnsupportedGraph:
            continue
        names = [value.name for value in case.model.graph.input]
        feed = {name: as_tensor(value) for name, value in zip(names, case.data_sets[0][0], strict=True)}
        types = {v.name: TORCH[v.type.tensor_type.elem_type] for v in changed.graph.input}
        exact = {name: t.to(types[name]) for name, t in feed.items()}
        first, second = (g(f) for g, f in ((plain, {n: t.to(feed[n].dtype) for n, t in exact.items()}), (other, exact)))
        expected = first if isinstance(first, tuple) else (first,)
        for ours, theirs in zip(second if isinstance(second, tuple) else (second,), expected, strict=True):
            theirs = theirs.to(ours.dtype)  # what overflows in one type overflows in the other
            scale = float(theirs.double().nan_to_num(0, 0, 0).abs().max()) if theirs.numel() else 1.0
            torch.testing.assert_close(
                ours.double(),
                theirs.double(),
                rtol=tolerance,
                atol=tolerance * scale,
                equal_nan=True,
                msg=lambda m, n=case.name: f"{n}: {m}",
            )
        compared += 1
    print(f"\n{compared} node tests give the same in {TensorProto.DataType.Name(element).lower()}")
    assert compared >= floor or onnx.defs.onnx_opset_version() < 28
