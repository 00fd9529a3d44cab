"""Turning the whitened channels to patches of the face: solvers, gradients, patch pictures, and the recipe."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from xaibench.api import Network, PlanError, TrainingBatch, UsageError, build_parameters
from xaibench_training.whitening.change import apply, whitening_layer
from xaibench_training.whitening.concepts import (
    Activation,
    axis_activation,
    axis_gradient,
    patch_pictures,
)
from xaibench_training.whitening.layer import Whitening as Layer
from xaibench_training.whitening.recipe import Whitening, WhiteningParameters
from xaibench_training.whitening.rotation import attained, cayley, procrustes, turned_towards

DOUBLE = torch.float64


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def orthogonal(d: int, seed: int) -> Tensor:
    q, r = torch.linalg.qr(gaussian(d, d, seed))
    return q * r.diagonal().sign()


def gaussian(rows: int, columns: int, seed: int) -> Tensor:
    return torch.randn(rows, columns, generator=seeded(seed), dtype=DOUBLE)


def off_orthogonal(rotation: Tensor) -> float:
    return float((rotation.double() @ rotation.double().mT - torch.eye(len(rotation))).abs().max())


# ---- rotation ---------------------------------------------------------------------------------------------------


def dense_cayley(rotation: Tensor, gradient: Tensor) -> Tensor:
    """The search as the specification prints it, on C x C matrices."""
    c = len(rotation)
    g, identity = torch.zeros(c, c, dtype=DOUBLE), torch.eye(c, dtype=DOUBLE)
    g[: len(gradient)] = gradient
    for _ in range(2):
        a = g @ rotation.T - rotation @ g.T
        t, low, high, slope = 1000.0, 0.0, 1e8, -0.5 * a.square().sum()
        for _ in range(500):
            inverse = torch.linalg.inv(identity + t / 2 * a)
            y = inverse @ (identity - t / 2 * a) @ rotation
            if (g * y).sum() > (g * rotation).sum() + 1e-4 * t * slope:
                high = t
            elif -torch.trace(g.T @ inverse @ a @ (rotation + y) / 2) < 0.9 * slope:
                low = t
            else:
                break
            t = (low + high) / 2
        rotation = y
    return rotation


@pytest.mark.parametrize(("channels", "concepts"), [(16, 3), (12, 5), (6, 5), (4, 4), (7, 1)])
def test_the_small_search_is_the_published_one(channels: int, concepts: int) -> None:
    rotation, gradient = orthogonal(channels, 1), gaussian(concepts, channels, 2)
    for _ in range(4):
        expected = dense_cayley(rotation, gradient)
        rotation = cayley(rotation, gradient)
        torch.testing.assert_close(rotation, expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize(("channels", "concepts"), [(16, 3), (64, 9)])
def test_cayley_climbs_to_the_nuclear_norm(channels: int, concepts: int) -> None:
    rotation, gradient = torch.eye(channels, dtype=DOUBLE), gaussian(concepts, channels, 0)
    reached = []
    for _ in range(30):
        rotation = turned_towards(rotation, gradient, "cayley")
        reached.append(attained(rotation, gradient))
    assert all(a <= b + 1e-9 for a, b in pairwise(reached))
    assert 0.995 <= reached[-1] <= 1 + 1e-9
    assert off_orthogonal(rotation) < 1e-12


@pytest.mark.parametrize(("channels", "concepts"), [(16, 3), (64, 9), (5, 5), (3, 1)])
def test_procrustes_is_the_optimum(channels: int, concepts: int) -> None:
    rotation, gradient = orthogonal(channels, 1), gaussian(concepts, channels, 2)
    solved = procrustes(rotation, gradient)
    best = float(torch.linalg.svdvals(gradient).sum())
    assert -float((solved[:concepts] * gradient).sum()) == pytest.approx(best, rel=1e-12)
    assert off_orthogonal(solved) < 1e-12


def test_procrustes_by_hand() -> None:
    """One concept that wants the direction -G / |G| = (0, 1, 0); the third axis, free and at right angles, stays."""
    solved = procrustes(torch.eye(3, dtype=DOUBLE), torch.tensor([[0.0, -2.0, 0.0]], dtype=DOUBLE))
    assert solved[0].tolist() == pytest.approx([0, 1, 0], abs=1e-12)
    assert solved[2].tolist() == pytest.approx([0, 0, 1], abs=1e-12)


def test_procrustes_agrees_with_scipy_where_every_axis_is_a_concept() -> None:
    linalg = pytest.importorskip("scipy.linalg")
    gradient = gaussian(6, 6, 4)
    expected = linalg.orthogonal_procrustes(torch.eye(6).numpy(), -gradient.numpy())[0]
    torch.testing.assert_close(procrustes(orthogonal(6, 1), gradient), torch.from_numpy(expected))


def test_concepts_that_want_the_same_direction_still_give_a_rotation() -> None:
    gradient = gaussian(1, 8, 0).repeat(3, 1)
    assert off_orthogonal(procrustes(torch.eye(8, dtype=DOUBLE), gradient)) < 1e-12
    assert off_orthogonal(turned_towards(torch.eye(8), torch.zeros(3, 8), "procrustes")) < 1e-6


def test_no_gradient_leaves_the_rotation_of_cayley_as_it_is() -> None:
    rotation = orthogonal(8, 1)
    torch.testing.assert_close(turned_towards(rotation, torch.zeros(3, 8), "cayley"), rotation, rtol=0, atol=1e-12)


@pytest.mark.parametrize("solver", ["cayley", "procrustes"])
def test_the_rotation_stays_orthogonal_through_a_thousand_updates(solver: str) -> None:
    rotation, stream = torch.eye(12), seeded(0)
    for _ in range(1000):
        rotation = turned_towards(rotation, torch.randn(4, 12, generator=stream), solver)  # type: ignore[arg-type]
    assert rotation.dtype == torch.float32
    assert off_orthogonal(rotation) < 1e-6


# ---- concepts ---------------------------------------------------------------------------------------------------

KINDS: tuple[Activation, ...] = ("mean", "max", "pool-max", "pos-mean")


def derivative(whitened: Tensor, rotation: Tensor, axis: int, kind: Activation) -> Tensor:
    """By autograd, through an activation written down independently."""
    row = rotation[axis].clone().requires_grad_(True)
    y = torch.einsum("c,nchw->nhw", row, whitened)
    if kind == "mean":
        pooled = y.mean((1, 2))
    elif kind == "max":
        pooled = y.flatten(1).max(1).values
    elif kind == "pool-max":
        pooled = nn.functional.max_pool2d(y[:, None], 3).mean((1, 2, 3))
    else:
        pooled = torch.stack([p[p > 0].mean() for p in y])
    return torch.autograd.grad(pooled.mean(), row)[0]


@pytest.mark.parametrize("kind", KINDS)
def test_the_correct_mask_is_the_derivative_and_the_published_one_is_not(kind: Activation) -> None:
    whitened = torch.randn(5, 6, 7, 7, generator=seeded(1), dtype=DOUBLE)
    rotation = orthogonal(6, 2)
    true = derivative(whitened, rotation, 3, kind)
    correct = axis_gradient(whitened, rotation, 3, kind)
    published = axis_gradient(whitened, rotation, 3, kind, "published")
    torch.testing.assert_close(correct, true)
    assert float(torch.cosine_similarity(correct, true, dim=0)) == pytest.approx(1.0, abs=1e-12)
    # component j agrees; the others are taken where another channel is great, unless every position counts
    assert float(published[3]) == pytest.approx(float(true[3]))
    likeness = float(torch.cosine_similarity(published, true, dim=0))
    assert likeness == pytest.approx(1.0) if kind == "mean" else likeness < 0.9


@pytest.mark.parametrize(
    ("kind", "expected"), [("mean", 1.0), ("max", 8.0), ("pool-max", (8 + 2) / 2), ("pos-mean", (8 + 2) / 2)]
)
def test_activations_by_hand(kind: Activation, expected: float) -> None:
    y = torch.tensor([[8.0, 0, 0, 2, 0, 0, 0], [0] * 7, [0] * 7])
    y[2, 1] = -3
    assert float(axis_activation(y[None, None], kind)[0]) == pytest.approx(expected if kind != "mean" else 7 / 21)


def test_no_position_above_zero_counts_nothing() -> None:
    y = -torch.ones(2, 1, 3, 3)
    assert axis_activation(y, "pos-mean").tolist() == [0.0]
    assert axis_gradient(torch.ones(2, 1, 3, 3), -torch.eye(1), 0, "pos-mean").tolist() == [0.0]


def test_equal_maxima_share_and_small_grids_are_one_window() -> None:
    whitened = torch.tensor([[[[1.0, 1.0]], [[4.0, 6.0]]]])  # axis 0 is level, so that both positions are greatest
    assert axis_gradient(whitened, torch.eye(2), 0, "max").tolist() == [1.0, 5.0]
    assert axis_activation(whitened, "pool-max").tolist() == [1.0, 6.0]


def test_patch_pictures_show_their_patch_only() -> None:
    x = torch.rand(2, 3, 7, 10, generator=seeded(0))
    before, colour = x.clone(), torch.tensor([0.2, 0.4, 0.6])
    shown = patch_pictures(x, 5, 3, colour)  # column 1, row 2: rows 4 to 6, columns 3 to 5
    assert torch.equal(shown[:, :, 4:7, 3:6], x[:, :, 4:7, 3:6])
    inside = torch.zeros(7, 10, dtype=torch.bool)
    inside[4:7, 3:6] = True
    assert torch.equal(shown[:, :, ~inside], colour[:, None].expand(2, 3, 70 - 9))
    assert torch.equal(x, before)


@pytest.mark.parametrize("side", [1, 3, 4, 7])
def test_patches_tile_the_picture(side: int) -> None:
    x = torch.ones(1, 3, 7, 10)
    total = sum(patch_pictures(x, p, side, torch.zeros(3)) for p in range(side**2))
    assert isinstance(total, Tensor) and torch.equal(total, x)


def test_the_published_grid_is_cut_where_it_was() -> None:
    shown = patch_pictures(torch.ones(1, 3, 256, 256), 13, 10, torch.zeros(3))[0, 0]  # column 1, row 3
    rows, columns = shown.nonzero(as_tuple=True)
    assert (rows.min(), rows.max() + 1, columns.min(), columns.max() + 1) == (int(76.8), int(102.4), 25, int(51.2))


def test_a_grid_finer_than_the_picture_is_refused() -> None:
    with pytest.raises(UsageError, match="no 8 x 8 patches"):
        patch_pictures(torch.ones(1, 3, 7, 10), 0, 8, torch.zeros(3))


# ---- the change and the recipe ----------------------------------------------------------------------------------


class Toy(nn.Module):
    """Two convolutions with normalisations, mean pool, two logits."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            self.body = nn.Sequential(
                nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
                nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(inplace=True),
            )  # fmt: skip
            self.head = nn.Linear(16, 2)
        self.register_buffer("mean", torch.tensor([0.5, 0.4, 0.3]).reshape(3, 1, 1))
        self.layers = ("body.1", "body.4")
        self.last_convolution = "body.3"

    def features(self, pictures: Tensor) -> Tensor:
        output: Tensor = self.body(pictures - self.mean)
        return output

    def classify(self, features: Tensor) -> Tensor:
        output: Tensor = self.head(features.mean((2, 3)))
        return output

    def module(self) -> nn.Module:
        return self


