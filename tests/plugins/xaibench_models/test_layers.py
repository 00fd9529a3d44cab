"""Which layer is looked at: reused and in-place modules, saturated verdicts, pictures that are no squares, Keras."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from exporting import correlation, export, grad_cam, optimised
from onnx import TensorProto, helper, numpy_helper, version_converter
from torch import Tensor, nn

from xaibench.api import ModelError, Runtime, build_parameters
from xaibench_models.grids import Grid, grid_of
from xaibench_models.live_model import LiveModel
from xaibench_models.onnx_model import OnnxDetector, OnnxModel, OnnxParameters
from xaibench_models.torch_detector import TorchDetector

SIDE = 32


def live(module: nn.Module, **card: Any) -> TorchDetector:
    detector = LiveModel(module.eval(), "m", {"size": SIDE, **card}, "1").open("m", Runtime())
    assert isinstance(detector, TorchDetector)
    return detector


def of_file(path: Path, **values: Any) -> OnnxDetector:
    model = OnnxModel(build_parameters(OnnxParameters, {"": str(path), **values}, "onnx"))
    return model.open(model.members()[0], Runtime())


def noise(*size: int, count: int = 3) -> Tensor:
    return torch.rand((count, 3, *size), generator=torch.Generator().manual_seed(5))


def notes(detector: TorchDetector | OnnxDetector) -> str:
    return "\n".join(detector.facts.notes)


# ---- modules that run several times -----------------------------------------------------------------------------


class Shared(nn.Module):
    """One activation function in place, on maps and, where ``dense``, behind the flattening too."""

    def __init__(self, pool_first: bool = False, dense: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.one, self.two = nn.Conv2d(3, 6, 3, 2, 1), nn.Conv2d(6, 6, 3, 2, 1)
        self.act, self.pool = nn.ELU(inplace=True), nn.AvgPool2d(2)
        self.hidden, self.head = nn.Linear(6, 6), nn.Linear(6, 2)
        self.pool_first, self.dense = pool_first, dense

    def forward(self, x: Tensor) -> Tensor:
        x = self.two(self.act(self.one(x)))
        x = self.act(self.pool(x)) if self.pool_first else self.pool(self.act(x))
        x = x.mean((2, 3))
        return self.head(self.act(self.hidden(x)) if self.dense else x)


@pytest.mark.parametrize(
    ("pool_first", "dense", "run", "side"),
    [(False, False, 1, 8), (True, False, 1, 4), (False, True, 1, 8), (True, True, 1, 4)],
)
def test_the_run_of_a_reused_module_that_lies_on_the_picture_is_looked_at(
    pool_first: bool, dense: bool, run: int, side: int
) -> None:
    module = Shared(pool_first, dense)
    detector, images = live(module), noise(SIDE, SIDE)
    assert detector.facts.target_layer == "act"
    assert f"act runs {2 + dense} times; its run {run + 1} is looked at" in notes(detector)
    found: list[Tensor] = []
    handle = detector.network.module.act.register_forward_hook(lambda *call: found.append(call[2].clone()))  # type: ignore[union-attr]
    features = detector.features(images)
    handle.remove()
    torch.testing.assert_close(features.activation, found[-(2 + dense) :][run])  # the first calls were to find the run
    assert features.activation.shape[2:] == (side, side)
    torch.testing.assert_close(features.logits, module(images))
    named = live(module, target_layer="act")
    torch.testing.assert_close(named.features(images).activation, features.activation)


# ---- verdicts that saturate -------------------------------------------------------------------------------------


class Sure(nn.Module):
    """Probabilities that are 0 or 1 in float32."""

    def __init__(self, ending: str) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.conv, self.act, self.head = nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Linear(8, 2)
        self.ending = ending

    def scores(self, x: Tensor) -> Tensor:
        return 3000 * self.head(self.act(self.conv(x)).mean((2, 3)))

    def forward(self, x: Tensor) -> Tensor:
        z = self.scores(x)
        p = torch.sigmoid(z[:, 1:])
        return {
            "softmax": z.softmax(1), "column": z.softmax(1)[:, 1], "one less": 1 - z.softmax(-1)[:, 0],
            "sigmoid": p, "pair": torch.cat((1 - p, p), 1),
        }[self.ending]  # fmt: skip


@pytest.mark.parametrize("ending", ["softmax", "column", "one less", "sigmoid", "pair"])
def test_a_module_that_is_sure_of_itself_has_gradients_at_its_layer(ending: str) -> None:
    module = Sure(ending)
    one = {} if ending in ("softmax", "pair") else {"high": "fake"}
    detector, images = live(module, activation="probability", **one), noise(SIDE, SIDE)
    z = module.scores(images)
    odds = z[:, 1] - z[:, 0] if ending not in ("sigmoid", "pair") else z[:, 1]
    assert odds.abs().min() > 20
    scores = detector.scores(images)
    torch.testing.assert_close(scores[:, 1] - scores[:, 0], odds, rtol=1e-4, atol=1e-2)
    torch.testing.assert_close(detector.probabilities(images)[:, 1], odds.sigmoid(), rtol=1e-4, atol=1e-5)
    assert detector.facts.target_layer == "act"
    features = detector.features(images)
    (gradient,) = torch.autograd.grad(features.logits[:, 1].sum(), features.activation)
    assert (gradient.flatten(1).abs().sum(1) > 0).all()
    assert "logits: those that go into the model's last" in notes(detector)


class Hidden(nn.Module):
    """A saturated function of a probability, which is followed to no logit."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Sure("sigmoid")

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) ** 2


