"""Other readings of a card: which are offered, that each is another one, and what the detectors make of them."""

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper

from xaibench.api import CardVariant, ModelError, Runtime
from xaibench_models.live_model import LiveModel
from xaibench_models.onnx_model import OnnxModel, OnnxParameters

CPU = Runtime()
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


def linear(images):
    """Reads what goes in: the mean of each channel, and the corner."""
    return 8 * torch.stack([images.mean((1, 2, 3)), images[:, 0, 0, 0]], 1) - 4


def live(**card):
    return LiveModel(linear, "linear", {"size": 32, "classes": ("real", "fake"), **card}, "1").open("linear", CPU)


def graph(path, shape, outputs=("score",), number=1, **card):
    cast = helper.make_node("Cast", ["x"], ["f"], to=1)
    nodes = [cast, helper.make_node("ReduceMean", ["f"], ["m"], axes=[2, 3], keepdims=0)]
    weights = []
    for i, name in enumerate(outputs):
        weights.append(numpy_helper.from_array(np.random.default_rng(i).normal(size=(3, 2)).astype("f"), f"w{i}"))
        nodes.append(helper.make_node("MatMul", ["m", f"w{i}"], [name]))
    out = [helper.make_tensor_value_info(name, 1, ["n", 2]) for name in outputs]
    made = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", number, shape)], out, weights)
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return OnnxModel(OnnxParameters.model_validate({"path": str(path), **card})).open("m", CPU)


def named(detector):
    return [v.name for v in detector.variants()]


def maps(detector):
    """What every reading of colour, range, mean and std makes of one picture."""
    picture = torch.linspace(0, 1, 3 * 16).reshape(1, 3, 4, 4)
    sources = [detector.network.source]
    sources += [detector.read_as(v).network.source for v in detector.variants() if not v.swaps]
    return [s.preprocessing(picture).flatten() for s in sources if s.size == (32, 32) and s.resize == sources[0].resize]


@pytest.mark.parametrize(
    "card",
    [
        {},
        {"range": (-1.0, 1.0)},
        {"mean": 0.5, "std": 0.5},
        IMAGENET,
        {"range": (0.0, 255.0), "mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375)},
        {"range": (0.0, 255.0), "colour": "BGR", "mean": (103.939, 116.779, 123.68)},
        {"mean": 0.4, "std": 0.2},
    ],
)
def test_no_two_readings_make_the_same_of_a_picture_and_the_usual_ones_are_there(card):
    detector = live(**card)
    assert len(detector.variants()) <= 24
    found = maps(detector)
    for i, first in enumerate(found):
        for other in found[i + 1 :]:
            assert (first - other).abs().max() > 0.001 * (first.max() - first.min())
    picture = torch.linspace(0, 1, 3 * 16).reshape(1, 3, 4, 4)
    if card.get("colour") == "BGR":
        picture = picture.flip(1)
    usual = [picture, picture * 2 - 1, picture * 255]
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in IMAGENET.values())
    if card.get("colour") == "BGR":
        mean, std = mean.flip(1), std.flip(1)
    for wanted in (*usual, (picture - mean) / std):
        spread = float(wanted.max() - wanted.min())
        assert min(float((wanted.flatten() - f).abs().max()) for f in found) < 0.01 * spread


def test_what_one_key_mends_is_offered_as_one_key():
    """A range that is wrong comes back with mean and std kept; ImageNet's mean is in units of the range."""
    keys = [dict(v.keys) for v in live(range=(-1.0, 1.0), **IMAGENET).variants()]
    assert {"range": (0, 1)} in keys
    assert {"mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375)} in [
        dict(v.keys) for v in live(range=(0.0, 255.0)).variants()
    ]
    assert next(iter(v.keys for v in live().variants() if not v.swaps)) == {"colour": "BGR"}


