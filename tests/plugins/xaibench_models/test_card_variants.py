"""Other readings of a card: which are offered, that each feeds the network as its keys say, and that they can be written."""

from __future__ import annotations

import sys
import tomllib
import types
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from xaibench.api import CardVariant, ModelError, Resize, Runtime, build_parameters
from xaibench_models.card_variants import MOST_VARIANTS
from xaibench_models.onnx_model import OnnxModel, OnnxParameters
from xaibench_models.torch_model import TorchModel, TorchParameters

SIZE = 16
IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
PICTURES = torch.rand((3, 3, SIZE, SIZE), generator=torch.Generator().manual_seed(3))


class Net(nn.Module):
    """Two logits of a picture of any size, and its features."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 4, 3)
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        z = self.head(self.conv(x).tanh().mean((2, 3)))
        return {"cls": z, "other": z.flip(1) * 2, "prob": z.softmax(1)[:, 1]}


def torch_model(monkeypatch: pytest.MonkeyPatch, **keys: Any) -> TorchModel:
    made = types.ModuleType("xaibench_test_variants")
    made.build = Net  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, made.__name__, made)
    values = {
        "factory": f"{made.__name__}:build", "weights": "factory", "size": SIZE, "output_key": "cls", "classes": ["real", "fake"],
        **keys,
    }  # fmt: skip
    return TorchModel(build_parameters(TorchParameters, values, "torch"))


def onnx_model(path: Path, card: str = "", number: int = TensorProto.FLOAT, size: Any = SIZE, **keys: Any) -> OnnxModel:
    """z = the mean of every channel times weights."""
    weights = torch.randn(3, 2, generator=torch.Generator().manual_seed(0)).numpy()
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["f"], ["m"], axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["m", "w"], ["z"]),
        helper.make_node("Neg", ["z"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", number, ["n", 3, size, size])],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", 2]) for n in ("z", "y")],
        [numpy_helper.from_array(weights, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    if card:
        path.with_suffix(".toml").write_text(card)
    return OnnxModel(build_parameters(OnnxParameters, {"path": str(path), "output": "z", **keys}, "onnx"))


def opened(model: TorchModel | OnnxModel) -> Any:
    return model.open(model.members()[0], Runtime())


def keys_of(detector: Any) -> list[dict[str, Any]]:
    return [dict(v.keys) for v in detector.variants()]


def test_what_a_bare_card_could_have_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    variants = opened(torch_model(monkeypatch)).variants()
    offered = [dict(v.keys) for v in variants]
    assert len(variants) <= MOST_VARIANTS
    assert [v.name for v in variants if v.swaps] == ["classes"]
    for wanted in (
        {"classes": ["fake", "real"]}, {"colour": "BGR"}, {"range": [-1.0, 1.0]}, {"range": [0.0, 255.0]},
        {"range": [-0.5, 0.5]}, IMAGENET, {"layout": "NHWC"}, {"output_key": "other"}, {"size": [224, 224]},
        {"size": [32, 32]},
        {"colour": "BGR", "range": [0.0, 255.0], "mean": [103.939, 116.779, 123.68]},
        {"resize": {"interpolation": "bilinear", "antialias": True, "mode": "crop"}},
        {"resize": {"interpolation": "bilinear", "antialias": False, "mode": "squash"}},
    ):  # fmt: skip
        assert wanted in offered
    assert {"output_key": "prob"} not in offered  # one column, which means another card
    assert len({v.name + repr(v.keys) for v in variants}) == len(variants)


def test_readings_return_to_plain_input_and_know_equal_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    offered = keys_of(opened(torch_model(monkeypatch, **IMAGENET)))
    assert {"mean": 0.0, "std": 1.0} in offered
    assert {"range": [0.0, 255.0]} in offered  # the mean and std of the card belong to another range
    assert {"colour": "BGR"} in offered
    assert {"range": [-1.0, 1.0], "mean": 0.0, "std": 1.0} in offered
    halves = keys_of(opened(torch_model(monkeypatch, mean=0.5, std=0.5)))
    assert {"range": [-1.0, 1.0], "mean": 0.0, "std": 1.0} not in halves  # feeds the same numbers
    bgr = keys_of(opened(torch_model(monkeypatch, colour="BGR")))
    assert {"mean": IMAGENET["mean"][::-1], "std": IMAGENET["std"][::-1]} in bgr


def test_a_file_rules_readings_out(tmp_path: Path) -> None:
    offered = keys_of(opened(onnx_model(tmp_path / "m.onnx", number=TensorProto.UINT8)))
    for key in ("range", "mean", "std", "size", "layout"):
        assert not any(key in keys for keys in offered)
    assert {"colour": "BGR"} in offered
    assert {"output": "y"} in offered
    free = keys_of(opened(onnx_model(tmp_path / "n.onnx", size="s", card="size = 16\n")))
    assert {"size": [256, 256]} in free


@pytest.mark.parametrize(
    ("keys", "turned"),
    [
        ({"classes": None, "fake_index": 1}, {"fake_index": 0}),
        ({"classes": None, "output_key": "prob", "high": "fake", "activation": "probability"}, {"high": "real"}),
        ({"classes": ["swap", "genuine"], "real": "genuine"}, {"classes": ["genuine", "swap"]}),
    ],
)
def test_swaps_take_the_key_of_the_card(
    monkeypatch: pytest.MonkeyPatch, keys: dict[str, Any], turned: dict[str, Any]
) -> None:
    detector = opened(torch_model(monkeypatch, **keys))
    (variant,) = [v for v in detector.variants() if v.swaps]
    assert dict(variant.keys) == turned
    real, other = detector.facts.real_class, detector.read_as(variant)
    torch.testing.assert_close(
        other.probabilities(PICTURES)[:, other.facts.real_class], 1 - detector.probabilities(PICTURES)[:, real]
    )


@pytest.mark.parametrize("form", ["torch", "onnx"])
def test_every_reading_is_that_of_a_card_with_its_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    def model(**keys: Any) -> TorchModel | OnnxModel:
        return torch_model(monkeypatch, **keys) if form == "torch" else onnx_model(tmp_path / "m.onnx", **keys)

    detector, tried = opened(model()), 0
    digests = {detector.facts.digest}
    for variant in detector.variants():
        if variant.keys.get("layout") == "NHWC":
            with pytest.raises(ModelError):
                detector.read_as(variant)
            continue
        reading, direct = detector.read_as(variant), opened(model(**variant.keys))
        assert reading.facts.digest == direct.facts.digest
        assert (reading.facts.input_size, reading.facts.resize) == (direct.facts.input_size, direct.facts.resize)
        pictures = torch.rand((2, 3, *reading.facts.input_size), generator=torch.Generator().manual_seed(1))
        torch.testing.assert_close(reading.probabilities(pictures), direct.probabilities(pictures))
        torch.testing.assert_close(reading.scores(pictures), direct.scores(pictures))
        digests.add(reading.facts.digest)
        tried += 1
    assert len(digests) == tried + 1
    if form == "torch":
        crop = CardVariant(name="resize", keys={"resize": {"mode": "crop"}})
        assert detector.read_as(crop).facts.resize == Resize(mode="crop")
        assert detector.read_as(crop).network.module is detector.network.module
    with pytest.raises(ModelError, match="low < high"):
        detector.read_as(CardVariant(name="range", keys={"range": [1.0, 0.0]}))


@pytest.mark.parametrize("said", ["logit", "probability"])
def test_probabilities_and_logits_for_one_another(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    detector = opened(torch_model(monkeypatch, classes=None, output_key="prob", high="fake", activation=said))
    other = {"activation": "probability" if said == "logit" else "logit"}
    assert other in keys_of(detector)
    assert not any("activation" in keys for keys in keys_of(opened(torch_model(monkeypatch))))


# ---- writing ----------------------------------------------------------------------------------------------------


def test_cards_are_written_beside_the_file(tmp_path: Path) -> None:
    model = onnx_model(tmp_path / "m.onnx")
    card = tmp_path / "m.toml"
    assert model.write_card("m", {"range": [0.0, 255.0]}) == str(card.resolve())
    assert tomllib.loads(card.read_text()) == {"range": [0.0, 255.0]}
    assert opened(model).source.preprocessing.range == (0.0, 255.0)
    with pytest.raises(ModelError, match="unknown card key 'rnage'"):
        model.write_card("m", {"rnage": [0.0, 1.0]})
    with pytest.raises(ModelError, match=r"output is set by a parameter, which wins over the card .*m\.toml"):
        model.write_card("m", {"output": "y"})
    named = OnnxModel(
        build_parameters(OnnxParameters, {"path": str(tmp_path / "m.onnx"), "card": str(tmp_path / "c.toml")}, "onnx")
    )
    named.write_card("m", {"output": "z"})
    assert (tmp_path / "c.toml").read_text() == 'output = "z"\n'


def test_the_toml_of_a_pytorch_model_is_its_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match="no file is named"):
        torch_model(monkeypatch).write_card("", {"size": 8})
    path = tmp_path / "net.toml"
    path.write_text(
        'factory = "xaibench_test_variants:build"\nweights = "factory"  # no file\nsize = 16\noutput_key = "cls"\n'
    )
    model = TorchModel(build_parameters(TorchParameters, {"path": str(path)}, "torch"))
    assert opened(model).facts.classes == ("real", "fake")
    model.write_card("net", {"classes": ["fake", "real"]})
    assert opened(model).facts.classes == ("fake", "real")
    assert "# no file" in path.read_text()
    other = tmp_path / "file.toml"
    other.write_text('path = "file.pt2"\n')
    TorchModel(build_parameters(TorchParameters, {"path": str(other)}, "torch")).write_card("file", {"size": 8})
    assert tomllib.loads(other.read_text()) == {"path": "file.pt2", "size": 8}