def test_where_all_gradients_are_zero_the_last_layer_that_takes_part_is_taken() -> None:
    detector = live(Hidden(), activation="probability", high="fake")
    assert detector.facts.logit_source == "log-odds"
    assert detector.facts.target_layer == "inner.act"
    assert "the gradient at inner.act and all other layers is 0" in notes(detector)


# ---- how activations lie ----------------------------------------------------------------------------------------


class Spot(nn.Module):
    """The verdict is the brightness at the top right; ``kind`` says how the cells are held inside."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.width = kind, 4
        self.patch = nn.Conv2d(3, self.width, 8, 8, bias=False)
        nn.init.constant_(self.patch.weight, 1 / 192)
        self.act = nn.ReLU() if kind != "tokens" else nn.Identity()
        self.norm = nn.Linear(self.width, self.width) if kind == "last" else nn.GELU()
        if kind == "last":
            nn.init.eye_(self.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.act(self.patch(x))
        if self.kind == "maps":
            corner = maps[:, :, 0, -1]
        elif self.kind == "last":
            corner = self.norm(maps.permute(0, 2, 3, 1))[:, 0, -1]
        else:
            tokens = self.norm(torch.cat((0 * maps.flatten(2)[:, :, :1], maps.flatten(2)), 2).transpose(1, 2))
            corner = tokens[:, maps.shape[3]]  # a class token, then the first row
        z = corner.sum(1, keepdim=True)
        return torch.cat((-z, z), 1)


@pytest.mark.parametrize("size", [(32, 56), (56, 32), (32, 32)])
@pytest.mark.parametrize("kind", ["maps", "last", "tokens"])
def test_rows_and_columns_keep_their_places(kind: str, size: tuple[int, int], tmp_path: Path) -> None:
    """32 x 32 has 4 x 4 cells and 4 channels: either axis could hold them."""
    module = Spot(kind)
    images = noise(*size)
    detectors: list[TorchDetector | OnnxDetector] = [live(module, size=list(size))]
    if size == (32, 56):
        detectors.append(of_file(export(module.requires_grad_(False), size, tmp_path / "m.onnx", dynamo=False)))
    for detector in detectors:
        features = detector.features(images)
        (gradient,) = torch.autograd.grad(features.logits[:, 1].sum(), features.activation)
        cells = features.to_grid(gradient).abs().sum((0, 1))
        assert tuple(cells.shape) == (size[0] // 8, size[1] // 8)
        assert cells.nonzero().tolist() == [[0, size[1] // 8 - 1]]


class Joined(nn.Module):
    """Rows and columns joined behind the channels, of which a square number could pass for tokens."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.conv, self.act, self.head = nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Linear(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        cells = self.act(self.conv(x)).flatten(2)
        return self.head((cells * cells.sigmoid()).mean(2))


def test_channels_before_joined_cells_are_no_tokens(tmp_path: Path) -> None:
    module = Joined().requires_grad_(False)
    images = noise(SIDE, SIDE)
    expected = grad_cam(live(module), images)
    detector = of_file(export(module, (SIDE, SIDE), tmp_path / "m.onnx", dynamo=False), size=SIDE)
    assert detector.facts.target_layer == "/act/Relu_output_0"
    assert correlation(grad_cam(detector, images), expected) > 0.999


def test_what_could_be_read_in_two_ways_follows_the_layers_around() -> None:
    assert grid_of((2, 7, 7, 7), 2, (224, 224), (), "last") == Grid("NHWC", 7, 7)
    assert grid_of((2, 7, 14, 28), 2, (112, 224), (), "last") == Grid("NHWC", 7, 14)
    assert grid_of((2, 7, 7, 96), 2, (224, 224), (), "first") == Grid("NHWC", 7, 7)
    assert grid_of((2, 9, 196), 2, (224, 224), ((14, 14),)) is None


