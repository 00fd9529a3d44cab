"""The recipes cross-entropy, cyborg and cyborg-shuffled: losses, guides, the control."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

from xaibench.api import Parameters, PlanError, TrainingBatch, UsageError, build_parameters
from xaibench_testing import planted_samples
from xaibench_training.data import load
from xaibench_training.recipes.cams import class_activation_maps, guide_loss, min_max, shrink
from xaibench_training.recipes.cross_entropy import CrossEntropy
from xaibench_training.recipes.cyborg import Cyborg, CyborgParameters, CyborgShuffled, derangement


class ToyNetwork(nn.Module):
    """Two convolutions and a pooled head; counts its forward passes."""

    layers = ("norm",)
    last_convolution = "last"

    def __init__(self, channels=4):
        super().__init__()
        self.first = nn.Conv2d(3, 5, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(5)
        self.last = nn.Conv2d(5, channels, 3, stride=2, padding=1)
        self.head = nn.Linear(channels, 2)
        self.passes = 0

    def features(self, pictures):
        self.passes += 1
        return torch.relu(self.last(torch.relu(self.norm(self.first(pictures)))))

    def classify(self, features):
        return self.head(features.mean((2, 3)))

    def module(self):
        return self


@pytest.fixture
def network():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return ToyNetwork()


def batch(guides=None, guided=(True, True, False, True)):
    generator = torch.Generator().manual_seed(1)
    images = torch.rand((4, 3, 16, 16), generator=generator)
    drawn = torch.rand((4, 16, 16), generator=generator) if guides is None else guides
    return TrainingBatch(images=images, labels=torch.tensor([1, 0, 0, 1]), guides=drawn,
                         guided=torch.tensor(guided), ids=("a", "b", "c", "d"))  # fmt: skip


def cyborg(kind=Cyborg, **values):
    return kind(build_parameters(CyborgParameters, values, "cyborg"))


def own_maps(network, batch, class_rule="true"):
    features = network.features(batch.images)
    logits = network.classify(features)
    chosen = batch.labels if class_rule == "true" else logits.argmax(1)
    return class_activation_maps(features, network.head.weight[chosen]), logits


# ---- the mathematics ------------------------------------------------------------------------------------------------


def test_a_class_activation_map_is_the_weighted_sum():
    activation = torch.tensor([[[[1.0, 2], [3, 4]], [[1, 0], [0, 1]]]])
    assert class_activation_maps(activation, torch.tensor([[2.0, -1]])).tolist() == [[[1, 4], [6, 7]]]


def test_min_max_is_exact_and_leaves_stretched_maps_alone():
    maps = torch.tensor([[[-1.0, 0], [1, 3]], [[2, 2], [2, 2]]], requires_grad=True)
    found = min_max(maps)
    assert found.tolist() == [[[0, 0.25], [0.5, 1]], [[0, 0], [0, 0]]]
    assert torch.equal(min_max(found), found)
    found.sum().backward()
    assert bool(torch.isfinite(maps.grad).all())
    assert maps.grad[1].abs().max() == 0


def test_guides_are_averaged_over_areas():
    guide = torch.zeros(1, 4, 4)
    guide[0, :2, :2] = 1
    guide[0, 2, 2] = 1
    small, telling = shrink(guide, (2, 2))
    assert small.tolist() == [[[1, 0], [0, 0.25]]]
    assert telling.tolist() == [True]
    assert shrink(torch.ones(1, 4, 4), (2, 2))[1].tolist() == [False]


def test_unguided_pictures_take_no_part():
    maps = torch.tensor([[[0.0, 1], [0, 0]], [[0, 0], [1, 0]]])
    guides = torch.tensor([[[1.0, 0], [0, 0]], [[0, 0], [0, 0]]])
    assert guide_loss(maps, guides, torch.tensor([True, False])).item() == 0.5
    assert guide_loss(maps, guides, torch.tensor([True, True])).item() == 0.5  # a flat guide says nothing either
    assert guide_loss(maps, guides, torch.tensor([False, False])) is None


# ---- losses ---------------------------------------------------------------------------------------------------------


def test_cross_entropy_is_torchs(network):
    b = batch()
    loss = CrossEntropy(Parameters()).loss(network, b)
    _, logits = own_maps(network, b)
    expected = functional.cross_entropy(logits, b.labels)
    assert torch.equal(loss.total, expected)
    assert loss.parts == {"cross-entropy": expected.item()}


def test_cyborg_weighs_the_two_terms_of_one_forward_pass(network):
    b = batch()
    maps, logits = own_maps(network, b)
    entropy, guide = functional.cross_entropy(logits, b.labels), guide_loss(maps, b.guides, b.guided)
    network.passes = 0
    loss = cyborg(alpha=0.3).loss(network, b)
    assert network.passes == 1
    assert torch.allclose(loss.total, 0.3 * entropy + 0.7 * guide)
    assert loss.parts == pytest.approx({"cross-entropy": entropy.item(), "guide": guide.item()})
    loss.total.backward()
    assert network.head.weight.grad.abs().sum() > 0
    assert network.last.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("rule", ["true", "predicted"])
def test_a_guide_that_is_the_own_map_costs_nothing(network, rule):
    plain = batch()
    maps, logits = own_maps(network, plain, rule)
    assert logits.argmax(1).tolist() != plain.labels.tolist()
    large = functional.interpolate(min_max(maps).detach()[:, None], (16, 16), mode="nearest")[:, 0]
    loss = cyborg(class_rule=rule).loss(network, batch(large, (True,) * 4))
    assert loss.parts["guide"] <= 1e-12
    other = cyborg(class_rule="predicted" if rule == "true" else "true").loss(network, batch(large, (True,) * 4))
    assert other.parts["guide"] > 1e-3


def test_a_batch_without_guides_has_its_weighted_cross_entropy_alone(network):
    b = batch(guided=(False,) * 4)
    loss = cyborg(alpha=0.25).loss(network, b)
    assert torch.equal(loss.total, 0.25 * functional.cross_entropy(own_maps(network, b)[1], b.labels))
    assert set(loss.parts) == {"cross-entropy"}


def test_what_an_unguided_picture_has_in_its_guide_does_not_count(network):
    b = batch()
    other = b.guides.clone()
    other[2] = 1 - other[2]
    first, second = (cyborg().loss(network, batch(g)).total for g in (b.guides, other))
    assert torch.equal(first, second)


def test_the_map_can_be_that_of_the_last_convolution(network):
    b = batch()
    seen = network.last(torch.relu(network.norm(network.first(b.images))))
    maps = class_activation_maps(seen, network.head.weight[b.labels])
    loss = cyborg(layer="last-convolution").loss(network, b)
    assert loss.parts["guide"] == pytest.approx(guide_loss(maps, b.guides, b.guided).item(), rel=1e-6)
    network.last_convolution = "first"
    with pytest.raises(PlanError, match="has 5 channels, the pooled activation 4"):
        cyborg(layer="last-convolution").loss(network, b)


# ---- guides ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def pictures():
    data = planted_samples(5, size=(48, 48))
    return load(data, data.samples(), 32)[0]


def test_masks_guide_fakes_and_nobody_guides_real_pictures(pictures):
    found = cyborg().guides(pictures, torch.Generator())
    for picture, guide in zip(pictures, found, strict=True):
        assert (guide is None) == (picture.sample.label == "real")
        assert guide is None or torch.equal(guide, picture.mask.float())


def test_files_guide_the_samples_that_they_are_named_after(pictures, tmp_path):
    for folder in ("fake", "real"):
        (tmp_path / folder).mkdir()
    drawn = np.zeros((64, 64), np.uint8)
    drawn[:32, :32] = 200
    Image.fromarray(drawn).save(tmp_path / "fake" / "000.png")
    np.save(tmp_path / "real" / "001.npy", np.arange(4.0).reshape(2, 2))
    np.save(tmp_path / "real" / "002.npy", np.ones((2, 2)))
    found = cyborg(guide="files", path=str(tmp_path)).guides(pictures, torch.Generator())
    said = {p.sample.id: g for p, g in zip(pictures, found, strict=True) if g is not None}
    assert set(said) == {"fake/000", "real/001"}  # a constant array says nothing
    expected = torch.zeros(32, 32)
    expected[:16, :16] = 1
    assert torch.equal(said["fake/000"], expected)
    assert said["real/001"][::16, ::16].flatten().tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1])


def test_broken_and_missing_guide_files_are_refused(pictures, tmp_path):
    with pytest.raises(PlanError, match="does not exist"):
        cyborg(guide="files", path=str(tmp_path / "none")).guides(pictures, torch.Generator())
    with pytest.raises(UsageError, match="guide=files needs path"):
        cyborg(guide="files").guides(pictures, torch.Generator())
    with pytest.raises(UsageError, match="guide=maps needs model"):
        cyborg(guide="maps").guides(pictures, torch.Generator())
    (tmp_path / "fake").mkdir()
    np.save(tmp_path / "fake" / "000.npy", np.ones((2, 2, 2)))
    with pytest.raises(PlanError, match="no finite array"):
        cyborg(guide="files", path=str(tmp_path)).guides(pictures, torch.Generator())


def test_another_models_maps_guide_and_are_drawn_once(pictures, monkeypatch):
    from xaibench import load_registry, open_component, show_picture
    from xaibench.api import Runtime
    from xaibench_testing import explain, value
    from xaibench_training.recipes import guides as sources

    recipe = cyborg(guide="maps", model="demo", explainer="saliency", target="fake")
    found = recipe.guides(pictures, torch.Generator())
    registry = load_registry()
    demo = open_component("model", "demo", registry=registry).instance
    detector = demo.open(demo.members()[0], Runtime())
    shown = show_picture(pictures.dataset, pictures.samples[3], detector.facts)
    fake = 1 - detector.facts.real_class
    (done,) = explain(open_component("explainer", "saliency", registry=registry), detector, [shown], fake)
    assert found[3] is not None
    assert torch.equal(found[3], sources.fitted(value(done).map, pictures[3]))
    monkeypatch.setattr(sources, "map_guides", None)  # a second call draws nothing
    assert recipe.guides(pictures, torch.Generator()) is found


# ---- the control ----------------------------------------------------------------------------------------------------


def test_derangements_have_no_fixed_point_and_are_all_alike_likely():
    generator = torch.Generator().manual_seed(0)
    drawn = [tuple(derangement(4, generator).tolist()) for _ in range(1800)]
    counts = {d: drawn.count(d) for d in set(drawn)}
    assert set(counts) == {p for p in itertools.permutations(range(4)) if all(i != v for i, v in enumerate(p))}
    assert all(150 <= c <= 250 for c in counts.values())  # 9 of them, 200 each


def test_shuffled_guides_are_the_same_ones_on_other_pictures(tmp_path, pictures):
    for i in (0, 1, 2, 4):
        (tmp_path / "fake").mkdir(exist_ok=True)
        np.save(tmp_path / "fake" / f"{i:03d}.npy", np.eye(8) * np.arange(1, 9) + i * np.eye(8)[::-1])
    values = {"guide": "files", "path": str(tmp_path)}
    own = cyborg(**values).guides(pictures, torch.Generator())
    drawn = [cyborg(CyborgShuffled, **values).guides(pictures, torch.Generator().manual_seed(s)) for s in (1, 1, 2)]
    assert [g is None for g in drawn[0]] == [g is None for g in own]
    key = lambda guides: [None if g is None else g.numpy().tobytes() for g in guides]  # noqa: E731
    assert sorted(filter(None, key(drawn[0]))) == sorted(filter(None, key(own)))
    assert all(a != b for a, b in zip(key(drawn[0]), key(own), strict=True) if a)
    assert key(drawn[0]) == key(drawn[1])


def test_a_single_guide_cannot_be_shuffled(pictures, tmp_path):
    (tmp_path / "fake").mkdir()
    np.save(tmp_path / "fake" / "000.npy", np.eye(8))
    with pytest.raises(PlanError, match="one picture has a guide"):
        cyborg(CyborgShuffled, guide="files", path=str(tmp_path)).guides(pictures, torch.Generator())
