"""Sanity checks: randomised parameters on scripted, planted and ONNX detectors, the other class, likeness of maps."""

from __future__ import annotations

import gc
import math
import weakref
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from robustness_toys import SIZE, case_of, make, rand, reason_of, run, scores_of, values_of
from scipy.stats import spearmanr
from torch import Tensor

from xaibench.api import Explanation, Facts, Passes, PassQuery, Runtime, Streams, build_parameters, digest_shown
from xaibench.discovery.components import open_component
from xaibench.discovery.registry import load_registry
from xaibench_metrics.robustness.random_logit import RandomLogit, other_class
from xaibench_metrics.robustness.randomisation import (
    Copies,
    ParameterRandomisation,
    cascading_steps,
    entropy_rise,
    histogram_entropy,
    independent_steps,
    stops,
)
from xaibench_metrics.robustness.similarity import ranks, similarity, spearman, ssim
from xaibench_models.onnx_model import OnnxModel, OnnxParameters
from xaibench_testing.harness import Done, drawn_by, metric_use, score
from xaibench_testing.planted import FAKE, DifferentiablePatchDetector, LinearDetector
from xaibench_testing.planted_data import pictures_of, planted_samples

LAYERS = ("stem", "body", "head")
RISING = torch.arange(80.0).view(SIZE)


class Scripted:
    """A detector of three layers that only remembers which of them were drawn anew."""

    device = torch.device("cpu")

    def __init__(self, drawn: tuple[str, ...] = (), seed: int = 0, layers: tuple[str, ...] = LAYERS) -> None:
        self.drawn, self.seed = drawn, seed
        self.facts = Facts(
            name="scripted", classes=("real", "fake"), real_class=0, input_size=SIZE, digest=f"{drawn} {seed}",
            gives=frozenset({"gradients"}), layers=layers,
        )  # fmt: skip

    def probabilities(self, images: Tensor) -> Tensor:
        return torch.full((len(images), 2), 0.5)

    def randomised(self, layers: Sequence[str], generator: torch.Generator) -> Scripted:
        return Scripted(tuple(layers), generator.initial_seed())


def swapped(pairs: int) -> Tensor:
    """0 ... 79 with the first and last ``pairs`` exchanged in place."""
    flat = RISING.flatten().clone()
    for i in range(pairs):
        flat[i], flat[79 - i] = 79 - i, i
    return flat.view(SIZE)


BY_LAYERS = {
    (): RISING, ("head",): swapped(2), ("head", "body"): swapped(20), ("head", "body", "stem"): swapped(40),
    ("body",): swapped(5), ("stem",): RISING,
}  # fmt: skip


def scripted_map(_: Tensor, target: int, detector: Any) -> Tensor:
    return BY_LAYERS[detector.drawn]


# ---- likeness -------------------------------------------------------------------------------------------------------


def test_spearman_is_scipys_and_shares_ranks_among_equals() -> None:
    a, b = (rand(9, 11, seed=1) * 6).floor(), (rand(9, 11, seed=2) * 6).floor()
    assert spearman(a, b) == pytest.approx(spearmanr(a.flatten(), b.flatten())[0], abs=1e-12)
    # 1 2 3 4 against 1 3 2 4: 1 - 6 * 2 / (4 * 15)
    assert spearman(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[1.0, 3.0], [2.0, 4.0]])) == pytest.approx(
        0.8
    )


def test_ranks_are_less_their_mean_and_shared_among_equals() -> None:
    found = ranks(torch.tensor([[0.5, -0.0, 2.0], [0.0, -1.0, 0.0]]).half())
    assert found.tolist() == [[1.5, -0.5, 2.5], [-0.5, -2.5, -0.5]]
    assert not ranks(torch.zeros(3, 4)).any()


def test_ssim_of_one_window_by_hand() -> None:
    rows, columns = torch.arange(7)[:, None], torch.arange(7)
    a = (255 * torch.exp(-((rows - 2) ** 2 + (columns - 4) ** 2) / 4)).floor()
    assert ssim(a, a.flip(1)) == pytest.approx(0.297017, abs=1e-6)
    assert ssim(a, torch.rot90(a)) == pytest.approx(0.297017, abs=1e-6)
    assert ssim(a, 255 - a) == pytest.approx(-0.557075, abs=1e-6)
    assert ssim(a, 17 * a) == pytest.approx(1)


