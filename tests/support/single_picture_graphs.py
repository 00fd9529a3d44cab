"""ONNX graphs that take one picture a call: convolutional ones, and ones whose batch axis cannot be freed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE = 16
Node = tuple[str, Sequence[str], Sequence[str], Mapping[str, Any]]

PLAIN: Sequence[Node] = ()
BAKED: Sequence[Node] = (("Reshape", ["pooled", "one_row"], ["flat"], {}),)
"""``y.view(1, 8)`` of a tracer: the batch of 1 stands in a constant."""
COMPANY: Sequence[Node] = (("ReduceMax", ["pooled"], ["most"], {"keepdims": 0}), ("Add", ["pooled", "most"], ["y"], {}))
"""The largest value of all pictures of a batch is added to each."""
BESIDE_EXTREMES: Sequence[Node] = (
    ("ReduceMax", ["x"], ["most"], {"keepdims": 0}),
    ("Sub", ["most", "bright"], ["over"], {}),
    ("Relu", ["over"], ["glare"], {}),
    ("Add", ["pooled", "glare"], ["y"], {}),
)
"""What lies above .499 (.999 of white) in any picture of a batch is added to each: nothing beside darker pictures."""


def write_graph(path: Path, tail: Sequence[Node] = PLAIN, batch: int | None = 1, card: str = "") -> Path:
    """Two convolutions, the mean over the picture, ``tail``, and two logits; for pictures of 16 x 16."""
    rng = np.random.default_rng(0)
    weights: dict[str, Any] = {
        "w0": rng.normal(0, 0.4, (6, 3, 3, 3)),
        "w1": rng.normal(0, 0.3, (8, 6, 3, 3)),
        "w": rng.normal(0, 1, (8, 2)),
        "bright": np.array(0.499),
    }
    tensors = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    tensors.append(numpy_helper.from_array(np.array([1, 8]), "one_row"))
    nodes: list[Node] = [
        ("Conv", ["x", "w0"], ["c0"], {"pads": [1] * 4}),
        ("Relu", ["c0"], ["r0"], {}),
        ("Conv", ["r0", "w1"], ["c1"], {"strides": [2, 2]}),
        ("Relu", ["c1"], ["r1"], {}),
        ("GlobalAveragePool", ["r1"], ["pooled"], {}),
        *tail,
    ]
    last = tail[-1][2][0] if tail else "pooled"
    if last != "flat":
        nodes.append(("Flatten", [last], ["flat"], {}))
    nodes.append(("MatMul", ["flat", "w"], ["z"], {}))
    rows: Any = batch or "n"
    graph = helper.make_graph(
        [helper.make_node(op, list(i), list(o), **attributes) for op, i, o, attributes in nodes],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [rows, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, [rows, 2])],
        tensors,
        value_info=[helper.make_tensor_value_info("r0", TensorProto.FLOAT, [rows, 6, SIDE, SIDE])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    path.with_suffix(".toml").write_text(f'classes = ["real", "fake"]\nactivation = "logit"\nmean = 0.5\n{card}')
    return path