def batch(seed: int, n: int = 6) -> TrainingBatch:
    images = torch.rand(n, 3, 8, 8, generator=seeded(seed))
    return TrainingBatch(
        images=images,
        labels=torch.arange(n) % 2,
        guides=torch.zeros(n, 8, 8),
        guided=torch.zeros(n, dtype=torch.bool),
        ids=tuple(map(str, range(n))),
    )


def recipe(**parameters: object) -> Whitening:
    return Whitening(build_parameters(WhiteningParameters, parameters, "whitening"))


def train(made: Whitening, network: Network, steps: range) -> list[dict[str, float]]:
    optimiser = torch.optim.SGD(network.module().parameters(), lr=0.05)
    figures = []
    for step in steps:
        loss = made.loss(network, batch(step))
        optimiser.zero_grad()
        loss.total.backward()
        optimiser.step()
        figures.append(dict(made.after_step(network, batch(step), step, seeded(0))))
    return figures


def test_apply_replaces_the_last_normalisation_or_the_named_one() -> None:
    network = apply(Toy(), group_size=4)
    assert isinstance(network.module().get_submodule("body.4"), Layer)
    assert isinstance(network.module().get_submodule("body.1"), nn.BatchNorm2d)
    assert whitening_layer(network, "").group_size == 4
    other = apply(Toy().eval(), layer="body.1", iterations=3, momentum=0.5, statistics="published", epsilon=0.1)
    layer = whitening_layer(other, "body.1")
    assert (layer.channels, layer.iterations, layer.momentum, layer.epsilon) == (8, 3, 0.5, 0.1)
    assert (layer.statistics, layer.training) == ("published", False)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"layer": "body.0"}, "no normalisation 'body.0'"),
        ({"iterations": 0}, "iterations=0 is wrong"),
        ({"groups": 4}, "no parameter 'groups'"),
    ],
)
def test_apply_refuses_in_words(parameters: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words) as stop:
        apply(Toy(), **parameters)
    assert stop.value.mend


