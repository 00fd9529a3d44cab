"""Saliency, input x gradient, SmoothGrad and VarGrad against closed forms and captum."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from explainer_toys import (
    SIZE,
    Toy,
    explain,
    image_of,
    make,
    map_of,
    picture_of,
    reason_of,
    request_of,
    run,
    small_net,
)
from torch import Tensor

from xaibench.api import Passes
from xaibench_explainers.gradient.input_x_gradient import InputXGradient
from xaibench_explainers.gradient.pixels import over_channels
from xaibench_explainers.gradient.saliency import Saliency
from xaibench_explainers.gradient.smoothgrad import NoiseParameters, SmoothGrad, noisy_gradients
from xaibench_explainers.gradient.vargrad import VarGrad
from xaibench_testing.planted import ConstantDetector

EVERY = (Saliency, InputXGradient, SmoothGrad, VarGrad)
SAMPLES = 41
"""More than a chunk and no multiple of one."""


def fake_logit(f: Any) -> Toy:
    """A detector whose logits are 0 and ``f(images)``."""
    return Toy(lambda x: x, lambda x: torch.stack([torch.zeros(len(x)), f(x)], dim=1))


def weights(seed: int = 3) -> Tensor:
    return torch.randn(3, *SIZE, generator=torch.Generator().manual_seed(seed))


def linear() -> Toy:
    return fake_logit(lambda x: (x * weights()).sum(dim=(1, 2, 3)))


def quadratic() -> Toy:
    """``sum w x^2 / 2``: the gradient is ``w x``."""
    return fake_logit(lambda x: (weights() * x.square()).sum(dim=(1, 2, 3)) / 2)


def small(cls: Any, **values: Any) -> Any:
    return make(cls, **({"samples": SAMPLES} if cls in (SmoothGrad, VarGrad) else {}), **values)


# ---- closed forms ---------------------------------------------------------------------------------------------------


def test_the_channels_of_a_pixel_by_hand() -> None:
    gradient = torch.tensor([[[2.0, 0.0]], [[-3.0, 0.0]], [[6.0, -1.0]]])
    assert over_channels(gradient, "max").tolist() == [[6, 1]]
    assert over_channels(gradient, "sum-abs").tolist() == [[11, 1]]
    assert over_channels(gradient, "norm").tolist() == [[7, 1]]
    assert over_channels(-gradient, "max").tolist() == [[6, 1]]


def test_saliency_of_a_linear_detector_is_its_largest_weight() -> None:
    done = explain(make(Saliency), linear(), image_of())
    torch.testing.assert_close(map_of(done), weights().abs().amax(dim=0), rtol=0, atol=0)
    assert done.passes == Passes(forward=1, backward=1)
    summed = explain(make(Saliency, reduction="sum-abs"), linear(), image_of())
    torch.testing.assert_close(map_of(summed), weights().abs().sum(dim=0))


def test_saliency_of_the_probability_is_that_of_the_logit_times_p_times_one_minus_p() -> None:
    image = image_of()
    p = float(linear().probabilities(image[None])[0, 1])
    found = map_of(explain(make(Saliency, output="probability"), linear(), image))
    torch.testing.assert_close(found, p * (1 - p) * weights().abs().amax(dim=0), rtol=1e-4, atol=1e-9)


def test_input_x_gradient_of_a_linear_detector_sums_to_its_logit() -> None:
    image = image_of()
    found = map_of(explain(make(InputXGradient), linear(), image))
    torch.testing.assert_close(found, (weights() * image).sum(dim=0))
    assert float(found.min()) < 0
    assert float(found.sum()) == pytest.approx(float(linear().scores(image[None])[0, 1]), rel=1e-4)


def test_input_x_gradient_turns_its_sign_with_the_class() -> None:
    net = Toy(
        lambda x: x, lambda x: torch.stack([-(x * weights()).sum(dim=(1, 2, 3)), (x * weights()).sum(dim=(1, 2, 3))], 1)
    )
    fake, real = (map_of(explain(make(InputXGradient), net, image_of(), target=t)) for t in (1, 0))
    assert torch.equal(fake, -real)


def test_smoothgrad_of_a_linear_detector_is_saliency() -> None:
    done = explain(small(SmoothGrad), linear(), image_of())
    torch.testing.assert_close(map_of(done), weights().abs().amax(dim=0), rtol=1e-6, atol=0)
    assert done.passes == Passes(forward=SAMPLES, backward=SAMPLES)


def test_noise_on_a_quadratic_detector_within_four_standard_errors() -> None:
    # the gradient at x + s e is w x + w s e: mean w x, variance (w s)^2, whose estimate has a standard error of
    # sqrt(2/n) (w s)^2 and a bias of 1/n of it
    image, p = image_of(), NoiseParameters(samples=4000, level=0.15)
    spread = 0.15 * float(image.max() - image.min())
    found = run(quadratic(), lambda: noisy_gradients(image, 1, p, torch.Generator().manual_seed(0)), 32).value
    width = (weights() * spread).abs().double()
    error = (found.mean - weights() * image).abs() / (width / p.samples**0.5)
    assert float(error.max()) < 4
    error = (found.variance - width**2).abs() / (width**2 * (2 / p.samples) ** 0.5)
    assert float(error.max()) < 4.5  # the tail of chi-squared is heavier, over 432 values


def test_noise_is_drawn_for_each_sample_and_follows_the_seed() -> None:
    component, net = small(VarGrad), small_net()
    one, again, other = (map_of(explain(component, net, image_of(), seed=s)) for s in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    twin = map_of(explain(component, net, image_of(), picture=picture_of(image_of(), id="other")))
    assert not torch.equal(one, twin)


def test_more_noise_than_one_chunk_is_independent() -> None:
    # were chunks to repeat their noise, 64 samples would have the variance of 32 exactly
    image = image_of()
    found = [
        run(
            quadratic(),
            lambda n=n: noisy_gradients(image, 1, NoiseParameters(samples=n), torch.Generator().manual_seed(0)),
        )
        for n in (32, 64)
    ]
    assert not torch.allclose(found[0].value.variance, found[1].value.variance, rtol=1e-3)


# ---- awkward input --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", EVERY)
def test_a_detector_that_always_says_the_same_has_no_map(cls: Any) -> None:
    reason = reason_of(explain(small(cls), ConstantDetector(0.7, SIZE), image_of()))
    assert "gradient is zero everywhere" in reason if cls is not VarGrad else "variance is zero" in reason


@pytest.mark.parametrize("cls", EVERY)
def test_a_gradient_that_is_not_finite_is_no_map(cls: Any) -> None:
    root = fake_logit(lambda x: (x[:, 0] - 9).sum(dim=(1, 2)).sqrt())
    assert "not finite" in reason_of(explain(small(cls), root, image_of()))


def test_vargrad_of_a_linear_detector_is_undefined() -> None:
    assert "variance is zero" in reason_of(explain(small(VarGrad), linear(), image_of()))


def test_a_picture_of_one_colour_has_no_noise() -> None:
    flat, net = torch.full((3, *SIZE), 0.25), small_net()
    smooth = map_of(explain(small(SmoothGrad), net, flat))
    torch.testing.assert_close(smooth, map_of(explain(make(Saliency), net, flat)))
    assert "variance is zero" in reason_of(explain(small(VarGrad), net, flat))


def test_a_black_picture_has_no_input_to_multiply() -> None:
    black = torch.zeros(3, *SIZE)
    assert "not black" in reason_of(explain(make(InputXGradient), small_net(), black))
    assert float(map_of(explain(make(Saliency), small_net(), black)).max()) > 0


# ---- parity ---------------------------------------------------------------------------------------------------------


@pytest.mark.parity
@pytest.mark.parametrize("target", [0, 1])
@pytest.mark.parametrize("smooth", [True, False])
def test_saliency_and_input_x_gradient_are_captums(target: int, smooth: bool) -> None:
    attr = pytest.importorskip("captum.attr")
    net, image = small_net(smooth), image_of(4)
    leaf = image[None].clone().requires_grad_(True)
    theirs = attr.Saliency(net.logits).attribute(leaf, target)[0].amax(dim=0)
    torch.testing.assert_close(map_of(explain(make(Saliency), net, image, target=target)), theirs)
    theirs = attr.InputXGradient(net.logits).attribute(leaf, target)[0].sum(dim=0).detach()
    torch.testing.assert_close(map_of(explain(make(InputXGradient), net, image, target=target)), theirs)


@pytest.mark.parity
@pytest.mark.parametrize(("cls", "kind"), [(SmoothGrad, "smoothgrad"), (VarGrad, "vargrad")])
def test_noise_tunnels_are_captums_on_the_same_noise(cls: Any, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    attr = pytest.importorskip("captum.attr")
    net, image, n = small_net(), image_of(4), 24
    noise = torch.randn((n, *image.shape), generator=request_of(net, picture_of(image)).streams.torch("noise"))
    monkeypatch.setattr(torch, "normal", lambda mean, std: mean + std * noise)
    tunnel = attr.NoiseTunnel(attr.Saliency(net.logits))
    width = 0.15 * float(image.max() - image.min())
    theirs = tunnel.attribute(image[None].clone(), nt_type=kind, nt_samples=n, stdevs=width, target=1, abs=False)
    found = map_of(explain(make(cls, samples=n), net, image))
    torch.testing.assert_close(found, theirs[0].abs().amax(dim=0).float(), rtol=2e-4, atol=1e-9)