def test_likeness_says_when_there_is_none() -> None:
    compare = partial(similarity, kind="spearman", absolute=False)
    assert compare(RISING, -RISING) == pytest.approx(-1)
    assert similarity(RISING, -RISING, "spearman", absolute=True) == pytest.approx(1)
    assert similarity(RISING, -RISING, "ssim", absolute=True) == pytest.approx(1)
    assert "constant" in str(compare(RISING, torch.ones(SIZE)))
    signs = torch.where(RISING % 2 == 0, 1.0, -1.0)
    assert "constant" in str(similarity(RISING, signs, "spearman", absolute=True))
    assert "7 x 7" in str(similarity(RISING[:6], RISING[:6], "ssim", absolute=False))
    assert compare(RISING[:6], RISING[:6]) == pytest.approx(1)


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore")
def test_ssim_sees_two_dimensions_where_quantus_sees_one(quantus: Any) -> None:
    """Turning both maps on their side changes nothing about how alike they are; Quantus, which flattens, says it does."""
    from quantus.functions.similarity_func import correlation_spearman
    from quantus.functions.similarity_func import ssim as flat_ssim

    def theirs(first: Tensor, second: Tensor) -> float:
        return float(flat_ssim(first.flatten().numpy(), second.flatten().numpy()))

    a, b = rand(16, 16, seed=3), rand(16, 16, seed=4)
    assert spearman(a, b) == pytest.approx(correlation_spearman(a.flatten().numpy(), b.flatten().numpy()))
    a, b = a.cumsum(dim=0), b.cumsum(dim=0)
    assert ssim(a, b) == pytest.approx(ssim(a.T, b.T), abs=1e-12)
    assert abs(theirs(a, b) - theirs(a.T, b.T)) > 0.2


# ---- steps ----------------------------------------------------------------------------------------------------------


def test_steps() -> None:
    assert stops(0, 10) == ()
    assert stops(3, 10) == (1, 2, 3)
    assert stops(11, 3) == (1, 6, 11)
    assert stops(7, 1) == (7,)
    for layers in range(2, 60):
        for most in range(2, 12):
            found = stops(layers, most)
            assert (found[0], found[-1], len(set(found))) == (1, layers, min(layers, most))
    assert cascading_steps(LAYERS, 10) == {
        "head": ("head",),
        "body": ("head", "body"),
        "stem": ("head", "body", "stem"),
    }
    assert independent_steps(LAYERS, 10) == {"head": ("head",), "body": ("body",), "stem": ("stem",)}
    assert list(cascading_steps(LAYERS, 2)) == ["head", "stem"]


# ---- entropy --------------------------------------------------------------------------------------------------------


def test_entropy_of_values_by_hand() -> None:
    two, four = torch.tensor([[0.0, 1.0]]), torch.tensor([[0.0, 1.0], [2.0, 3.0]])
    assert histogram_entropy(two) == pytest.approx(math.log(2))
    assert histogram_entropy(four) == pytest.approx(math.log(4))
    assert entropy_rise(two, four) == pytest.approx(1)
    assert entropy_rise(four, two) == pytest.approx(-0.5)
    assert entropy_rise(four, torch.ones(2, 2)) == pytest.approx(-1)
    assert entropy_rise(torch.ones(2, 2), four) is None
    assert entropy_rise(1e30 * (four - 2), 1e-30 * four) == pytest.approx(0)


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore")
def test_entropy_of_values_is_quantuss(quantus: Any) -> None:
    from quantus.functions.complexity_func import discrete_entropy

    saliency = rand(20, 20) ** 3
    theirs = discrete_entropy(a=saliency.double().numpy(), x=saliency.numpy(), n_bins=100)
    assert histogram_entropy(saliency) == pytest.approx(theirs, rel=1e-9)


# ---- randomised parameters ------------------------------------------------------------------------------------------