def test_a_layer_without_channels_or_whitening_is_refused() -> None:
    network = Toy()
    network.layers = ("body.2",)
    with pytest.raises(UsageError, match="names no channels"):
        apply(network)
    network.layers = ()
    with pytest.raises(UsageError, match="has no normalisation to"):
        apply(network)
    with pytest.raises(UsageError, match="not a whitening layer"):
        whitening_layer(Toy(), "")


def test_too_many_patches_and_an_unknown_colour_are_refused_before_training() -> None:
    with pytest.raises(UsageError, match="25 patches need as many channels, the layer has 16") as stop:
        recipe(patches=5).prepare(Toy(), seeded(0))
    assert stop.value.mend.startswith("set patches=4")
    nameless = [Toy() for _ in range(3)]
    for network in nameless:
        del network.mean
    with pytest.raises(PlanError, match="which colour"):
        recipe(patches=2).prepare(nameless[0], seeded(0))
    recipe(patches=2, colour=[0.5, 0.5, 0.5]).prepare(nameless[1], seeded(0))
    recipe(patches=0).prepare(nameless[2], seeded(0))


def test_the_loss_is_cross_entropy() -> None:
    network = recipe(patches=2).prepare(Toy(), seeded(0))
    loss = recipe().loss(network, batch(0))
    logits = network.classify(network.features(batch(0).images))
    assert torch.equal(loss.total, nn.functional.cross_entropy(logits, batch(0).labels))


