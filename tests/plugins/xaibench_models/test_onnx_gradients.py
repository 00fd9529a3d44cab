"""Gradients of ONNX graphs: published architectures as both exporters write them, refusals with their node, bounds."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from architectures import ARCHITECTURES, built
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from xaibench.api import Batch, ModelError, Runtime, build_parameters
from xaibench_models import onnx_gradients, onnx_graph
from xaibench_models.card import CardKeys
from xaibench_models.interface import FileInput, Notes, settle_input
from xaibench_models.onnx_graph import load_graph
from xaibench_models.onnx_half import is_half, widened
from xaibench_models.onnx_model import OnnxDetector, OnnxModel, OnnxParameters
from xaibench_models.onnx_topology import hidden_tensors
from xaibench_models.torch_detector import TorchDetector
from xaibench_models.torch_model import TorchModel, TorchParameters
from xaibench_testing.checks import models as model_checks

BOUND = 1e-4
ALL = ("gradients", "activations", "operations", "attention")
FORMS = ("dynamo", "torchscript", "unfolded")


def opened(path: Path, runtime: Runtime | None = None, **values: Any) -> OnnxDetector:
    model = OnnxModel(build_parameters(OnnxParameters, {"": str(path), **values}, "onnx"))
    return model.open(model.members()[0], runtime or Runtime())


def noise(count: int, *size: int, seed: int = 1) -> Tensor:
    return torch.rand((count, 3, *size), generator=torch.Generator().manual_seed(seed))


def share(ours: Tensor, theirs: Tensor) -> float:
    """max|ours - theirs| / max|theirs|."""
    return float((ours.double() - theirs.double()).abs().max() / theirs.double().abs().max())


def slope(call: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """The gradient of the last logit."""
    leaf = images.clone().requires_grad_(True)
    return torch.autograd.grad(call(leaf)[:, -1].sum(), leaf)[0]


# ---- architectures ----------------------------------------------------------------------------------------------


def export(network: nn.Module, size: int, path: Path, form: str) -> None:
    pictures = (noise(3, size, size),)
    logging.disable(logging.ERROR)  # the exporters' own, as are the warnings and what they print
    torch.backends.mha.set_fastpath_enabled(False)  # TorchScript has no operator for it
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            if form == "dynamo":
                free = ({0: torch.export.Dim("n")},)
                torch.onnx.export(
                    network, pictures, path, dynamo=True, dynamic_shapes=free, verbose=False, external_data=False
                )
            else:
                names = {"input_names": ["x"], "output_names": ["z"], "dynamic_axes": {"x": {0: "n"}, "z": {0: "n"}}}
                folding = form == "torchscript"
                torch.onnx.export(network, pictures, path, dynamo=False, do_constant_folding=folding, **names)
    finally:
        torch.backends.mha.set_fastpath_enabled(True)
        logging.disable(logging.NOTSET)


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """The file of an architecture as an exporter writes it, made once."""
    folder = tmp_path_factory.mktemp("exports")

    def path(name: str, form: str) -> Path:
        file = folder / f"{name}-{form}.onnx"
        if not file.exists():
            export(built(name), ARCHITECTURES[name].size, file, form)
        return file

    return path


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_an_architecture_gives_its_values_gradients_and_layer(
    exported: Callable[[str, str], Path], name: str, form: str
) -> None:
    known, path = ARCHITECTURES[name], exported(name, form)
    detector = opened(path, size=known.size)
    images = noise(3, known.size, known.size, seed=7)  # not those it was compared on at load
    assert {"gradients", "activations", "operations"} <= detector.facts.gives, detector.facts.limits
    assert ("attention" in detector.facts.gives) == (name.startswith("vit") or name == "clip")  # not Swin's windows
    with torch.no_grad():
        assert share(detector.logits(images), detector.scores(images)) <= BOUND
    # in float64 against the torch module: no rounding stands between the two
    double, network = load_graph(onnx.load(path), path.parent, double=True), built(name).double()
    pictures = images.double()
    assert share(slope(double, pictures), slope(network, pictures)) <= BOUND  # type: ignore[arg-type]
    # where class activation maps look
    features = detector.features(images)
    on_grid = features.to_grid(torch.autograd.grad(features.logits[:, -1].sum(), features.activation)[0])
    assert tuple(on_grid.shape[2:]) == known.grid
    assert (on_grid.abs().sum(1) > 0).any(0).sum() > 1  # not the class token's alone
    assert any(n.startswith(f"target layer: {detector.facts.target_layer} (") for n in detector.facts.notes)


@pytest.mark.parametrize(
    ("name", "form", "layer", "extra"),
    [
        ("resnet", "torchscript", "/6/relu_1/Relu_output_0", 0),
        ("densenet", "torchscript", "/Relu_output_0", 0),
        ("vit", "torchscript", "/blocks/blocks.2/norm1/LayerNormalization_output_0", 1),
        ("clip", "torchscript", "/blocks/blocks.1/norm1/LayerNormalization_output_0", 1),
    ],
)
def test_the_layer_is_the_last_on_which_the_verdict_depends(
    exported: Callable[[str, str], Path], name: str, form: str, layer: str, extra: int
) -> None:
    """Behind the class token's last attention the other tokens have no influence."""
    detector = opened(exported(name, form), size=ARCHITECTURES[name].size)
    assert detector.facts.target_layer == layer
    assert detector.features(noise(2, *detector.facts.input_size)).to_grid.extra == extra  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["vit", "vit-mean", "vit-torch", "swin", "clip"])