@pytest.mark.parametrize(
    ("card", "keys"),
    [
        ({}, {"classes": ("fake", "real")}),
        ({"classes": None, "fake_index": 0}, {"fake_index": 1}),
        ({"classes": ("genuine", "forged"), "real": "genuine"}, {"real": "forged"}),
    ],
)
def test_real_and_fake_are_turned_by_the_key_that_the_card_uses(card, keys):
    detector = live(**card)
    swap = next(v for v in detector.variants() if v.swaps)
    assert dict(swap.keys) == keys
    images = torch.rand(2, 3, 32, 32)
    turned = detector.read_as(swap)
    real, other = detector.facts.real_class, turned.facts.real_class
    assert torch.allclose(detector.probabilities(images)[:, real], 1 - turned.probabilities(images)[:, other])


def test_a_reading_shares_the_network_and_has_facts_of_its_own():
    detector = live()
    half = next(v for v in detector.variants() if v.keys == {"size": 16})
    small = detector.read_as(half)
    assert small.facts.input_size == (16, 16) and detector.facts.input_size == (32, 32)
    crop = detector.read_as(next(v for v in detector.variants() if v.keys.get("resize") == {"mode": "crop"}))
    assert crop.facts.resize.mode == "crop" and crop.network.module is detector.network.module
    digests = {detector.facts.digest, *(detector.read_as(v).facts.digest for v in detector.variants())}
    assert len(digests) == len(detector.variants()) + 1
    with pytest.raises(ModelError, match="read otherwise"):
        crop.read_as(half)


def test_probabilities_may_be_meant_where_values_look_like_them():
    squashed = LiveModel(
        lambda x: (x.mean((1, 2, 3)).tanh()[:, None] + 1) / 2,
        "s",
        {"size": 32, "high": "fake", "activation": "logit"},
        "1",
    ).open("s", CPU)
    offered = [dict(v.keys) for v in squashed.variants()]
    assert {"activation": "probability"} in offered and {"high": "real"} in offered
    assert not any("activation" in v.keys for v in live(range=(0.0, 255.0)).variants())


def test_another_value_of_the_dict_may_be_meant_where_it_has_the_shape():
    def several(x):
        return {"a": linear(x), "b": -linear(x), "c": linear(x)[:, :1], "d": x}

    detector = LiveModel(several, "d", {"size": 32, "output_key": "a"}, "1").open("d", CPU)
    assert [dict(v.keys) for v in detector.variants() if "output_key" in v.keys] == [{"output_key": "b"}]


def test_a_file_that_fixes_layout_and_size_is_not_read_against_it(tmp_path):
    fixed = graph(tmp_path / "fixed.onnx", ["n", 3, 24, 24])
    assert not {"layout", "size", "output"} & set(named(fixed))
    free = graph(tmp_path / "free.onnx", ["n", 3, None, None], ("score", "other"), size=48, output="score")
    assert {"size", "output"} <= set(named(free)) and "layout" not in named(free)
    whole = graph(tmp_path / "uint8.onnx", ["n", 3, 24, 24], number=2)
    assert {v.name for v in whole.variants()} == {"classes", "colour", "resize"}


def test_onnx_reads_another_output_and_refuses_what_the_network_does_not_take(tmp_path):
    detector = graph(tmp_path / "two.onnx", ["n", 3, None, None], ("score", "other"), size=48, output="score")
    images = torch.rand(3, 3, 48, 48)
    other = detector.read_as(CardVariant(name="output", keys={"output": "other"}))
    assert not torch.allclose(other.probabilities(images), detector.probabilities(images))
    assert torch.equal(other.probabilities(images), other.scores(images).softmax(1))
    assert other.facts.gives == frozenset()
    with pytest.raises(ModelError, match="it fails on a batch"):
        detector.read_as(CardVariant(name="layout", keys={"layout": "NHWC"}))


def test_the_right_layout_is_named_where_the_card_has_the_other():
    def last(x):
        return x @ torch.rand(3, 2) if x.shape[-1] != 3 else x.mean((1, 2)) @ torch.ones(3, 2)

    with pytest.raises(ModelError) as raised:
        LiveModel(last, "last", {"size": 32}, "1").open("last", CPU)
    assert 'layout = "NHWC"' in raised.value.mend