def test_parameter_randomisation_by_hand() -> None:
    """Exchanging i and 79 - i for i < k: rho = 1 - 12 sum (79 - 2i)^2 / (80 (80^2 - 1)), the sum over i < k."""

    def rho(pairs: int) -> float:
        return 1 - 12 * sum((79 - 2 * i) ** 2 for i in range(pairs)) / (80 * (80**2 - 1))

    case = case_of(scripted_map, rand(3, *SIZE), detector=Scripted())
    found = scores_of(make(ParameterRandomisation), case)
    assert {key: s.value for key, s in found.items()} == {
        ("parameter-randomisation", ""): pytest.approx((rho(2) + rho(20) + rho(40)) / 3),
        ("efficient", ""): pytest.approx(0),
        ("cascading", "head"): pytest.approx(rho(2)),
        ("cascading", "body"): pytest.approx(rho(20)),
        ("cascading", "stem"): pytest.approx(rho(40)),
        ("independent", "head"): pytest.approx(rho(2)),
        ("independent", "body"): pytest.approx(rho(5)),
        ("independent", "stem"): pytest.approx(1),
    }
    assert rho(40) == pytest.approx(-1)
    assert len(case.explain.views) == 5  # type: ignore[attr-defined]  # the head alone is a step of both
    query = PassQuery(sample=case.picture.sample, facts=case.detector.facts, map=Passes(2, 3, exact=False))
    assert make(ParameterRandomisation).passes(query) == Passes(10, 15, exact=False)
    assert make(ParameterRandomisation, most=1).passes(query) == Passes(4, 6, exact=False)


def test_a_map_that_ignores_the_weights_stays() -> None:
    case = case_of(lambda *_: RISING, rand(3, *SIZE), detector=Scripted())
    found = scores_of(make(ParameterRandomisation), case)
    assert found.pop(("efficient", "")).value == 0
    assert [s.value for s in found.values()] == [pytest.approx(1)] * 7


@pytest.mark.parametrize(("absolute", "value"), [(True, 1), (False, -1)])
def test_a_change_of_sign_counts_where_it_is_asked_for(absolute: bool, value: float) -> None:
    case = case_of(lambda _, __, d: -RISING if d.drawn else RISING, rand(3, *SIZE), detector=Scripted())
    found = scores_of(make(ParameterRandomisation, absolute=absolute), case)
    assert found["parameter-randomisation", ""].value == pytest.approx(value)


def test_a_step_without_a_map_is_undefined_and_so_is_the_mean() -> None:
    def draw(_: Tensor, __: int, detector: Any) -> Any:
        return Explanation.none("no gradient") if "body" in detector.drawn else RISING

    found = scores_of(make(ParameterRandomisation), case_of(draw, rand(3, *SIZE), detector=Scripted()))
    assert found["cascading", "body"].reason == "no map: no gradient"
    assert found["cascading", "head"].value == found["independent", "stem"].value == pytest.approx(1)
    assert found["parameter-randomisation", ""].reason.startswith("2 of 3 steps have no value; body: no map")
    assert found["efficient", ""].status == "undefined"
    flat = case_of(lambda _, __, d: torch.ones(SIZE) if d.drawn else RISING, rand(3, *SIZE), detector=Scripted())
    found = scores_of(make(ParameterRandomisation), flat)
    assert "constant" in found["parameter-randomisation", ""].reason
    assert found["efficient", ""].value == -1


def test_a_detector_that_cannot_be_randomised_is_told_apart() -> None:
    metric, blind, nameless = make(ParameterRandomisation), Scripted(), Scripted(layers=())
    blind.facts = replace(blind.facts, gives=frozenset())
    assert "drawn anew" in reason_of(metric, case_of(scripted_map, rand(3, *SIZE), detector=blind))
    assert "no layer" in reason_of(metric, case_of(scripted_map, rand(3, *SIZE), detector=nameless))


def test_all_pictures_meet_the_same_copies_and_let_them_go() -> None:
    met: dict[str, list[int]] = {}
    alive: list[weakref.ref[Any]] = []
    detector = Scripted()

    def draw(_: Tensor, __: int, at: Any) -> Tensor:
        met.setdefault(at.facts.digest, []).append(id(at))
        alive.append(weakref.ref(at))
        return RISING

    cases = [case_of(draw, rand(3, *SIZE, seed=i), detector=detector, id=f"s{i}") for i in range(3)]
    metric = make(ParameterRandomisation)
    for case in cases:
        run(metric, case)
    assert len(met) == 6 and all(len(ids) == 3 for ids in met.values())  # the detector and five copies
    gc.collect()
    assert {ref() for ref in alive} == {None, detector}
    copies, streams = Copies(), Streams.of(0, 0, "m", "")
    one = copies.get(detector, ("head",), streams)
    assert copies.get(detector, ("head",), streams) is one
    assert copies.get(detector, ("body",), streams) is not one
    assert copies.get(Scripted(), ("head",), streams) is not one
    assert copies.get(detector, ("head",), streams.child("repeat")) is not one