# ---- ONNX: nodes of several results, older opsets, optimised files ----------------------------------------------


def net(path: Path, nodes: list[Any], opset: int = 17, classes: int = 2) -> Path:
    """conv, ``nodes``, mean, linear; the nodes lead from ``c`` to ``r``."""
    rng = np.random.default_rng(4)
    weights = {
        "w": rng.normal(0, 0.4, (4, 3, 3, 3)), "k": rng.normal(0, 1, (4, classes)), "s": rng.uniform(0.5, 1, 4),
        "o": rng.normal(0, 0.3, 4), "m": rng.normal(0, 0.3, 4), "v": rng.uniform(0.5, 2, 4),
    }  # fmt: skip
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["c"], strides=[2, 2]),
            *nodes,
            helper.make_node("GlobalAveragePool", ["r"], ["g"]),
            helper.make_node("Flatten", ["g"], ["f"]),
            helper.make_node("MatMul", ["f", "k"], ["z"]),
        ],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 17, 17])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", classes])],
        [numpy_helper.from_array(value.astype("f"), name) for name, value in weights.items()],
    )
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=7), path)
    return path


def test_of_several_results_the_first_is_the_layer_and_any_can_be_named(tmp_path: Path) -> None:
    nodes = [helper.make_node("Split", ["c"], ["r", "rest"], axis=1)]
    graph = net(tmp_path / "m.onnx", nodes)
    model = onnx.load(graph)
    weight = next(w for w in model.graph.initializer if w.name == "k")
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight)[:2].copy(), "k"))
    model.graph.initializer.append(numpy_helper.from_array(np.array([2, 2]), "halves"))
    next(n for n in model.graph.node if n.op_type == "Split").input.append("halves")
    onnx.save(model, graph)
    detector = of_file(graph)
    assert detector.facts.target_layer == "r"
    images = noise(17, 17)
    whole = detector.features(images, "c").activation
    torch.testing.assert_close(detector.features(images, "r").activation, whole[:, :2])
    torch.testing.assert_close(detector.features(images, "rest").activation, whole[:, 2:])


NORM = helper.make_node("BatchNormalization", ["c", "s", "o", "m", "v"], ["b"])
RELU = helper.make_node("Relu", ["b"], ["r"])


@pytest.mark.parametrize("opset", [7, 8, 9, 10])
def test_an_older_opset_is_converted_and_said_aloud(tmp_path: Path, opset: int) -> None:
    images = noise(17, 17)
    new = of_file(net(tmp_path / "new.onnx", [NORM, RELU]))
    old = of_file(net(tmp_path / "old.onnx", [NORM, RELU], opset))
    assert f"converted from opset {opset} to 11 (onnx.version_converter)" in notes(old)
    assert old.facts.target_layer == "r"
    torch.testing.assert_close(grad_cam(old, images), grad_cam(new, images))


