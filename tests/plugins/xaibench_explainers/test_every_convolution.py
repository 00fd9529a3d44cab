"""Grad-CAM++ over all convolutions: by hand, and beside a plain computation with module hooks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from propagating import Net, explain, explain_all, exported, image_of, make, map_of, scored
from torch import Tensor, nn
from torch.nn import functional as F

from xaibench.api import Passes
from xaibench_explainers.gradient.every_convolution import EveryConvolution, damped_gradcam_plus_plus, scaled
from xaibench_testing.planted import SIZE, AttentionDetector, DifferentiablePatchDetector, PatchDetector, Pattern

# two channels of a layer of 2x2 positions
A = torch.tensor([[[[1.0, 0.0], [2.0, 1.0]], [[0.0, 3.0], [1.0, 0.0]]]])
G = torch.tensor([[[[1.0, -1.0], [0.5, 1.5]], [[-2.0, 1.0], [0.0, -1.0]]]])


# ---- formulas -------------------------------------------------------------------------------------------------------


def test_the_damped_formula_by_hand() -> None:
    # sums of A: 4 and 4; g^3 / (2 g^2 + 4 g^3 + e) at g = 1, .5, 1.5 of the first channel and 1 of the second
    e = 1e-6
    w = torch.tensor([1 / (6 + e) + 0.125 / (1 + e) + 3.375 / (18 + e), 1 / (6 + e)])
    assert float(w[0]) == pytest.approx(23 / 48, abs=1e-6)
    torch.testing.assert_close(damped_gradcam_plus_plus(A, G)[0], w[0] * A[0, 0] + w[1] * A[0, 1])


def test_where_gradients_are_small_the_weight_is_their_cube() -> None:
    # g = 1e-4, activations that sum to 0: g^3 / (2 g^2 + 1e-6) = 1e-12 / 1.02e-6 at one of two positions
    activations, gradients = torch.tensor([[[[1.0, -1.0]]]]), torch.tensor([[[[1e-4, 0.0]]]])
    found = damped_gradcam_plus_plus(activations, gradients)
    torch.testing.assert_close(found, torch.tensor([[[1e-6 / 1.02, 0.0]]]))


def test_scaling_by_hand() -> None:
    maps = torch.tensor([[[1.0, 3.0], [2.0, 1.0]], [[7.0, 7.0], [7.0, 7.0]], [[0.0, 1e-7], [0.0, 0.0]]])
    expected = torch.tensor([[[0.0, 1.0], [0.5, 0.0]], [[0.0, 0.0], [0.0, 0.0]], [[0.0, 0.5], [0.0, 0.0]]])
    torch.testing.assert_close(scaled(maps), expected)


# ---- by hand --------------------------------------------------------------------------------------------------------

RED = torch.tensor([[1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
PICTURE = torch.stack([RED, torch.zeros(4, 4), torch.zeros(4, 4)])
PICKS_RED = nn.Parameter(torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1), requires_grad=False)
MEAN_OF_FOUR = nn.Parameter(torch.full((1, 1, 2, 2), 0.25), requires_grad=False)
ONE = nn.Parameter(torch.ones(1, 1, 1, 1), requires_grad=False)


def two_grids(images: Tensor) -> Tensor:
    """A convolution of 4x4 positions, one of 2x2: red, and the means of its quarters."""
    return F.conv2d(F.conv2d(images, PICKS_RED), MEAN_OF_FOUR, stride=2)


def test_two_grids_by_hand() -> None:
    # one channel a layer, so each map is the layer's output: red; and [[1, 0], [0, 1/4]], interpolated at places
    # u = 0, 1/4, 3/4, 1 between its two rows and columns. The mean is 1 at the first pixel and 0 at the last of its row
    net = scored(lambda images: two_grids(images).sum(dim=(1, 2, 3)), (4, 4))
    u = torch.tensor([0.0, 0.25, 0.75, 1.0])
    coarse = (1 - u)[:, None] * (1 - u) + 0.25 * u[:, None] * u
    expected = (RED + coarse) / 2
    assert expected[0].tolist() == [1, 0.875, 0.125, 0]
    assert float(expected[3, 3]) == 0.625
    found = explain(make(EveryConvolution, output="logit"), net, PICTURE)
    assert found.map is not None
    torch.testing.assert_close(found.map, expected, atol=1e-5, rtol=0)
    assert found.details == {"layers": 2}


def test_layers_that_have_nothing_to_show_add_nothing() -> None:
    def score(images: Tensor) -> Tensor:
        maps = two_grids(images)
        squeezed = F.conv2d(maps.mean(dim=(2, 3), keepdim=True), ONE)  # a single position
        F.conv2d(images, PICKS_RED)  # nothing depends on it
        widened = F.conv_transpose2d(maps, torch.ones(1, 1, 2, 2))  # no convolution in this sense
        return 4 * squeezed.flatten() + 0 * widened.sum(dim=(1, 2, 3))

    component = make(EveryConvolution, output="logit")
    plain = map_of(component, scored(lambda images: two_grids(images).sum(dim=(1, 2, 3)), (4, 4)), PICTURE)
    found = explain(component, scored(score, (4, 4)), PICTURE)
    assert found.map is not None
    assert found.details == {"layers": 4}
    torch.testing.assert_close(found.map, plain, atol=1e-5, rtol=0)


def test_filters_that_are_no_parameters_are_no_layers_and_standardised_weights_are() -> None:
    def score(images: Tensor) -> Tensor:
        fixed = F.conv2d(images, torch.ones(3, 1, 3, 3), padding=1, groups=3)  # another map, of a fixed filter
        standardised = (PICKS_RED - PICKS_RED.mean()).mul(0) + PICKS_RED
        maps = F.conv2d(F.conv2d(images, standardised), MEAN_OF_FOUR, stride=2)
        return maps.sum(dim=(1, 2, 3)) + 0.1 * fixed.sum(dim=(1, 2, 3))

    component = make(EveryConvolution, output="logit")
    plain = map_of(component, scored(lambda images: two_grids(images).sum(dim=(1, 2, 3)), (4, 4)), PICTURE)
    found = explain(component, scored(score, (4, 4)), PICTURE)
    assert found.details == {"layers": 2}
    assert found.map is not None
    torch.testing.assert_close(found.map, plain, atol=1e-5, rtol=0)


# ---- beside module hooks --------------------------------------------------------------------------------------------


def small_net(inplace: bool = False) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(inplace), nn.Conv2d(4, 5, 3, stride=2, groups=1), nn.ReLU(inplace),
            nn.Conv2d(5, 6, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 2),
        )  # fmt: skip


def by_hooks(model: nn.Module, image: Tensor, target: int) -> np.ndarray:
    """The published computation, layer by layer in numpy; interpolation by torch."""
    kept: list[Tensor] = []
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(lambda module, args, out: kept.append(out))
    probability = model(image[None]).softmax(dim=1)[0, target]
    gradients = torch.autograd.grad(probability, kept)
    maps = []
    for activation, gradient in zip(kept, gradients, strict=True):
        a, g = activation[0].detach().numpy(), gradient[0].numpy()
        drawn = np.zeros(a.shape[1:], np.float32)
        for channel, slopes in zip(a, g, strict=True):
            weight = 0.0
            for slope in slopes.flatten():
                if slope > 0:
                    weight += slope * slope**2 / (2 * slope**2 + channel.sum() * slope**3 + 1e-6)
            drawn += weight * channel
        drawn = np.maximum(drawn, 0)
        drawn = (drawn - drawn.min()) / (1e-7 + (drawn - drawn.min()).max())
        size = (image.shape[1], image.shape[2])
        maps.append(F.interpolate(torch.tensor(drawn)[None, None], size=size, mode="bilinear")[0, 0].numpy())
    mean = np.mean(maps, axis=0)
    return (mean - mean.min()) / (1e-7 + (mean - mean.min()).max())


@pytest.mark.parametrize("target", [0, 1])
@pytest.mark.parametrize("how", ["plain", "in-place", "exported"])
def test_it_is_the_published_computation_however_the_network_is_written(how: str, target: int) -> None:
    image = image_of(9, 14, seed=2)
    expected = by_hooks(small_net(), image, target)
    net = Net(exported(small_net(), (9, 14)) if how == "exported" else small_net(how == "in-place"), (9, 14))
    found = explain(make(EveryConvolution), net, image, target=target)
    assert found.map is not None
    np.testing.assert_allclose(found.map.numpy(), expected, atol=2e-5)
    assert found.details == {"layers": 3}


def test_pictures_do_not_depend_on_their_batch() -> None:
    net, images = Net(small_net(), (9, 14)), torch.stack([image_of(9, 14, seed=s) for s in range(3)])
    together = explain_all(make(EveryConvolution), net, images, batch=4)
    for done, image in zip(together, images, strict=True):
        assert done.value is not None
        assert done.value.map is not None
        assert torch.equal(done.value.map, map_of(make(EveryConvolution), net, image, batch=4))
        assert done.passes == Passes(forward=1, backward=1)


# ---- no explanation -------------------------------------------------------------------------------------------------


def test_a_saturated_probability_has_no_gradient_and_the_logit_has() -> None:
    net = scored(lambda images: 200 + two_grids(images).sum(dim=(1, 2, 3)), (4, 4))
    assert "speaks for the class" in explain(make(EveryConvolution), net, PICTURE).reason
    assert explain(make(EveryConvolution, output="logit"), net, PICTURE).status == "ok"


def test_networks_without_convolutions_or_out_of_sight_have_none() -> None:
    detector = AttentionDetector()
    dense = explain(make(EveryConvolution), detector, image_of(*detector.facts.input_size))
    assert "no two-dimensional convolution" in dense.reason
    hidden = Net(small_net(), (9, 14), gives=frozenset({"gradients"}))
    assert "gives no operations" in explain(make(EveryConvolution), hidden, image_of(9, 14)).reason


def test_activations_that_are_not_finite_have_none() -> None:
    net = scored(lambda images: two_grids(images / 0).sum(dim=(1, 2, 3)), (4, 4))
    assert "not finite" in explain(make(EveryConvolution, output="logit"), net, PICTURE).reason


@pytest.mark.parametrize("pattern", ["contrast", "brightness"])
def test_the_convolution_of_planted_detectors_changes_no_bit(pattern: Pattern) -> None:
    box, seen = PatchDetector(pattern=pattern), DifferentiablePatchDetector(pattern=pattern)
    images = torch.stack([image_of(*SIZE, seed=s) for s in range(5)])
    assert torch.equal(box.scores(images), seen.scores(images))
