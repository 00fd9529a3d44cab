"""The ONNX adapter: every kind of input and output against numbers worked out by hand, and every refusal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from xaibench.api import Batch, ModelError, Resize, Runtime, build_parameters, describe_parameters
from xaibench_models.card import CardKeys, validate
from xaibench_models.onnx_model import OnnxDetector, OnnxModel, OnnxParameters
from xaibench_models.preprocess import Preprocessing

SIZE = 4
CPU = Runtime()
Node = tuple[str, Sequence[str], Sequence[str], Mapping[str, Any]]

# The network sees the mean of each channel: z = W @ mean + b.
LINEAR: list[Node] = [("ReduceMean", ["x"], ["mean"], {"axes": [2, 3], "keepdims": 0})]


def save(
    path: Path,
    *,
    weights: Any,
    bias: Any,
    tail: Sequence[Node] = (),
    output: str = "z",
    shape: Sequence[Any] = ("n", 3, SIZE, SIZE),
    out_shape: Sequence[Any] | None = None,
    number: int = TensorProto.FLOAT,
    head: Sequence[Node] | None = None,
    metadata: Mapping[str, str] | None = None,
    external: bool = False,
    more_outputs: Sequence[str] = (),
) -> Path:
    """An ONNX file: channel means, a linear layer, and what ``tail`` does to ``z``."""
    w = np.asarray(weights, np.float32).reshape(-1, 3).T.copy()
    tensors = [numpy_helper.from_array(w, "W"), numpy_helper.from_array(np.asarray(bias, np.float32), "b")]
    nodes = [*(LINEAR if head is None else head), ("MatMul", ["mean", "W"], ["m"], {}), ("Add", ["m", "b"], ["z"], {})]
    columns = out_shape if out_shape is not None else (shape[0], None)
    graph = helper.make_graph(
        [helper.make_node(op, list(i), list(o), **attributes) for op, i, o, attributes in [*nodes, *tail]],
        "net",
        [helper.make_tensor_value_info("x", number, list(shape))],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, list(columns)) for name in (output, *more_outputs)],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if metadata:
        helper.set_model_props(model, dict(metadata))
    onnx.save(model, str(path), save_as_external_data=external, location="weights.bin", size_threshold=0)
    return path


def opened(path: Path, runtime: Runtime = CPU, **values: Any) -> OnnxDetector:
    model = OnnxModel(build_parameters(OnnxParameters, {"": str(path), **values}, "onnx"))
    return model.open(model.members()[0], runtime)


def grey(*values: float) -> Tensor:
    """Uniform grey pictures of these values."""
    return torch.tensor(values).view(-1, 1, 1, 1).expand(-1, 3, SIZE, SIZE).contiguous()


def red(value: float) -> Tensor:
    picture = torch.zeros(1, 3, SIZE, SIZE)
    picture[:, 0] = value
    return picture


ONE = {"weights": [1, 1, 1], "bias": [0.5]}  # z = 3 v + 0.5 on grey v
TWO = {"weights": [[1, 0, 0], [0, 2, 0]], "bias": [0.0, 0.0]}  # z = (v, 2 v) on grey v
SIGMOID: list[Node] = [("Sigmoid", ["z"], ["p"], {})]
SOFTMAX: list[Node] = [("Softmax", ["z"], ["p"], {"axis": -1})]


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z))


# ---- outputs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("high", "fake"), [("fake", sigmoid(2.0)), ("real", 1 - sigmoid(2.0))])
@pytest.mark.parametrize("tail", [(), SIGMOID], ids=["logit", "sigmoid"])
def test_one_output_is_split_in_two(tmp_path: Path, tail: Sequence[Node], high: str, fake: float) -> None:
    detector = opened(save(tmp_path / "m.onnx", **ONE, tail=tail, output="p" if tail else "z"), high=high)
    assert detector.facts.classes == ("real", "fake")
    assert detector.facts.real_class == 0
    assert detector.facts.logit_source == "logits"
    z = 2.0 if high == "fake" else -2.0
    torch.testing.assert_close(detector.scores(grey(0.5)), torch.tensor([[-z / 2, z / 2]]))
    torch.testing.assert_close(detector.probabilities(grey(0.5)), torch.tensor([[1 - fake, fake]]))


def test_one_output_in_the_order_of_the_classes(tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx", **ONE)
    detector = opened(path, high="fake", classes=["swap", "genuine"], real="genuine")
    assert detector.facts.real_class == 1
    torch.testing.assert_close(detector.scores(grey(0.5)), torch.tensor([[1.0, -1.0]]))


def test_one_probability_without_reachable_logit_gives_log_odds(tmp_path: Path) -> None:
    # p = z / 4: no activation in the graph
    path = save(tmp_path / "m.onnx", **ONE, tail=[("Mul", ["z", "quarter"], ["p"], {})], output="p")
    model = onnx.load(path)
    model.graph.initializer.append(numpy_helper.from_array(np.float32(0.25), "quarter"))
    onnx.save(model, path)
    detector = opened(path, high="fake", activation="probability")
    torch.testing.assert_close(detector.probabilities(grey(0.5)), torch.tensor([[0.5, 0.5]]))
    torch.testing.assert_close(detector.scores(grey(0.9)), torch.tensor([[-0.5, 0.5]]) * math.log(0.8 / 0.2))
    assert detector.facts.logit_source == "log-odds"
    assert any("log-odds" in note for note in detector.facts.notes)


def test_log_odds_of_a_certain_verdict_are_finite(tmp_path: Path) -> None:
    path = save(
        tmp_path / "m.onnx", weights=[1, 1, 1], bias=[-1.5], tail=[("Clip", ["z", "lo", "hi"], ["p"], {})], output="p"
    )
    model = onnx.load(path)
    for name, value in (("lo", 0.0), ("hi", 1.0)):
        model.graph.initializer.append(numpy_helper.from_array(np.float32(value), name))
    onnx.save(model, path)
    detector = opened(path, high="fake", activation="probability")
    scores = detector.scores(grey(0.0, 1.0))
    assert scores.isfinite().all()
    torch.testing.assert_close(detector.probabilities(grey(0.0, 1.0)), torch.eye(2))
    assert scores[1, 1] > 7


@pytest.mark.parametrize("tail", [(), SOFTMAX], ids=["logits", "softmax"])
def test_two_outputs(tmp_path: Path, tail: Sequence[Node]) -> None:
    detector = opened(save(tmp_path / "m.onnx", **TWO, tail=tail, output="p" if tail else "z"))
    torch.testing.assert_close(detector.scores(grey(0.25)), torch.tensor([[0.25, 0.5]]))
    torch.testing.assert_close(detector.probabilities(grey(0.25))[0, 1].item(), sigmoid(0.25))
    assert any("classes: real, fake by default" in note for note in detector.facts.notes)


def test_softmax_behind_reshapes_and_casts_is_reached(tmp_path: Path) -> None:
    tail: list[Node] = [*SOFTMAX, ("Identity", ["p"], ["q"], {}), ("Cast", ["q"], ["r"], {"to": TensorProto.FLOAT})]
    detector = opened(save(tmp_path / "m.onnx", **TWO, tail=tail, output="r"))
    torch.testing.assert_close(detector.scores(grey(0.25)), torch.tensor([[0.25, 0.5]]))


def test_many_classes_with_one_real(tmp_path: Path) -> None:
    path = save(
        tmp_path / "m.onnx", weights=[[1, 0, 0], [0, 2, 0], [0, 0, 3]], bias=[0, 0, 0], tail=SOFTMAX, output="p"
    )
    detector = opened(path, classes=["Deepfakes", "pristine", "FaceSwap"], real="pristine")
    assert detector.facts.real_class == 1
    torch.testing.assert_close(detector.scores(grey(1.0)), torch.tensor([[1.0, 2.0, 3.0]]))
    torch.testing.assert_close(detector.probabilities(grey(1.0)), torch.tensor([[1.0, 2.0, 3.0]]).softmax(1))


def test_a_class_called_real_needs_no_further_word(tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx", **TWO)
    assert opened(path, classes=["Fake", "Real"]).facts.real_class == 1


def test_two_probabilities_without_softmax_node(tmp_path: Path) -> None:
    tail: list[Node] = [*SOFTMAX, ("Mul", ["p", "p"], ["s"], {}), ("Sqrt", ["s"], ["q"], {})]
    path = save(tmp_path / "m.onnx", **TWO, tail=tail, output="q")
    with pytest.raises(ModelError, match="sum to 1 like probabilities") as error:
        opened(path)
    assert 'activation = "probability"' in error.value.mend
    detector = opened(path, activation="probability")
    expected = torch.tensor([[0.25, 0.5]]).log_softmax(1)
    torch.testing.assert_close(detector.scores(grey(0.25)), expected)


def test_trailing_axes_of_one_and_flat_outputs(tmp_path: Path) -> None:
    flat = save(
        tmp_path / "flat.onnx", **ONE, tail=[("Squeeze", ["z", "axis"], ["s"], {})], output="s", out_shape=("n",)
    )
    model = onnx.load(flat)
    model.graph.initializer.append(numpy_helper.from_array(np.array([1]), "axis"))
    onnx.save(model, flat)
    assert opened(flat, high="fake").scores(grey(0.5, 0.5)).shape == (2, 2)


# ---- refusals ---------------------------------------------------------------------------------------------------


def refused(match: str, mend: str, path: Path, **values: Any) -> None:
    with pytest.raises(ModelError, match=match) as error:
        opened(path, **values)
    assert mend in error.value.mend
    assert "\n" not in error.value.what
    assert "\n" not in error.value.mend
    assert str(path) in error.value.what


def test_one_output_without_high_is_refused(tmp_path: Path) -> None:
    refused("one output, and high may mean fake or real", 'add high = "fake"', save(tmp_path / "m.onnx", **ONE))


def test_high_with_two_outputs_is_refused(tmp_path: Path) -> None:
    refused("has 2 outputs", "classes", save(tmp_path / "m.onnx", **TWO), high="fake")


def test_three_outputs_without_names_are_refused(tmp_path: Path) -> None:
    refused(
        "3 outputs, and the card does not name",
        "classes = [3 names]",
        save(tmp_path / "m.onnx", weights=np.eye(3), bias=[0, 0, 0]),
    )


def test_wrong_number_of_classes_is_refused(tmp_path: Path) -> None:
    refused(
        "names 3 classes, but the model has 2 outputs",
        "name 2 classes",
        save(tmp_path / "m.onnx", **TWO),
        classes=["a", "b", "c"],
    )


def test_classes_without_real_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx", **TWO)
    refused("does not say which means real", 'real = "NAME"', path, classes=["a", "b"])
    refused("real = 'c' is none of them", 'real = "NAME"', path, classes=["a", "b"], real="c")


def test_values_that_are_no_probabilities_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx", weights=[1, 1, 1], bias=[5.0])
    refused(
        "no probabilities, though activation is 'sigmoid'",
        'activation = "logit"',
        path,
        high="fake",
        activation="sigmoid",
    )


def test_probabilities_that_do_not_sum_to_one_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx", **TWO, tail=[("Tanh", ["z"], ["p"], {})], output="p")
    refused("2 output values sum to", 'activation = "logit"', path, activation="probability")


def test_two_sigmoids_are_refused(tmp_path: Path) -> None:
    refused("independent verdicts", "one sigmoid", save(tmp_path / "m.onnx", **TWO, tail=SIGMOID, output="p"))


def test_activation_that_contradicts_the_graph_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx", **TWO, tail=SOFTMAX, output="p")
    refused("'logit', but the output leaves a softmax", "activation", path, activation="logit")


def test_softmax_over_one_output_is_refused(tmp_path: Path) -> None:
    refused("always 1", "all classes", save(tmp_path / "m.onnx", **ONE, tail=SOFTMAX, output="p"), high="fake")


def test_a_map_as_output_is_refused(tmp_path: Path) -> None:
    path = save(
        tmp_path / "m.onnx", **ONE, tail=[("Identity", ["x"], ["y"], {})], output="y", out_shape=("n", 3, SIZE, SIZE)
    )
    refused("as a map of features or tokens has", "output", path)


def test_values_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    refused("not finite", "range", save(tmp_path / "m.onnx", weights=[1, 1, 1], bias=[np.inf]), high="fake")


def test_an_open_choice_of_outputs_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx", **TWO, tail=SOFTMAX, output="p", more_outputs=["z"])
    refused(r"2 outputs \(p, z\)", 'output = "p"', path)
    refused("no output 'q'", "p, z", path, output="q")
    assert opened(path, output="z").facts.logit_source == "logits"
    torch.testing.assert_close(opened(path, output="p").scores(grey(0.25)), torch.tensor([[0.25, 0.5]]))


def test_input_faults_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx", **TWO)
    refused("no input 'y'", "inputs are x", path, input="y")
    refused(r"size = \(8, 8\), the file \(4, 4\)", "'size'", path, size=8)
    refused("layout = NHWC, but input 'x' has shape", "'layout'", path, layout="NHWC")
    refused("batch.fixed = 2", "batch.fixed", save(tmp_path / "f.onnx", **TWO, shape=(1, 3, 4, 4)), batch={"fixed": 2})
    refused("INT64", "float32", save(tmp_path / "i.onnx", **TWO, number=TensorProto.INT64))
    refused(
        "how large its input is", "size = [HEIGHT, WIDTH]", save(tmp_path / "s.onnx", **TWO, shape=("n", 3, "h", "w"))
    )
    refused("no axis of 3 channels", "RGB", save(tmp_path / "c.onnx", **TWO, shape=("n", 1, 4, 4)))


def test_two_inputs_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx", **TWO)
    model = onnx.load(path)
    model.graph.input.append(helper.make_tensor_value_info("flag", TensorProto.FLOAT, [1]))
    onnx.save(model, path)
    refused(r"2 inputs \(x, flag\)", "constants", path, input="x")


def test_missing_and_corrupt_files_are_refused(tmp_path: Path) -> None:
    refused("no such file", ".onnx", tmp_path / "none.onnx")
    good = save(tmp_path / "m.onnx", **TWO).read_bytes()
    for name, content in (("empty", b""), ("text", b"<html>not found</html>" * 9), ("cut", good[: len(good) // 2])):
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(content)
        refused("no ONNX model, or is cut off", "again", path)


def test_a_graph_that_the_runtime_does_not_know_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx", **TWO, tail=[("NoSuchOperator", ["z"], ["p"], {})], output="p")
    refused("ONNX Runtime .* cannot load it", "opset", path)


def test_no_file_named() -> None:
    with pytest.raises(ModelError, match="no file is named"):
        OnnxModel(OnnxParameters()).open("", CPU)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_gpu_that_is_not_there_is_an_error(tmp_path: Path, provider: str, capfd: pytest.CaptureFixture[str]) -> None:
    path = save(tmp_path / "m.onnx", **TWO)
    with pytest.raises(ModelError, match="ExecutionProvider") as error:
        opened(path, Runtime(device="cuda"), provider=provider)
    assert error.value.mend


def test_another_kind_of_device_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="do not run on 'mps'"):
        opened(save(tmp_path / "m.onnx", **TWO), Runtime(device="mps"))


# ---- cards ------------------------------------------------------------------------------------------------------


def test_card_beside_the_file_metadata_and_parameters(tmp_path: Path) -> None:
    metadata = {"classes": '["a", "b"]', "real": "a", "threshold": "0.25", "author": "somebody", "licence": "MIT"}
    path = save(tmp_path / "m.onnx", **TWO, metadata=metadata)
    assert opened(path).facts.classes == ("a", "b")
    assert opened(path).facts.threshold == 0.25
    assert opened(path).facts.details["licence"] == "MIT"
    assert "metadata not read: author" in opened(path).facts.notes
    (tmp_path / "m.toml").write_text('real = "b"\nresize = {interpolation = "area", mode = "crop"}\n')
    assert opened(path).facts.real_class == 1
    assert opened(path).facts.resize == Resize(interpolation="area", mode="crop")
    assert opened(path, real="a").facts.real_class == 0
    other = tmp_path / "other.toml"
    other.write_text('training_data = "FaceForensics++"\n')
    assert opened(path, card=str(other)).facts.details["training_data"] == "FaceForensics++"


def test_faults_of_the_card_are_named(tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx", **TWO)
    card = tmp_path / "m.toml"
    for text, what, mend in (
        ('color = "BGR"', "unknown card key 'color'", "did you mean 'colour'? accepted: layout"),
        ('colour = "GRB"', "colour = 'GRB' is wrong", "order of the input's channels"),
        ("range = [1, 0]", "low < high", ""),
        ("std = 0", "std must be above 0", ""),
        ("threshold = 2", "threshold = 2 is wrong", "P(fake)"),
        ("batch = {least = 2}", "batch", "most pictures"),
        ('classes = ["a", "a"]', "two different names", ""),
        ("mean = ", "is no TOML", "mend the line"),
    ):
        card.write_text(text)
        with pytest.raises(ModelError) as error:
            opened(path)
        assert what in error.value.what, text
        assert mend in error.value.mend
    card.unlink()
    with pytest.raises(ModelError, match="no such file"):
        opened(path, card=str(card))


def test_a_wrong_prefixed_metadata_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="unknown card key 'hihg'"):
        opened(save(tmp_path / "m.onnx", **TWO, metadata={"xaibench.hihg": "fake"}))
    assert opened(save(tmp_path / "o.onnx", **ONE, metadata={"xaibench.high": "fake"})).outputs.high == "fake"


def test_every_key_is_documented_and_the_path_comes_first() -> None:
    rows = describe_parameters(OnnxParameters)
    assert rows[0]["name"] == "path"
    assert all(row["description"] for row in rows)
    assert set(CardKeys.model_fields) <= {row["name"] for row in rows}
    assert validate({}, CardKeys, "x") == CardKeys()


def test_defaults_taken_are_said_aloud(tmp_path: Path) -> None:
    notes = opened(save(tmp_path / "m.onnx", **TWO)).facts.notes
    for key in ("colour", "range", "mean", "std", "resize", "classes", "activation", "threshold"):
        assert any(note.startswith(f"{key}: ") and "by default" in note for note in notes), key
    assert not any(note.startswith("layout") for note in notes)  # the shape says it


# ---- inputs -----------------------------------------------------------------------------------------------------

PICTURES = torch.rand((3, 3, SIZE, SIZE), generator=torch.Generator().manual_seed(3))


NORMS: dict[str, dict[str, Any]] = {
    "plain": {"range": [0, 1], "mean": 0, "std": 1},
    "caffe": {"range": [0, 255], "mean": [104, 117, 123], "std": [57, 57, 58]},
    "tanh": {"range": [-1, 1], "mean": 0, "std": 1},
    "imagenet": {"range": [0, 1], "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
}


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("colour", ["RGB", "BGR"])
@pytest.mark.parametrize("norm", NORMS)
def test_preprocessing_equals_the_reference(tmp_path: Path, layout: str, colour: str, norm: str) -> None:
    shape = ("n", 3, SIZE, SIZE) if layout == "NCHW" else ("n", SIZE, SIZE, 3)
    axes = [2, 3] if layout == "NCHW" else [1, 2]
    head: list[Node] = [("ReduceMean", ["x"], ["mean"], {"axes": axes, "keepdims": 0})]
    weights = np.array([[0.01, 0.02, 0.04], [0.03, -0.01, 0.05]])
    path = save(tmp_path / "m.onnx", weights=weights, bias=[0, 0], shape=shape, head=head)
    detector = opened(path, colour=colour, **NORMS[norm])
    (low, high), mean, std = (NORMS[norm][key] for key in ("range", "mean", "std"))
    x = PICTURES.double().numpy()
    x = x[:, ::-1] if colour == "BGR" else x
    x = (x * (high - low) + low - np.reshape(mean, (-1, 1, 1))) / np.reshape(std, (-1, 1, 1))
    expected = torch.from_numpy(x.mean((2, 3)) @ weights.T).float()
    torch.testing.assert_close(detector.scores(PICTURES), expected, rtol=1e-5, atol=1e-5)
    assert detector.facts.input_size == (SIZE, SIZE)


def test_channel_order_reaches_the_weights(tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx", weights=[[1, 0, 0], [0, 0, 1]], bias=[0, 0])
    torch.testing.assert_close(opened(path).scores(red(1.0)), torch.tensor([[1.0, 0.0]]))
    torch.testing.assert_close(opened(path, colour="BGR").scores(red(1.0)), torch.tensor([[0.0, 1.0]]))


@pytest.mark.parametrize(
    ("number", "step"), [(TensorProto.UINT8, 1.0), (TensorProto.FLOAT16, 1 / 255), (TensorProto.DOUBLE, 1 / 255)]
)
def test_other_input_numbers(tmp_path: Path, number: int, step: float) -> None:
    head: list[Node] = [
        ("Cast", ["x"], ["f"], {"to": TensorProto.FLOAT}),
        ("ReduceMean", ["f"], ["mean"], {"axes": [2, 3], "keepdims": 0}),
    ]
    path = save(tmp_path / "m.onnx", **TWO, head=head, number=number)
    scores = opened(path).scores(grey(100 / 255))
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores, torch.tensor([[100.0, 200.0]]) * step, rtol=1e-3, atol=1e-3)
    if number == TensorProto.UINT8:
        assert any("256 levels" in note for note in opened(path).facts.notes)
        with pytest.raises(ModelError, match="no room for mean and std"):
            opened(path, mean=0.5)
        with pytest.raises(ModelError, match=r"range is \[0, 255\]"):
            opened(path, range=[0, 1])


def test_half_precision_outputs_sum_to_one(tmp_path: Path) -> None:
    tail: list[Node] = [*SOFTMAX, ("Cast", ["p"], ["h"], {"to": TensorProto.FLOAT16})]
    path = save(tmp_path / "m.onnx", **TWO, tail=tail, output="h")
    model = onnx.load(path)
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT16
    onnx.save(model, path)
    detector = opened(path)
    probabilities = detector.probabilities(PICTURES)
    assert probabilities.dtype == torch.float32
    torch.testing.assert_close(probabilities.sum(1), torch.ones(3), rtol=0, atol=1e-6)
    assert detector.facts.logit_source == "logits"


def test_free_size_from_the_card(tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx", **TWO, shape=("n", 3, "h", "w"))
    assert opened(path, size=[6, 5]).facts.input_size == (6, 5)
    assert opened(path, size=7).facts.input_size == (7, 7)


# ---- batches and independence -----------------------------------------------------------------------------------


def test_fixed_and_limited_batches(tmp_path: Path) -> None:
    free = opened(save(tmp_path / "free.onnx", **TWO))
    fixed = opened(save(tmp_path / "fixed.onnx", **TWO, shape=(2, 3, SIZE, SIZE)))
    limited = opened(tmp_path / "free.onnx", batch=2)
    assert (free.facts.batch, fixed.facts.batch, limited.facts.batch) == (Batch(), Batch(fixed=2), Batch(maximum=2))
    assert opened(tmp_path / "free.onnx", batch={"fixed": 3}).facts.batch == Batch(fixed=3)
    for detector in (fixed, limited):
        torch.testing.assert_close(detector.scores(PICTURES), free.scores(PICTURES))
    assert free.probabilities(PICTURES[:0]).shape == (0, 2)


def test_a_reply_outlives_the_calls_after_it_and_no_call_changes_its_pictures(tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx", weights=[[0, 0, 0], [1, 1, 1]], bias=[0, 0])
    detector = opened(path, range=[-1, 1], mean=[0.1, 0.2, 0.3], std=0.5)
    images = [grey(*torch.rand(n, generator=torch.Generator().manual_seed(n)).tolist()) for n in (3, 3, 1, 3)] * 10
    kept = [shown.clone() for shown in images]
    with ThreadPoolExecutor(4) as pool:
        replies = list(pool.map(detector.scores, images))
    for shown, before, reply in zip(images, kept, replies, strict=True):
        assert torch.equal(shown, before)
        expected = sum((2 * shown[:, i, 0, 0] - 1 - 0.1 * (i + 1)) / 0.5 for i in range(3))
        torch.testing.assert_close(reply[:, 1], expected, atol=1e-5, rtol=1e-5)


def test_a_batch_that_the_graph_cannot_take_is_refused_with_the_key(tmp_path: Path) -> None:
    # the file says "n", but a constant reshape takes single pictures only
    head: list[Node] = [
        ("Reshape", ["x", "shape"], ["r"], {}),
        ("ReduceMean", ["r"], ["mean"], {"axes": [2, 3], "keepdims": 0}),
    ]
    path = save(tmp_path / "m.onnx", **TWO, head=head)
    model = onnx.load(path)
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 3, SIZE, SIZE]), "shape"))
    onnx.save(model, path)
    refused("fails on a batch of 3 pictures", "batch = {fixed = 1}", path)
    assert opened(path, batch={"fixed": 1}).scores(PICTURES).shape == (3, 2)


def convolutional(path: Path, channels: int = 16, norm: bool = False) -> Path:
    """Three convolutions, pooling, a linear layer; batch normalisation as nodes of its own where ``norm``."""
    rng = np.random.default_rng(0)
    nodes, tensors, before, last = [], [], "x", 3
    for i, width in enumerate((channels, 2 * channels, 64)):
        tensors.append(
            numpy_helper.from_array(rng.normal(0, (2 / (9 * last)) ** 0.5, (width, last, 3, 3)).astype("f"), f"w{i}")
        )
        nodes.append(helper.make_node("Conv", [before, f"w{i}"], [f"c{i}"], strides=[2, 2], pads=[1, 1, 1, 1]))
        if norm:
            for part, (low, high) in {"s": (0.5, 2), "o": (-1, 1), "m": (-1, 1), "v": (0.5, 2)}.items():
                tensors.append(numpy_helper.from_array(rng.uniform(low, high, width).astype("f"), f"{part}{i}"))
            nodes.append(
                helper.make_node("BatchNormalization", [f"c{i}", f"s{i}", f"o{i}", f"m{i}", f"v{i}"], [f"n{i}"])
            )
        nodes.append(helper.make_node("Relu", [f"n{i}" if norm else f"c{i}"], [f"r{i}"]))
        before, last = f"r{i}", width
    tensors.append(numpy_helper.from_array(rng.normal(0, 0.2, (64, 2)).astype("f"), "W"))
    nodes += [
        helper.make_node("GlobalAveragePool", [before], ["g"]),
        helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("MatMul", ["f", "W"], ["z"]),
        helper.make_node("Softmax", ["z"], ["p"]),
    ]
    graph = helper.make_graph(
        nodes,
        "conv",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 32, 32])],
        [helper.make_tensor_value_info("p", TensorProto.FLOAT, ["n", 2])],
        tensors,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.mark.parametrize("norm", [False, True], ids=["folded", "batchnorm"])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_row_does_not_depend_on_its_place_or_its_mates(tmp_path: Path, norm: bool, threads: int) -> None:
    detector = opened(convolutional(tmp_path / "m.onnx", norm=norm), Runtime(threads=threads))
    generator = torch.Generator().manual_seed(1)
    pictures = torch.rand((24, 3, 32, 32), generator=generator)
    for call in (detector.probabilities, detector.scores):
        known: dict[int, Tensor] = {}
        for _ in range(4):
            chosen = torch.randperm(24, generator=generator)[:8]
            for index, row in zip(chosen.tolist(), call(pictures[chosen]), strict=True):
                assert torch.equal(known.setdefault(index, row), row)


# ---- files ------------------------------------------------------------------------------------------------------


def test_external_weights_are_used_and_digested(tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx", **TWO, tail=SOFTMAX, output="p", external=True)
    detector = opened(path)  # the logits need an in-memory copy of the graph
    torch.testing.assert_close(detector.scores(grey(0.25)), torch.tensor([[0.25, 0.5]]))
    weights = tmp_path / "weights.bin"
    content = bytearray(weights.read_bytes())
    content[0:4] = np.float32(5).tobytes()
    weights.write_bytes(content)
    assert opened(path).facts.digest != detector.facts.digest
    weights.unlink()
    refused("'weights.bin' is missing", "beside the model", path)


def test_external_weights_outside_the_folder_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx", **TWO, external=True)
    model = onnx.load(path, load_external_data=False)
    for entry in model.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = "../weights.bin"
    path.write_bytes(model.SerializeToString())
    refused("outside its folder", "beside", path)


def test_the_digest_covers_preprocessing_and_outputs(tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx", **TWO)
    digests = {
        opened(path, **values).facts.digest
        for values in (
            {},
            {"colour": "BGR"},
            {"mean": 0.5},
            {"classes": ["fake", "real"]},
            {"resize": {"mode": "crop"}},
        )
    }
    assert len(digests) == 5
    assert opened(path).facts.digest == opened(path, range=[0, 1], licence="MIT").facts.digest


def test_facts(tmp_path: Path) -> None:
    facts = opened(save(tmp_path / "net.onnx", **TWO), Runtime(precision="fp16")).facts
    assert facts.name == "net"
    assert facts.gives == {"gradients", "operations"}  # the mean of each channel alone: no map to look at
    assert set(facts.limits) == {"activations", "attention"}
    assert facts.details["providers"] == "CPUExecutionProvider"
    assert any("precision fp16 is not applied" in note for note in facts.notes)


def test_results_are_ordinary_tensors(tmp_path: Path) -> None:
    detector = opened(save(tmp_path / "m.onnx", **TWO))
    before = PICTURES.clone()
    assert not detector.probabilities(PICTURES).is_inference()
    assert torch.equal(before, PICTURES)
    assert torch.equal(detector.scores(PICTURES), detector.scores(PICTURES))


@pytest.mark.filterwarnings("ignore")  # the exporter's own
def test_an_exported_torch_model(tmp_path: Path) -> None:
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3, stride=2),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(4, 2),
    ).eval()
    path = tmp_path / "m.onnx"
    pictures = torch.rand((3, 3, 16, 16), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        torch.onnx.export(
            network, (pictures,), path, dynamo=True, dynamic_shapes=({0: torch.export.Dim("n")},), verbose=False
        )
        expected = network(pictures)
    torch.testing.assert_close(opened(path).scores(pictures), expected, rtol=1e-5, atol=1e-6)


# ---- several calls in one ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("std", [0.25, 0.3])
@pytest.mark.parametrize("batch", [1, 2])
def test_calls_in_batches_give_the_bits_of_single_calls_and_leave_the_pictures(
    tmp_path: Path, batch: int, std: float
) -> None:
    path = save(tmp_path / "m.onnx", **ONE, tail=SIGMOID, output="p", shape=(batch, 3, SIZE, SIZE))
    detector = opened(path, high="fake", mean=0.5, std=std)
    images = torch.rand(6, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    before = images.clone()
    for output, call in (("probability", detector.probabilities), ("logit", detector.scores)):
        single = torch.cat([call(part) for part in images.split(batch)])
        assert torch.equal(detector.in_batches(images, batch, output), single)
    assert torch.equal(images, before)


@pytest.mark.parametrize("std", [0.125, 0.25, 0.5])
def test_a_power_of_two_as_std_gives_the_bits_of_a_division(std: float) -> None:
    step = Preprocessing(mean=(0.485, 0.456, 0.406), std=(std,) * 3)
    images = torch.rand(2, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    images[0, 0, 0, :4] = torch.tensor([0.0, 1.0, 0.485, 1e-40])
    into = torch.empty_like(images)
    assert torch.equal(step(images, into), step(images))
    assert not torch.equal(into, images)
