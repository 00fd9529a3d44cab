"""Outputs that are cut, turned or joined probabilities: the logits behind them, where the probabilities saturate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor
from torch.nn import functional as F

from xaibench.api import ModelError, Runtime, build_parameters
from xaibench_models.onnx_model import OnnxDetector, OnnxModel, OnnxParameters

SIDE = 16
PICTURES = torch.rand((3, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(3))
GAIN = 400.0  # probabilities are 0 and 1 in float32

KERNELS = np.random.default_rng(5).normal(0, 0.4, (6, 3, 3, 3)).astype("f")


def head(classes: int, gain: float) -> Any:
    return (np.random.default_rng(classes).normal(0, gain, (6, classes))).astype("f")


def logits_by_torch(images: Tensor, classes: int, gain: float = GAIN) -> Tensor:
    return F.conv2d(images, torch.from_numpy(KERNELS), stride=2).relu().mean((2, 3)) @ torch.from_numpy(
        head(classes, gain)
    )


def saved(path: Path, tail: list[Any], classes: int, opset: int = 17, gain: float = GAIN) -> Path:
    """conv, ReLU ``r``, mean, ``classes`` logits ``z``, then ``tail``, which gives ``y``.

    ``tail`` holds ``(operator, inputs, outputs, attributes)``; an input that is a list or a number is a constant.
    """
    weights = [numpy_helper.from_array(KERNELS, "kernels"), numpy_helper.from_array(head(classes, gain), "head")]
    nodes = [
        helper.make_node("Conv", ["x", "kernels"], ["c"], strides=[2, 2]), helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["g"]), helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("MatMul", ["f", "head"], ["z"]),
    ]  # fmt: skip
    for operator, inputs, outputs, attributes in tail:
        names = []
        for value in inputs:
            if not isinstance(value, str):
                array = np.asarray(value, np.float32 if isinstance(value, float) else np.int64)
                weights.append(numpy_helper.from_array(array, f"constant{len(weights)}"))
            names.append(value if isinstance(value, str) else weights[-1].name)
        nodes.append(helper.make_node(operator, names, outputs, **attributes))
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        weights,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), path)
    return path


def opened(path: Path, **values: Any) -> OnnxDetector:
    model = OnnxModel(build_parameters(OnnxParameters, {"": str(path), **values}, "onnx"))
    return model.open(model.members()[0], Runtime())


SOFTMAX: Any = ("Softmax", ["z"], ["p"], {"axis": 1})
SIGMOID: Any = ("Sigmoid", ["z"], ["p"], {})
COLUMN: dict[str, tuple[int, int, list[Any]]] = {
    # name: classes, column, tail
    "slice": (2, 1, [SOFTMAX, ("Slice", ["p", [1], [2], [1]], ["y"], {})]),
    "gather": (3, 2, [SOFTMAX, ("Gather", ["p", 2], ["y"], {"axis": 1})]),
    "gather of the last axis": (2, 0, [("Softmax", ["z"], ["p"], {"axis": -1}), ("Gather", ["p", [0]], ["y"], {"axis": -1})]),
    "split, cast, squeeze": (2, 1, [
        SOFTMAX, ("Split", ["p", [1, 1]], ["one", "two"], {"axis": 1}), ("Cast", ["two"], ["c2"], {"to": 1}),
        ("Squeeze", ["c2", [1]], ["y"], {}),
    ]),
    "concat of one": (2, 1, [SOFTMAX, ("Gather", ["p", [1]], ["q"], {"axis": 1}), ("Concat", ["q"], ["y"], {"axis": 1})]),
    "clipped": (2, 1, [SOFTMAX, ("Gather", ["p", [1]], ["q"], {"axis": 1}), ("Clip", ["q", 1e-6, 1 - 1e-6], ["y"], {})]),
    "four axes": (4, 3, [
        ("Reshape", ["z", [0, 4, 1, 1]], ["w"], {}), ("Softmax", ["w"], ["p"], {"axis": 1}),
        ("Slice", ["p", [3], [4], [1]], ["y"], {}),
    ]),
}  # fmt: skip


@pytest.mark.parametrize("name", COLUMN)
def test_a_column_of_a_softmax_is_followed_to_its_log_odds(tmp_path: Path, name: str) -> None:
    classes, column, tail = COLUMN[name]
    path = saved(tmp_path / "m.onnx", tail, classes)
    detector = opened(path, high="fake", activation="probability")
    z = logits_by_torch(PICTURES, classes)
    others = [i for i in range(classes) if i != column]
    odds = z[:, column] - z[:, others].logsumexp(1)
    assert odds.abs().min() > 20  # no float32 of the probability tells it from 0 or 1
    scores = detector.scores(PICTURES)
    torch.testing.assert_close(scores[:, 1] - scores[:, 0], odds, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(detector.probabilities(PICTURES)[:, 1], z.softmax(1)[:, column])
    with torch.no_grad():
        torch.testing.assert_close(detector.logits(PICTURES), scores, rtol=1e-4, atol=1e-3)
    assert detector.facts.target_layer == "r"
    assert detector.facts.logit_source == "logits"
    features = detector.features(PICTURES)
    (gradient,) = torch.autograd.grad(features.logits[:, 1].sum(), features.activation)
    assert (gradient.flatten(1).abs().sum(1) > 0).all()
    assert any(n.startswith("logits: those that go into the softmax") for n in detector.facts.notes)
    with pytest.raises(ModelError, match="one column of a softmax") as error:  # and not taken for a logit
        opened(path, high="fake")
    assert 'activation = "probability"' in error.value.mend


TURNED: dict[str, list[Any]] = {
    "1 - p": [SIGMOID, ("Sub", [1.0, "p"], ["y"], {})],
    "-p + 1": [SIGMOID, ("Neg", ["p"], ["m"], {}), ("Add", ["m", 1.0], ["y"], {})],
    "p * -1 - -1": [SIGMOID, ("Mul", ["p", -1.0], ["m"], {}), ("Sub", ["m", -1.0], ["y"], {})],
}


@pytest.mark.parametrize("name", TURNED)
def test_one_less_a_probability_has_the_logit_of_the_other_sign(tmp_path: Path, name: str) -> None:
    detector = opened(saved(tmp_path / "m.onnx", TURNED[name], 1), high="real")
    z = logits_by_torch(PICTURES, 1)[:, 0]
    scores = detector.scores(PICTURES)
    torch.testing.assert_close(scores[:, 1] - scores[:, 0], z, rtol=1e-4, atol=1e-3)  # the output is P(real) = 1 - p
    assert detector.facts.target_layer == "r"


def test_a_probability_beside_its_complement_is_a_softmax(tmp_path: Path) -> None:
    tail = [SIGMOID, ("Sub", [1.0, "p"], ["q"], {}), ("Concat", ["q", "p"], ["y"], {"axis": 1})]
    detector = opened(saved(tmp_path / "m.onnx", tail, 1))
    z = logits_by_torch(PICTURES, 1)[:, 0]
    torch.testing.assert_close(detector.scores(PICTURES), torch.stack((-z / 2, z / 2), 1), rtol=1e-4, atol=1e-3)
    assert detector.facts.target_layer == "r"


@pytest.mark.parametrize("opset", [11, 13, 18])
def test_rows_of_a_softmax_in_another_order_keep_its_logits(tmp_path: Path, opset: int) -> None:
    tail = [SOFTMAX, ("Gather", ["p", [2, 0, 1]], ["y"], {"axis": 1})]
    detector = opened(saved(tmp_path / "m.onnx", tail, 3, opset), classes=["real", "a", "b"])
    torch.testing.assert_close(
        detector.scores(PICTURES), logits_by_torch(PICTURES, 3)[:, [2, 0, 1]], rtol=1e-4, atol=1e-3
    )


@pytest.mark.parametrize("opset", [11, 12, 18, 21])
def test_the_log_odds_in_every_opset(tmp_path: Path, opset: int) -> None:
    tail = [SOFTMAX, ("Gather", ["p", [1]], ["y"], {"axis": 1})]
    detector = opened(saved(tmp_path / "m.onnx", tail, 3, opset), high="fake", activation="probability")
    z = logits_by_torch(PICTURES, 3)
    scores = detector.scores(PICTURES)
    odds = z[:, 1] - z[:, [0, 2]].logsumexp(1)
    torch.testing.assert_close(scores[:, 1] - scores[:, 0], odds, rtol=1e-4, atol=1e-3)
    assert "gradients" in detector.facts.gives, detector.facts.limits


@pytest.mark.parametrize(
    "tail",
    [
        [SOFTMAX, ("ReduceMax", ["p"], ["y"], {"axes": [1]})],
        [SOFTMAX, ("Gather", ["p", [1]], ["q"], {"axis": 1}), ("Mul", ["q", 0.5], ["y"], {})],
        [SIGMOID, ("Gather", ["p", [1]], ["q"], {"axis": 1}), ("Sub", ["q", 1.0], ["m"], {}), ("Abs", ["m"], ["y"], {})],
    ],
)  # fmt: skip
def test_another_function_of_a_probability_is_not_followed(tmp_path: Path, tail: list[Any]) -> None:
    path = saved(tmp_path / "m.onnx", tail, 2, gain=1.0)
    detector = opened(path, high="fake", activation="probability")
    assert detector.facts.logit_source == "log-odds"
    assert any(n.startswith("logits: clipped log-odds") for n in detector.facts.notes)