def test_the_inside_of_an_attention_is_no_place_to_look(exported: Callable[[str, str], Path], name: str) -> None:
    graph = onnx.load(exported(name, "torchscript")).graph
    hidden = hidden_tensors(graph)
    given = {o: node.op_type for node in graph.node for o in node.output}
    assert {o for o, kind in given.items() if kind in ("Softmax", "MatMul", "Gemm")} <= hidden
    assert not hidden & {o for o, kind in given.items() if kind in ("Conv", "LayerNormalization")}


# ---- a graph as tf2onnx writes it -------------------------------------------------------------------------------


def save(path: Path, nodes: list[Any], weights: Mapping[str, Any], **more: Any) -> Path:
    """An ONNX file from nodes ``(operator, inputs, outputs, attributes)`` and arrays."""
    shape, number = more.get("shape", ["n", 3, 8, 8]), more.get("number", TensorProto.FLOAT)
    graph = helper.make_graph(
        [helper.make_node(op, i, o, name=f"the_{o[0]}", **attributes) for op, i, o, attributes in nodes],
        "net",
        [helper.make_tensor_value_info("x", number, shape)],
        [helper.make_tensor_value_info("z", more.get("out", TensorProto.FLOAT), [shape[0], 2])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    opset = [helper.make_opsetid("", more.get("opset", 17))]
    onnx.save(
        helper.make_model(graph, opset_imports=opset, ir_version=8), path,
        save_as_external_data=more.get("external", False), location="weights.bin", size_threshold=0,
    )  # fmt: skip
    return path


def test_nhwc_transposes_and_asymmetric_padding(tmp_path: Path) -> None:
    """SAME_UPPER at stride 2 pads below and to the right alone; TensorFlow's ReLU6 and mean over rows and columns."""
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.normal(0, 0.3, (4, 3, 3, 3)).astype("f"), "d": rng.normal(0, 0.4, (4, 1, 2, 2)).astype("f"),
        "s": rng.uniform(0.5, 2, 4).astype("f"), "o": rng.normal(0, 0.3, 4).astype("f"),
        "m": rng.normal(0, 0.3, 4).astype("f"), "v": rng.uniform(0.5, 2, 4).astype("f"), "low": np.float32(0),
        "high": np.float32(6), "k": rng.normal(0, 1, (4, 2)).astype("f"), "b": rng.normal(0, 1, 2).astype("f"),
    }  # fmt: skip
    same = {"strides": [2, 2], "auto_pad": "SAME_UPPER"}
    nodes = [
        ("Transpose", ["x"], ["t"], {"perm": [0, 3, 1, 2]}), ("Conv", ["t", "w"], ["c"], same),
        ("BatchNormalization", ["c", "s", "o", "m", "v"], ["n"], {}), ("Clip", ["n", "low", "high"], ["r"], {}),
        ("Conv", ["r", "d"], ["e"], {**same, "group": 4}), ("Transpose", ["e"], ["u"], {"perm": [0, 2, 3, 1]}),
        ("ReduceMean", ["u"], ["g"], {"axes": [1, 2], "keepdims": 0}), ("MatMul", ["g", "k"], ["y"], {}),
        ("Add", ["y", "b"], ["z"], {}),
    ]  # fmt: skip
    path = save(tmp_path / "nhwc.onnx", nodes, weights, shape=["n", 10, 12, 3])
    detector = opened(path)
    images = noise(2, 10, 12)
    w = {name: torch.from_numpy(np.asarray(value)).double() for name, value in weights.items()}

    def by_hand(x: Tensor) -> Tensor:
        x = F.conv2d(F.pad(x, (0, 1, 0, 1)), w["w"], stride=2)
        x = F.batch_norm(x, w["m"], w["v"], w["s"], w["o"]).clamp(0, 6)
        x = F.conv2d(F.pad(x, (0, 0, 0, 1)), w["d"], stride=2, groups=4)  # 5 rows: one more; 6 columns: none
        return x.mean((2, 3)) @ w["k"] + w["b"]

    assert share(detector.scores(images), by_hand(images.double())) <= BOUND
    assert share(slope(detector.logits, images), slope(by_hand, images.double())) <= BOUND
    features = detector.features(images)
    assert detector.facts.target_layer == "e"  # not u, of which 3 x 3 x 4 could be read in two ways
    assert tuple(features.to_grid(features.activation).shape) == (2, 4, 3, 3)


# ---- what a detector says of itself -----------------------------------------------------------------------------

CONV = {
    "w": np.random.default_rng(1).normal(0, 0.3, (4, 3, 3, 3)).astype("f"),
    "k": np.random.default_rng(2).normal(0, 1, (4, 2)).astype("f"),
}
PLAIN: list[Any] = [
    ("Conv", ["x", "w"], ["c"], {}), ("Relu", ["c"], ["r"], {}), ("GlobalAveragePool", ["r"], ["g"], {}),
    ("Flatten", ["g"], ["f"], {}), ("MatMul", ["f", "k"], ["z"], {}),
]  # fmt: skip


def by_torch(x: Tensor) -> Tensor:
    w, k = torch.from_numpy(CONV["w"]), torch.from_numpy(CONV["k"])
    return F.conv2d(x, w).relu().mean((2, 3)) @ k


def plain(path: Path, **more: Any) -> Path:
    return save(path, more.pop("nodes", PLAIN), CONV, **more)


def test_facts_and_notes(tmp_path: Path) -> None:
    detector = opened(plain(tmp_path / "m.onnx"))
    facts = detector.facts
    assert facts.gives >= {"gradients", "activations", "operations"}
    assert set(facts.limits) == set(ALL) - facts.gives
    assert facts.target_layer == "r"
    assert facts.target_grid == (6, 6)
    assert "target layer: r (6x6, NCHW; chosen automatically; set target_layer=NAME)" in facts.notes
    (note,) = [n for n in facts.notes if n.startswith("gradients:")]
    assert "of ONNX Runtime, allowed 0.0001" in note
    assert facts.engine == "onnxruntime"
    assert detector.twin is not None and detector.twin.detector.facts == replace(facts, engine="torch")
    for check in model_checks.CHECKS:
        check.run(detector)


@pytest.mark.parametrize("ending", ["logits", "softmax", "probabilities"])
def test_logits_and_scores_agree_whatever_the_graph_ends_in(tmp_path: Path, ending: str) -> None:
    tail: list[Any] = (
        [] if ending == "logits" else [("Softmax", ["y"], ["p" if ending == "probabilities" else "z"], {})]
    )
    nodes = [*PLAIN[:-1], ("MatMul", ["f", "k"], ["z" if ending == "logits" else "y"], {}), *tail]
    if ending == "probabilities":  # hides the softmax from who looks for one
        nodes += [("Mul", ["p", "p"], ["s"], {}), ("Sqrt", ["s"], ["z"], {})]
    card = {"activation": "probability"} if ending == "probabilities" else {}
    detector = opened(plain(tmp_path / "m.onnx", nodes=nodes), **card)
    images = noise(3, 8, 8)
    assert detector.facts.logit_source == ("log-odds" if ending == "probabilities" else "logits")
    reference = by_torch if ending != "probabilities" else (lambda x: by_torch(x).log_softmax(1))
    torch.testing.assert_close(detector.scores(images), reference(images), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(detector.logits(images), reference(images), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(slope(detector.logits, images), slope(reference, images), rtol=1e-3, atol=1e-6)


def test_preprocessing_is_part_of_the_gradient(tmp_path: Path) -> None:
    card = {"colour": "BGR", "range": [0, 255], "mean": [104, 117, 123], "std": [57, 58, 59]}
    detector = opened(plain(tmp_path / "m.onnx"), **card)
    images = noise(2, 8, 8)
    mean, std = torch.tensor(card["mean"]).view(3, 1, 1), torch.tensor(card["std"]).view(3, 1, 1)
    by_hand = lambda x: by_torch((x.flip(1) * 255 - mean) / std)  # noqa: E731
    torch.testing.assert_close(slope(detector.logits, images), slope(by_hand, images), rtol=1e-4, atol=1e-6)
    assert detector.facts.scale == (59 / 255, 58 / 255, 57 / 255)  # red is last in BGR
    assert detector.facts.zero_colour == (123 / 255, 117 / 255, 104 / 255)


def test_the_target_layer_can_be_set(tmp_path: Path) -> None:
    path = plain(tmp_path / "m.onnx")
    detector = opened(path, target_layer="c")
    assert detector.facts.target_layer == "c"
    assert not any("chosen automatically" in n for n in detector.facts.notes)
    images = noise(2, 8, 8)
    torch.testing.assert_close(detector.features(images).activation, F.conv2d(images, torch.from_numpy(CONV["w"])))
    assert (detector.features(images, "r").activation >= 0).all()
    doubled = detector.features(images, "r", lambda a, axis: 2 * a).logits  # a linear head follows
    torch.testing.assert_close(doubled, 2 * detector.scores(images), rtol=1e-4, atol=1e-5)
    with pytest.raises(ModelError, match="no layer 'cc'") as error:
        opened(path, target_layer="cc")
    assert "near matches: c" in error.value.mend
    with pytest.raises(ModelError, match="does not lie on the picture"):
        opened(path, target_layer="z")
    assert opened(path, target_layer="c").facts.digest == opened(path).facts.digest


def test_randomised_copies_leave_the_file_alone(tmp_path: Path) -> None:
    detector = opened(plain(tmp_path / "m.onnx"))
    images = noise(3, 8, 8)
    before = detector.scores(images)
    one, again = (detector.randomised(["c"], torch.Generator().manual_seed(4)) for _ in range(2))
    assert isinstance(one, TorchDetector) and one.facts.digest != detector.facts.digest
    assert torch.equal(one.scores(images), again.scores(images))
    assert not torch.allclose(one.scores(images), before)
    assert torch.equal(detector.scores(images), before)
    torch.testing.assert_close(detector.logits(images), before)


def test_a_variance_stays_positive_when_drawn_anew(tmp_path: Path) -> None:
    norm = {"s": np.ones(4, "f"), "o": np.zeros(4, "f"), "m": np.zeros(4, "f"), "v": np.array([0.01, 4, 0.01, 4], "f")}
    nodes = [
        PLAIN[0],
        ("BatchNormalization", ["c", "s", "o", "m", "v"], ["n"], {}),
        ("Relu", ["n"], ["r"], {}),
        *PLAIN[2:],
    ]
    detector = opened(save(tmp_path / "m.onnx", nodes, CONV | norm))
    for seed in range(5):
        assert detector.randomised(["n"], torch.Generator().manual_seed(seed)).scores(noise(2, 8, 8)).isfinite().all()


@pytest.mark.parametrize("kind", ["fixed", "card"])
def test_a_graph_for_single_pictures(tmp_path: Path, kind: str) -> None:
    if kind == "fixed":
        detector = opened(plain(tmp_path / "m.onnx", shape=[1, 3, 8, 8]))
    else:  # the file says "n", but a reshape takes one
        nodes = [*PLAIN[:3], ("Reshape", ["g", "flat"], ["f"], {}), PLAIN[4]]
        path = save(tmp_path / "m.onnx", nodes, CONV | {"flat": np.array([1, 4])})
        detector = opened(path, batch={"fixed": 1})
    images = noise(3, 8, 8)
    assert detector.facts.batch == Batch(fixed=1)
    torch.testing.assert_close(slope(detector.logits, images), slope(by_torch, images), rtol=1e-4, atol=1e-6)
    assert detector.features(images[:1]).activation.shape == (1, 4, 6, 6)
    assert detector.verified(images) is detector


def test_external_weights(tmp_path: Path) -> None:
    detector = opened(plain(tmp_path / "m.onnx", external=True))
    assert (tmp_path / "weights.bin").exists()
    images = noise(2, 8, 8)
    torch.testing.assert_close(slope(detector.logits, images), slope(by_torch, images), rtol=1e-4, atol=1e-6)


def test_a_function_of_the_model(tmp_path: Path) -> None:
    path = plain(tmp_path / "m.onnx")
    model = onnx.load(path)
    opset = [helper.make_opsetid("", 17)]
    body = [helper.make_node("Relu", ["a"], ["b"], name="inner")]
    model.functions.append(helper.make_function("own", "Rectify", ["a"], ["b"], body, opset))
    model.graph.node[1].op_type, model.graph.node[1].domain = "Rectify", "own"
    model.opset_import.append(helper.make_opsetid("own", 1))
    onnx.save(model, path)
    detector = opened(path)
    assert detector.facts.target_layer == "r"
    torch.testing.assert_close(slope(detector.logits, noise(2, 8, 8)), slope(by_torch, noise(2, 8, 8)))


# ---- refusals ---------------------------------------------------------------------------------------------------


def black_box(detector: OnnxDetector, *words: str) -> None:
    """It gives nothing, says why in one line, and still predicts."""
    assert detector.facts.gives == frozenset() and set(detector.facts.limits) == set(ALL)
    (reason,) = set(detector.facts.limits.values())
    assert all(word in reason for word in words), reason
    assert "\n" not in reason
    assert detector.facts.target_layer is None
    assert not any(n.startswith(("target layer:", "gradients:")) for n in detector.facts.notes)
    images = noise(2, *detector.facts.input_size)
    torch.testing.assert_close(detector.probabilities(images).sum(1), torch.ones(2))
    for call in (detector.logits, detector.features):
        with pytest.raises(ModelError) as error:
            call(images)
        assert reason in error.value.what
    with pytest.raises(ModelError):
        detector.randomised(["c"], torch.Generator())
    assert detector.verified(images) is detector


def quantised(path: Path) -> Path:
    """A static int8 graph: QuantizeLinear and DequantizeLinear around what the convolution takes."""
    scale = np.float32(1 / 255)
    nodes = [
        ("QuantizeLinear", ["x", "xs", "x0"], ["q"], {}), ("DequantizeLinear", ["q", "xs", "x0"], ["d"], {}),
        ("DequantizeLinear", ["w8", "ws", "w0"], ["w"], {}), ("Conv", ["d", "w"], ["c"], {}), *PLAIN[1:],
    ]  # fmt: skip
    weights = {
        "xs": scale, "x0": np.uint8(0), "ws": np.float32(0.01), "w0": np.int8(0), "k": CONV["k"],
        "w8": np.clip(CONV["w"] / 0.01, -127, 127).round().astype("i1"),
    }  # fmt: skip
    return save(path, nodes, weights)


def test_static_int8(tmp_path: Path) -> None:
    black_box(opened(quantised(tmp_path / "q.onnx")), "QuantizeLinear", "the_q")


def test_dynamic_int8(tmp_path: Path) -> None:
    weights = {
        "k8": np.clip(CONV["k"] / 0.02, -127, 127).round().astype("i1"),
        "k0": np.int8(0),
        "ks": np.float32(0.02),
    }
    nodes = [
        *PLAIN[:4], ("DynamicQuantizeLinear", ["f"], ["q", "qs", "q0"], {}),
        ("MatMulInteger", ["q", "k8", "q0", "k0"], ["i"], {}), ("Cast", ["i"], ["y"], {"to": TensorProto.FLOAT}),
        ("Mul", ["qs", "ks"], ["s"], {}), ("Mul", ["y", "s"], ["z"], {}),
    ]  # fmt: skip
    black_box(opened(save(tmp_path / "q.onnx", nodes, weights | {"w": CONV["w"]})), "DynamicQuantizeLinear", "the_q")


def test_control_flow(tmp_path: Path) -> None:
    path = plain(tmp_path / "m.onnx")
    model = onnx.load(path)
    out = helper.make_tensor_value_info("o", TensorProto.FLOAT, None)
    branches = {
        f"{which}_branch": helper.make_graph([helper.make_node(op, ["m"], ["o"])], which, [], [out])
        for which, op in (("then", "Neg"), ("else", "Identity"))
    }
    model.graph.node[-1].output[0] = "m"
    model.graph.initializer.append(numpy_helper.from_array(np.float32(0), "zero"))
    model.graph.node.extend(
        [
            helper.make_node("ReduceMax", ["x"], ["largest"], keepdims=0),
            helper.make_node("Less", ["largest", "zero"], ["dark"]),
            helper.make_node("If", ["dark"], ["z"], name="the_branch", **branches),
        ]
    )
    onnx.save(model, path)
    black_box(opened(path), "If", "the_branch")


def test_uint8_input(tmp_path: Path) -> None:
    nodes = [("Cast", ["x"], ["a"], {"to": TensorProto.FLOAT}), ("Conv", ["a", "w"], ["c"], {}), *PLAIN[1:]]
    detector = opened(plain(tmp_path / "m.onnx", nodes=nodes, number=TensorProto.UINT8))
    black_box(detector, "rounded to uint8", "no gradient")
    assert detector.facts.quantum == 1 / 255


def bent(monkeypatch: pytest.MonkeyPatch, tensor: str, change: Callable[[Tensor], Tensor]) -> None:
    """Make the node that gives ``tensor`` give something else."""
    true = onnx_graph.load_graph

    def load(*arguments: Any, **more: Any) -> Any:
        graph = true(*arguments, **more)
        graph.get_submodule(graph.layers[tensor]).register_forward_hook(lambda module, given, out: change(out))
        return graph

    monkeypatch.setattr(onnx_graph, "load_graph", load)


def test_a_node_that_computes_something_else_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bent(monkeypatch, "r", lambda out: 1.01 * out)
    detector = opened(plain(tmp_path / "m.onnx"))
    largest = 0.01 * float(F.conv2d(check(detector), torch.from_numpy(CONV["w"])).relu().max())
    black_box(detector, "Relu node 'the_r'", f"largest difference {largest:.2g}", "allowed 0.0001", "logits: 0.01 of")


def check(detector: OnnxDetector) -> Tensor:
    """The pictures on which the two are compared at load."""
    from xaibench_models.interface import check_pictures
    from xaibench_models.onnx_gradients import with_grey

    return with_grey(check_pictures(detector.source, detector.device))


def test_a_node_that_fails_or_gives_another_shape_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(out: Tensor) -> Tensor:
        raise RuntimeError("no kernel\nfor this")

    with monkeypatch.context() as patch:
        bent(patch, "g", broken)
        black_box(
            opened(plain(tmp_path / "m.onnx")), "GlobalAveragePool node 'the_g' fails on torch", "no kernel for this"
        )
    bent(monkeypatch, "r", lambda out: out[:, :2])
    black_box(opened(plain(tmp_path / "m.onnx")), "Relu node 'the_r'", "shape (3, 2, 6, 6), not (3, 4, 6, 6)")


@pytest.mark.parametrize("error", [KeyError("bug"), ModelError("bug", "mend it")])
def test_an_executor_that_cannot_be_loaded_costs_no_black_box(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def load(*arguments: Any, **more: Any) -> Any:
        raise error

    monkeypatch.setattr(onnx_graph, "load_graph", load)
    detector = opened(plain(tmp_path / "m.onnx"), target_layer="r")
    black_box(detector, f"does not run on torch: {type(error).__name__}")
    assert "target_layer is not used, as there are no gradients" in detector.facts.notes


def test_pictures_of_the_data_are_compared_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that is right on noise and grey, and wrong on a picture that is very bright."""
    path = save(tmp_path / "m.onnx", PLAIN, {"w": np.abs(CONV["w"]), "k": CONV["k"]})
    white = torch.ones(2, 3, 8, 8)
    reached = float(F.conv2d(white[:1], torch.from_numpy(np.abs(CONV["w"]))).max())
    bent(monkeypatch, "c", lambda out: out.clamp(max=0.9 * reached))
    detector = opened(path)
    assert "gradients" in detector.facts.gives
    assert detector.verified(noise(4, 8, 8)) is detector
    assert detector.verified(white[:0]) is detector
    cut = detector.verified(white)
    black_box(cut, "Conv node 'the_c'", f"largest difference {reached * 0.1:.2g}")
    assert cut.facts.digest == detector.facts.digest
    assert torch.equal(cut.scores(white), detector.scores(white))


# ---- half precision ---------------------------------------------------------------------------------------------


def halved(path: Path, **more: Any) -> Path:
    """The plain graph in float16, from its input to its output."""
    weights = {name: value.astype(np.float16) * more.pop("times", 1) for name, value in CONV.items()}
    return save(path, PLAIN, weights, number=TensorProto.FLOAT16, out=TensorProto.FLOAT16, **more)


def test_a_float16_graph_is_differentiated_in_float32(tmp_path: Path) -> None:
    detector = opened(halved(tmp_path / "h.onnx"))
    (note,) = [n for n in detector.facts.notes if n.startswith("gradients:")]
    assert "in float32, from which half precision is" in note
    twin = detector.twin
    assert twin is not None
    assert twin.seen <= BOUND and 1e-5 < twin.spread < 2**-9  # a few roundings to eleven binary digits
    assert twin.allowed == pytest.approx(BOUND + 2 * max(twin.spread, 2**-10))
    images = noise(3, 8, 8)
    weights = [torch.from_numpy(v.astype(np.float16).astype("f")) for v in CONV.values()]
    precise = lambda x: F.conv2d(x, weights[0]).relu().mean((2, 3)) @ weights[1]  # noqa: E731
    torch.testing.assert_close(slope(detector.logits, images), slope(precise, images), rtol=1e-4, atol=1e-6)
    assert 0 < share(detector.logits(images).detach(), detector.scores(images)) <= twin.allowed
    assert detector.verified(images) is detector


def test_float16_in_full_precision(tmp_path: Path) -> None:
    detector = opened(halved(tmp_path / "h.onnx", external=True))
    full = detector.full_precision()
    images = noise(3, 8, 8)
    assert detector.facts.quantum == 2**-10 and full.facts.quantum == 0
    assert full.facts.digest == detector.facts.digest
    torch.testing.assert_close(full.scores(images), detector.logits(images))
    assert not torch.equal(full.scores(images), detector.scores(images))
    assert full.full_precision() is full
    float32 = opened(plain(tmp_path / "m.onnx"))
    assert float32.full_precision() is float32 and float32.facts.quantum == 0


def test_a_float16_graph_far_from_its_float32_form_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = halved(tmp_path / "h.onnx")
    spread = opened(path).twin.spread  # type: ignore[union-attr]
    monkeypatch.setattr(onnx_gradients, "MOST_SPREAD", spread / 2)
    black_box(opened(path), f"in half precision the logits lie {spread:.2g} of the largest from those in float32")


def test_widening_reaches_every_half(tmp_path: Path) -> None:
    path = halved(tmp_path / "h.onnx")
    model = onnx.load(path)
    attribute = numpy_helper.from_array(np.float16([1.5]), "one")
    model.graph.node.insert(0, helper.make_node("Constant", [], ["k1"], value=attribute))
    model.graph.node.append(helper.make_node("Cast", ["z"], ["y"], to=TensorProto.FLOAT16))
    wide = widened(model, tmp_path)
    assert is_half(model) and not is_half(wide)
    assert wide.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT
    kept = numpy_helper.to_array(wide.graph.initializer[0])
    np.testing.assert_array_equal(kept, CONV["w"].astype(np.float16).astype("f"))
    assert is_half(onnx.load(path))  # the model itself is left as it was


def test_a_graph_that_halves_what_comes_in_alone_is_half() -> None:
    """Its weights and casts are float32; the gradient of its input is a half all the same."""
    nodes = [helper.make_node("Cast", ["x"], ["wide"], to=TensorProto.FLOAT), helper.make_node("Neg", ["wide"], ["z"])]
    for kind, half in ((TensorProto.FLOAT16, True), (TensorProto.FLOAT, False)):
        x = helper.make_tensor_value_info("x", kind, [1, 3, 4, 4])
        z = helper.make_tensor_value_info("z", TensorProto.FLOAT, [1, 3, 4, 4])
        assert is_half(helper.make_model(helper.make_graph(nodes, "g", [x], [z]))) is half


# ---- scale and quantum ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("card", "number", "digits", "scale", "quantum"),
    [
        ({}, "float32", None, (1.0, 1.0, 1.0), 0.0),
        ({"range": (0, 255), "std": (50.0, 51.0, 102.0)}, "float32", None, (50 / 255, 0.2, 0.4), 0.0),
        ({"range": (0, 255), "std": (50.0, 51.0, 102.0), "colour": "BGR"}, "float32", None, (0.4, 0.2, 50 / 255), 0.0),
        ({}, "uint8", None, (1 / 255,) * 3, 1 / 255),
        ({}, "float16", None, (1.0, 1.0, 1.0), 2**-10),  # 1 is followed by 1 + 2^-10
        ({"range": (0, 255)}, "float16", None, (1 / 255,) * 3, 2**-3 / 255),  # 255 by 255 + 1/8
        ({"mean": 0.5, "std": 0.25}, "float16", None, (0.25,) * 3, 2**-9 * 0.25),  # 2 by 2 + 2^-9
        ({}, "float32", 7, (1.0, 1.0, 1.0), 2**-7),  # bfloat16
    ],
)
def test_scale_and_quantum(
    card: dict[str, Any], number: Any, digits: int | None, scale: tuple[float, ...], quantum: float
) -> None:
    source = settle_input(CardKeys.model_validate(card), FileInput(size=(4, 4), number=number), Notes())
    assert source.scale == pytest.approx(scale)
    assert source.quantum(digits) == pytest.approx(quantum)


@pytest.mark.parametrize(
    ("card", "number", "colour"),
    [
        ({}, "float32", None),
        ({"range": (0, 255)}, "uint8", None),
        ({"range": (-1, 1)}, "float32", (0.5, 0.5, 0.5)),
        ({"mean": (0.5, 0.25, 0.0)}, "float32", (0.5, 0.25, 0.0)),
        ({"mean": (1.5, 0.25, 0.0)}, "float32", None),  # no colour
    ],
)
def test_the_colour_that_is_zero_to_the_network(card: dict[str, Any], number: Any, colour: Any) -> None:
    source = settle_input(CardKeys.model_validate(card), FileInput(size=(4, 4), number=number), Notes())
    assert source.zero_colour == colour


def test_torch_detectors_say_the_same_and_compute_in_float32_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys
    import types

    module = types.ModuleType("xaibench_test_gradients")
    module.build = lambda: built("resnet")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    values = {"factory": "xaibench_test_gradients:build", "size": 64, "std": 0.5, "mean": 0.5, "weights": "factory"}
    model = TorchModel(build_parameters(TorchParameters, values, "torch"))
    exact, half = (model.open("", Runtime(precision=p)) for p in ("fp32", "bf16"))
    images = noise(2, 64, 64)
    assert exact.facts.scale == (0.5, 0.5, 0.5)
    assert (exact.facts.quantum, half.facts.quantum) == (0.0, 2**-7 * 0.5)
    assert exact.full_precision() is exact
    assert not torch.equal(half.scores(images), exact.scores(images))
    assert torch.equal(half.full_precision().scores(images), exact.scores(images))
    assert half.full_precision().facts == replace(half.facts, quantum=0.0, precision="fp32")


# ---- explainers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("explainer", ["gradcam", "integrated-gradients"])
def test_both_forms_of_the_demo_have_the_same_maps(explainer: str) -> None:
    from xaibench.discovery.components import make
    from xaibench.discovery.registry import load_registry
    from xaibench_datasets.demo import DemoDataset
    from xaibench_datasets.demo import DemoParameters as Faces
    from xaibench_models.demo.model import Demo, DemoParameters
    from xaibench_testing.harness import explain, value
    from xaibench_testing.planted_data import pictures_of

    use = make(load_registry().find("explainer", explainer), {})
    data = DemoDataset(Faces(identities=1))
    fakes = [s for s in data.samples() if s.label == "fake"]
    maps = []
    for form in ("torch", "onnx"):
        detector = Demo(DemoParameters(form=form)).open("demo-0", Runtime())  # type: ignore[arg-type]
        maps.append([value(done) for done in explain(use, detector, pictures_of(data, detector, fakes), 1)])
    for theirs, ours in zip(*maps, strict=True):
        assert (theirs.status, ours.status) == ("ok", "ok")
        assert share(ours.map, theirs.map) <= 1e-3  # type: ignore[arg-type]


# ---- the command line -------------------------------------------------------------------------------------------


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for kind in ("real", "fake"):
        (tmp_path / "faces" / kind).mkdir(parents=True)
        for i in range(2):
            pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "faces" / kind / f"{i}.png")
    return tmp_path / "faces"


EXPLAINERS = ("-e", "gradcam", "-e", "integrated-gradients:steps=3", "-e", "rise:masks=8")


def evaluated(
    cli: Callable[..., tuple[int, str, str]], model: Path, faces: Path, out: Path
) -> tuple[str, dict[str, str]]:
    """What a run prints before it starts, and the statuses of its explanations."""
    from xaibench.store.folder import RunFolder

    common = ("eval", "-m", model, "-D", faces, *EXPLAINERS, "-x", "deletion:steps=2", "--no-controls", "--threads", 1)
    code, said, err = cli(*common, "-o", out)
    assert code == 0, err
    rows = RunFolder(out).table("scores").to_pylist()
    rows = [r for r in rows if r["score"] == "deletion"]
    return said + err, {r["explainer"].rpartition("/")[2]: r["status"] for r in rows}


def test_eval_says_that_it_uses_gradients(
    cli: Callable[..., tuple[int, str, str]], tmp_path: Path, faces: Path
) -> None:
    said, status = evaluated(cli, plain(tmp_path / "net.onnx"), faces, tmp_path / "run")
    assert "gradients: the graph run on torch is within" in said
    assert "target layer: r (6x6" in said
    assert {status[k] for k in status if k.startswith(("gradcam", "integrated"))} <= {"ok", "undefined"}
    assert "ok" in status.values()


def test_eval_of_an_int8_file_says_why_not_and_runs_the_others(
    cli: Callable[..., tuple[int, str, str]], tmp_path: Path, faces: Path
) -> None:
    model = quantised(tmp_path / "int8.onnx")
    said, status = evaluated(cli, model, faces, tmp_path / "run")
    assert "needs gradients: QuantizeLinear" in said.replace("\n", " ") or "not_applicable" in status.values()
    assert any(k.startswith("rise") and v == "ok" for k, v in status.items())
    code, out, _ = cli("list", "--model", model, "--json")
    assert code == 0 and "needs gradients: QuantizeLinear" in json.dumps(json.loads(out))