def test_pictures_share_batches_on_a_copy() -> None:
    """Eight pictures, one forward pass each on every copy: full batches, so one call a copy."""
    calls: list[int] = []

    class Counting(DifferentiablePatchDetector):
        def randomised(self, layers: Sequence[str], generator: torch.Generator) -> Any:
            copy = super().randomised(layers, generator)
            plain = copy.logits
            copy.logits = lambda images: calls.append(len(images)) or plain(images)  # type: ignore
            return copy

    detector = Counting()
    pictures = pictures_of(planted_samples(4), detector)
    saliency = open_component("explainer", "saliency", registry=load_registry())
    for done in score(make(ParameterRandomisation), saliency, detector, pictures, FAKE, batch_size=8):
        assert done.error is None
    assert len(pictures) == 8 and calls == [8]


def test_the_planted_detector_fails_no_gradient_map_and_passes_no_edge_map() -> None:
    detector = DifferentiablePatchDetector()
    pictures = pictures_of(planted_samples(2), detector)
    registry, metric = load_registry(), open_component("metric", "parameter-randomisation", registry=load_registry())
    means = {}
    for name in ("saliency", "edges", "center-prior"):
        done = score(
            metric, open_component("explainer", name, registry=registry), detector, pictures, FAKE, registry=registry
        )
        means[name] = [value(d, "parameter-randomisation") for d in done]
    assert means["edges"] == means["center-prior"] == [pytest.approx(1)] * 4
    assert max(means["saliency"]) < 0.2


def value(done: Done[Any], name: str) -> float:
    if done.error:
        raise done.error
    return float(next(s.value for s in done.value.values if s.name == name))


# ---- on ONNX --------------------------------------------------------------------------------------------------------