def test_decorrelation_alone_never_turns() -> None:
    made = recipe(patches=0, period=1)
    network = made.prepare(Toy(), seeded(0))
    assert train(made, network, range(1, 4)) == [{}] * 3
    assert torch.equal(whitening_layer(network, "").rotation, torch.eye(16))
    assert made.state() == {}


@pytest.mark.parametrize("solver", ["cayley", "procrustes"])
def test_the_rotation_turns_every_period_and_leaves_the_rest(solver: str) -> None:
    made = recipe(patches=2, period=3, solver=solver)
    network = made.prepare(Toy(), seeded(0))
    assert [bool(f) for f in train(made, network, range(1, 8))] == [False, False, True, False, False, True, False]
    before = {k: v.clone() for k, v in network.module().state_dict().items()}
    given = batch(9)
    kept = given.images.clone()
    figures = made.after_step(network, given, 9, seeded(0))
    changed = {k for k, v in network.module().state_dict().items() if not torch.equal(v, before[k])}
    assert changed == {"body.4.rotation"}
    assert torch.equal(given.images, kept)
    assert all(m.training for m in network.module().modules())
    assert off_orthogonal(whitening_layer(network, "").rotation) < 1e-5
    assert solver == "cayley" or figures["attained"] == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("solver", ["cayley", "procrustes"])
@pytest.mark.parametrize("kind", KINDS)
def test_turning_on_one_batch_raises_the_alignment(solver: str, kind: Activation) -> None:
    """Nothing but R changes between the calls; for the mean, linear in R, the best is reached."""
    made = recipe(patches=3, period=1, solver=solver, activation=kind)
    network = made.prepare(Toy(), seeded(0))
    network.features(batch(1).images)
    figures = [made.after_step(network, batch(1), step, seeded(0)) for step in range(1, 12)]
    assert figures[-1]["alignment"] > figures[0]["alignment"] + 0.05
    assert figures[-1]["attained"] <= 1 + 1e-6
    if kind == "mean":
        nuclear = float(torch.linalg.svdvals(made.state()["gradient"]).sum())
        assert figures[-1]["alignment"] == pytest.approx(nuclear / 9, rel=0.01)


def test_the_running_gradient_is_nearly_the_newest() -> None:
    made = recipe(patches=2, period=1, activation="mean")
    network = made.prepare(Toy(), seeded(0))
    network.features(batch(1).images)
    made.after_step(network, batch(1), 1, seeded(0))
    first = made.state()["gradient"]
    made.after_step(network, batch(1), 2, seeded(0))  # the gradient of the mean does not depend on R
    torch.testing.assert_close(first / 0.9 * (0.9 + 0.1 * 0.9), made.state()["gradient"], rtol=1e-4, atol=1e-6)


def test_resuming_goes_on_to_the_byte() -> None:
    straight, network = recipe(patches=2, period=2), Toy()
    whole = straight.prepare(network, seeded(0))
    train(straight, whole, range(1, 9))
    first = recipe(patches=2, period=2)
    half = first.prepare(Toy(), seeded(0))
    train(first, half, range(1, 5))
    second = recipe(patches=2, period=2)
    rest = second.prepare(Toy(seed=7), seeded(0))
    rest.module().load_state_dict(half.module().state_dict())
    second.restore(first.state())
    train(second, rest, range(5, 9))
    expected = whole.module().state_dict()
    assert all(torch.equal(v, expected[k]) for k, v in rest.module().state_dict().items())
    assert torch.equal(second.state()["gradient"], straight.state()["gradient"])


def test_a_trained_member_is_built_again_from_what_the_recipe_changed() -> None:
    made = recipe(patches=2, period=1, group_size=8, iterations=7, statistics="published")
    network = made.prepare(Toy(), seeded(0))
    train(made, network, range(1, 4))
    (change,) = made.changes()
    assert change["kind"] == "whitening"
    again = apply(Toy(seed=3), **{k: v for k, v in change.items() if k != "kind"})
    again.module().load_state_dict(network.module().state_dict())
    x = batch(5).images
    again.module().eval()
    network.module().eval()
    assert torch.equal(again.classify(again.features(x)), network.classify(network.features(x)))