def test_a_conversion_that_fails_or_gives_other_values_is_refused_with_the_mend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = net(tmp_path / "old.onnx", [NORM, RELU], 9)
    convert = version_converter.convert_version

    def bent(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
        changed = convert(model, opset)
        for weight in changed.graph.initializer:
            weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * np.float32(1.01), weight.name))
        return changed

    def broken(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
        raise RuntimeError("no adapter for Relu")

    for replaced, words in (
        (bent, "converted from opset 9 to 11 it gives other logits"),
        (broken, "no adapter for Relu"),
    ):
        monkeypatch.setattr(version_converter, "convert_version", replaced)
        detector = of_file(path)
        assert words in detector.facts.limits["gradients"]
        assert "export it again with opset 13 or later" in detector.facts.limits["gradients"]
        assert torch.isfinite(detector.scores(noise(17, 17))).all()


def test_a_file_saved_with_layout_optimisation_says_how_to_save_it(tmp_path: Path) -> None:
    path = net(tmp_path / "m.onnx", [NORM, RELU])
    detector = of_file(optimised(path, ort.GraphOptimizationLevel.ORT_ENABLE_ALL))
    if "gradients" in detector.facts.gives:
        pytest.skip("this processor's ONNX Runtime changes no layout")
    assert "ORT_ENABLE_EXTENDED or lower" in detector.facts.limits["gradients"]
    images = noise(17, 17)
    fused = of_file(optimised(path))
    torch.testing.assert_close(grad_cam(fused, images), grad_cam(of_file(path), images), rtol=1e-3, atol=1e-5)


# ---- xaibench list --layers -------------------------------------------------------------------------------------


Cli = Callable[..., tuple[int, str, str]]


def test_all_layers_of_a_detector_are_listed_with_their_shapes(
    tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    pool = helper.make_node("MaxPool", ["a"], ["r"], kernel_shape=[2, 2])
    path = net(tmp_path / "m.onnx", [NORM, helper.make_node("Relu", ["b"], ["a"]), pool])
    code, out, err = cli("list", "--layers", path, "--json")
    assert code == 0, err
    shown = json.loads(out)
    assert (shown["schema"], shown["target_layer"]) == ("xaibench.layers/1", "a")
    layers = {layer["name"]: layer for layer in shown["layers"]}
    assert list(layers) == ["c", "b", "a", "r", "g", "f", "z"]
    assert layers["a"] == {
        "name": "a", "shape": [1, 4, 8, 8], "grid": "8x8, NCHW", "chosen": True, "remark": "", "usable": True,
    }  # fmt: skip
    assert layers["r"]["remark"].startswith("pooled") and layers["f"]["remark"] == "not on the picture"
    for name, layer in layers.items():  # what is called usable is taken, and nothing else
        if layer["usable"]:
            assert of_file(path, target_layer=name).facts.target_layer == name
        else:
            with pytest.raises(ModelError):
                of_file(path, target_layer=name)
    text = cli("list", "--layers", path)[1]
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "chosen" in text and "2 not on the picture: f, z" in text


def test_a_layer_that_runs_several_times_says_which_run_is_meant() -> None:
    shapes = {layer.name: layer for layer in live(Shared(dense=True)).layer_shapes()}
    assert shapes["act"].remark == "run 2 of 3" and shapes["act"].shape == (1, 6, 8, 8) and shapes["act"].chosen


def test_layers_stand_for_themselves_and_need_a_layer_that_exists(tmp_path: Path, cli: Cli) -> None:
    code, _, err = cli("list", "models", "--layers", "demo")
    assert code == 2 and "--layers stands for itself" in err
    path = net(tmp_path / "m.onnx", [helper.make_node("Relu", ["c"], ["r"])])
    code, _, err = cli("list", "--layers", f"{path}:target_layer=q")
    assert code == 3 and "no layer 'q'" in err


# ---- Keras on torch ---------------------------------------------------------------------------------------------

KERAS = """
import keras, torch, warnings
from keras import layers as L
from xaibench.api import Runtime
from xaibench_models.live_model import LiveModel

keras.utils.set_random_seed(0)
inputs = L.Input((32, 48, 3))
x = L.Conv2D(16, 3, strides=2, padding="same", activation="relu", name="stem")(inputs)
x = L.Add(name="sum")([x, L.SeparableConv2D(16, 3, padding="same", name="separable")(x)])
x = L.GlobalAveragePooling2D()(L.MaxPooling2D(name="pool")(L.ReLU(name="act")(x)))
functional = keras.Model(inputs, L.Dense(1, activation="sigmoid", name="verdict")(x))
square = keras.Sequential([
    L.Input((32, 32, 3)), L.Conv2D(16, 3, strides=2, padding="same", name="one"), L.ReLU(name="act"),
    L.GlobalAveragePooling2D(), L.Dense(2, name="verdict"),
])
for model, size, card in ((functional, [32, 48], {"high": "fake", "activation": "probability"}), (square, [32, 32], {})):
    detector = LiveModel(model, "k", {"size": size, "layout": "NHWC", **card}, "1").open("k", Runtime())
    assert detector.facts.target_layer == "act", detector.facts
    assert "verdict" in detector.facts.layers
    features = detector.features(torch.rand(2, 3, *size))
    assert features.activation.shape == (2, size[0] // 2, size[1] // 2, 16)
    (gradient,) = torch.autograd.grad(features.logits[:, 1].sum(), features.activation)
    grid = features.to_grid(gradient)
    assert grid.shape == (2, 16, size[0] // 2, size[1] // 2) and bool(grid.abs().sum() > 0)
    changed = detector.randomised(["verdict"], torch.Generator().manual_seed(0))
    pictures = torch.rand(2, 3, *size)
    assert not torch.allclose(changed.scores(pictures), detector.scores(pictures))
"""


@pytest.mark.skipif(importlib.util.find_spec("keras") is None, reason="Keras is not installed")
def test_layers_of_keras_on_torch_are_seen() -> None:
    """In a process of its own, as Keras reads its backend when it is imported."""
    done = subprocess.run(
        [sys.executable, "-c", KERAS],
        check=False,
        env={**os.environ, "KERAS_BACKEND": "torch"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