def write_graph(path: Path) -> Path:
    """Two convolutions, a mean and a linear layer for pictures of 12 x 16 pixels, node by node."""
    draw = np.random.default_rng(0)
    sizes = {"w1": (4, 3, 3, 3), "b1": (4,), "w2": (6, 4, 3, 3), "b2": (6,), "w3": (2, 6), "b3": (2,)}
    weights = [numpy_helper.from_array(draw.normal(0, 0.4, s).astype("f"), n) for n, s in sizes.items()]
    nodes = [
        helper.make_node("Conv", ["image", "w1", "b1"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Softplus", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "w2", "b2"], ["c"], strides=[2, 2]),
        helper.make_node("Softplus", ["c"], ["d"]),
        helper.make_node("GlobalAveragePool", ["d"], ["e"]),
        helper.make_node("Flatten", ["e"], ["f"]),
        helper.make_node("Gemm", ["f", "w3", "b3"], ["logits"], transB=1),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 12, 16])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 2])
    graph = helper.make_graph(nodes, "tiny", [image], [logits], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    card = 'size = [12, 16]\nclasses = ["real", "fake"]\nreal = "real"\nactivation = "logit"\n'
    path.with_suffix(".toml").write_text(card, encoding="utf-8")
    return path


def opened(path: Path) -> Any:
    model = OnnxModel(build_parameters(OnnxParameters, {"": str(path)}, "onnx"))
    return model.open(model.members()[0], Runtime())


def test_parameter_randomisation_of_an_onnx_file(tmp_path: Path) -> None:
    detector = opened(write_graph(tmp_path / "m.onnx"))
    assert len(detector.facts.layers) == 3, detector.facts.limits
    template = pictures_of(planted_samples(1), DifferentiablePatchDetector())[0]
    pictures = []
    for i in range(3):
        image = rand(3, 12, 16, seed=i)
        sample = replace(template.sample, id=f"s{i}")
        shown = replace(template, image=image, mask=None, landmarks=None, digest=digest_shown(image, None, None))
        pictures.append(replace(shown, sample=sample))
    registry = load_registry()
    metric = metric_use(make(ParameterRandomisation, absolute=False))
    maps = open_component("explainer", "input-x-gradient", registry=registry)
    before = detector.scores(torch.stack([p.image for p in pictures]))
    runs = [score(metric, maps, detector, pictures, 1) for _ in range(2)]
    for one, again in zip(*runs, strict=True):
        assert one.error is None and again.error is None and one.value == again.value
        assert one.passes == Passes(5, 5)
        found = {(s.name, s.item): s.value for s in one.value.values}  # type: ignore[union-attr]
        assert {item for name, item in found if name == "cascading"} == set(detector.facts.layers)
        assert found["parameter-randomisation", ""] < 0.95
        assert found["cascading", detector.facts.layers[-1]] == found["independent", detector.facts.layers[-1]]
    assert torch.equal(detector.scores(torch.stack([p.image for p in pictures])), before)


def test_each_cascading_step_keeps_what_the_last_one_drew(tmp_path: Path) -> None:
    detector = opened(write_graph(tmp_path / "m.onnx"))
    copies, streams = Copies(), Streams.of(0, 0, "m", "")
    steps = list(cascading_steps(detector.facts.layers, 10).values())
    states = [copies.get(detector, layers, streams).detector.network.module.state_dict() for layers in steps]  # type: ignore
    body, stem = ({n for n in b if not torch.equal(a[n], b[n])} for a, b in pairwise(states))
    assert len(body) == len(stem) == 2 and not body & stem  # weight and bias each; the head's stay as first drawn


# ---- the other class ------------------------------------------------------------------------------------------------


def test_the_other_class() -> None:
    generator = torch.Generator().manual_seed(0)
    assert other_class(0, 2, generator) == 1 and other_class(1, 2, generator) == 0
    for target in range(4):
        others = {0, 1, 2, 3} - {target}
        drawn = [other_class(target, 4, generator) for _ in range(300)]
        assert set(drawn) == others
        assert all(70 < drawn.count(c) < 130 for c in others)


@pytest.mark.parametrize(("absolute", "alike"), [(False, 0.8), (True, 0.8)])
def test_random_logit_by_hand(absolute: bool, alike: float) -> None:
    maps = [torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[1.0, 3.0], [2.0, 4.0]])]
    small = Scripted()
    small.facts = replace(small.facts, input_size=(2, 2))
    case = case_of(lambda _, target, __: maps[target], rand(3, 2, 2), detector=small)
    assert values_of(make(RandomLogit, absolute=absolute), case) == [pytest.approx(alike)]
    assert "7 x 7" in reason_of(make(RandomLogit, similarity="ssim"), case)
    query = PassQuery(sample=case.picture.sample, facts=small.facts, map=Passes(2, 3))
    assert make(RandomLogit).passes(query) == Passes(2, 3)


def test_random_logit_without_a_second_map() -> None:
    draw = lambda _, target, __: RISING if target else Explanation.none("nothing speaks for real")  # noqa: E731
    assert "nothing speaks" in reason_of(make(RandomLogit), case_of(draw, rand(3, *SIZE)))
    constant = case_of(lambda _, target, __: RISING * target, rand(3, *SIZE))
    assert "constant" in reason_of(make(RandomLogit), constant)


def test_of_one_logit_the_other_class_is_the_sign_alone() -> None:
    """What the number says of such detectors is how a method treats signs."""
    detector = LinearDetector(torch.randn(3, 16, 16, generator=torch.Generator().manual_seed(0)))
    template = pictures_of(planted_samples(1), DifferentiablePatchDetector())[0]
    image = rand(3, 16, 16)
    picture = replace(template, image=image, mask=None, landmarks=None, digest=digest_shown(image, None, None))
    registry = load_registry()
    for name, absolute, expected in (
        ("input-x-gradient", False, -1), ("input-x-gradient", True, 1), ("saliency", False, 1),
    ):  # fmt: skip
        metric = make(RandomLogit, absolute=absolute)
        (done,) = score(metric, open_component("explainer", name, registry=registry), detector, [picture], FAKE)
        assert value(done, "random-logit") == pytest.approx(expected, abs=1e-6)


def test_random_maps_of_two_classes_are_the_same_where_the_class_is_not_asked() -> None:
    detector = DifferentiablePatchDetector()
    pictures = pictures_of(planted_samples(1), detector)
    blind = drawn_by(lambda r: rand(*r.picture.image.shape[1:]), "blind")
    for done in score(make(RandomLogit), blind, detector, pictures, FAKE):
        assert value(done, "random-logit") == pytest.approx(1)
