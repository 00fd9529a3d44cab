"""Integrated gradients' baselines and their gap, and expected gradients, against closed forms and captum."""

from __future__ import annotations

import math
from dataclasses import replace
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

from xaibench.api import Passes, PassQuery, Picture
from xaibench_explainers.gradient.expected_gradients import (
    ExpectedGradients,
    References,
    draw_references,
    expected_gradients,
)
from xaibench_explainers.gradient.integrated_gradients import IntegratedGradients, integrated_gradients
from xaibench_perturbation import PICTURE_FILLS, Twin, fill, gaussian_blur
from xaibench_testing.planted import ConstantDetector

WEIGHTS = torch.randn(3, *SIZE, generator=torch.Generator().manual_seed(3))


def fake_logit(f: Any) -> Toy:
    return Toy(lambda x: x, lambda x: torch.stack([torch.zeros(len(x)), f(x)], dim=1))


def linear() -> Toy:
    return fake_logit(lambda x: (x * WEIGHTS).sum(dim=(1, 2, 3)))


def paired(image: Tensor, real: Tensor | None, label: str = "fake") -> Picture:
    picture = picture_of(image, label=label)
    other = None if real is None else picture_of(real, label="real", id="r")
    sample = replace(picture.sample, pair=None if real is None else "r")
    return replace(picture, sample=sample, counterpart=lambda: other)


# ---- integrated gradients -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("output", ["logit", "probability"])
def test_the_gap_is_recorded_and_small_at_the_default_steps(seed: int, output: Any) -> None:
    net, image = small_net(seed=seed), image_of(seed)
    done = explain(make(IntegratedGradients, output=output), net, image)
    found = map_of(done)
    ask = net.scores if output == "logit" else net.probabilities
    at_image, at_black = ask(torch.stack([image, torch.zeros_like(image)]))[:, 1].tolist()
    assert done.value is not None
    details = done.value.details
    assert details["output_change"] == pytest.approx(at_image - at_black, rel=1e-5)
    assert abs(float(found.double().sum()) - (at_image - at_black)) <= 1e-3 * abs(at_image - at_black)
    assert details["completeness_gap"] <= 1e-3
    assert done.passes == Passes(forward=52, backward=50)


def test_the_gap_by_hand() -> None:
    # f = s^3 for s = sum x: one midpoint gives 3 (s/2)^2 s = 3/4 s^3, a gap of a quarter
    net = fake_logit(lambda x: x.sum(dim=(1, 2, 3)) ** 3)
    done = explain(make(IntegratedGradients, steps=1, rule="midpoint"), net, image_of() / 100)
    assert done.value is not None
    assert done.value.details["completeness_gap"] == pytest.approx(0.25, rel=1e-4)


@pytest.mark.parametrize("kind", PICTURE_FILLS)
def test_the_baseline_is_the_shared_fill(kind: Any) -> None:
    image = image_of()
    found = map_of(explain(make(IntegratedGradients, baseline=kind, steps=2), linear(), image))
    torch.testing.assert_close(found, ((image - fill(image, kind)) * WEIGHTS).sum(dim=0), rtol=1e-4, atol=1e-6)


def test_a_colour_as_baseline() -> None:
    image, red = image_of(), torch.tensor([1.0, 0.25, 0.0])[:, None, None]
    found = map_of(explain(make(IntegratedGradients, baseline="colour", colour=[1, 0.25, 0], steps=2), linear(), image))
    torch.testing.assert_close(found, ((image - red) * WEIGHTS).sum(dim=0), rtol=1e-4, atol=1e-6)


def test_the_real_counterpart_as_baseline() -> None:
    component = make(IntegratedGradients, baseline="counterpart", steps=2)
    image, real = image_of(0), image_of(1)
    found = map_of(explain(component, linear(), image, picture=paired(image, real)))
    torch.testing.assert_close(found, ((image - real) * WEIGHTS).sum(dim=0), rtol=1e-4, atol=1e-6)
    assert component.needs == frozenset({"pair"})
    for picture, reason in (
        (paired(image, None), "no real counterpart"),
        (paired(image, real, "real"), "real pictures"),
    ):
        assert reason in reason_of(explain(component, linear(), image, picture=picture))
        assert reason in component.refuses(PassQuery(sample=picture.sample, facts=linear().facts))


def test_the_twin_as_baseline_is_the_shared_artefact() -> None:
    p = {"twin_mode": "strict", "twin_steps": 7}
    component = make(IntegratedGradients, baseline="twin", **p)
    assert component.artefacts == (Twin(mode="strict", steps=7),)
    assert make(IntegratedGradients).artefacts == ()
    assert make(IntegratedGradients).needs == frozenset()


def test_the_parameters_say_which_output() -> None:
    image = image_of() / 20
    p = float(small_net().probabilities(image[None])[0, 1])
    assert 0.01 < p < 0.99
    logit, probability = (
        map_of(explain(make(IntegratedGradients, output=o), small_net(), image)) for o in ("logit", "probability")
    )
    assert not torch.allclose(logit, probability, rtol=1e-2)


def test_a_detector_that_always_says_the_same_has_no_way() -> None:
    for cls in (IntegratedGradients, ExpectedGradients):
        assert "gradient is zero everywhere" in reason_of(explain(make(cls), ConstantDetector(0.7, SIZE), image_of()))


# ---- expected gradients ---------------------------------------------------------------------------------------------


def drawn(kind: Any, count: int = 200, seed: int = 0) -> References:
    return draw_references(kind, count, min(SIZE), torch.Generator().manual_seed(seed))


def test_references_are_colours_and_blurs() -> None:
    image, references = image_of(), drawn("mixture", 6)
    found = references.of(image, 0, 6)
    for i in range(6):
        colour = references.colours[i, :, None, None].expand_as(image)
        expected = gaussian_blur(image, float(references.sigmas[i])) if i % 2 else colour
        assert torch.equal(found[i], expected)
    assert not drawn("colours").sigmas.any()
    blurs = drawn("blurs").sigmas / min(SIZE)
    assert 0.01 <= float(blurs.min()) < 0.015
    assert 0.2 < float(blurs.max()) <= 0.25
    assert float(blurs.log().mean()) == pytest.approx(math.log(0.05), abs=0.3)  # sqrt(.01 * .25)


def test_positions_are_one_in_each_part_of_the_way() -> None:
    positions = drawn("mixture", 50).positions
    assert (positions * 50).floor().tolist() == list(range(50))


@pytest.mark.parametrize("kind", ["mixture", "colours", "blurs"])
def test_expected_gradients_of_a_linear_detector_are_exact(kind: Any) -> None:
    image = image_of()
    picture = picture_of(image)
    done = explain(make(ExpectedGradients, samples=70, references=kind), linear(), image)
    streams = request_of(linear(), picture).streams
    references = draw_references(kind, 70, min(SIZE), streams.torch("references")).of(image, 0, 70)
    torch.testing.assert_close(
        map_of(done), ((image - references.mean(dim=0)) * WEIGHTS).sum(dim=0), rtol=1e-4, atol=1e-5
    )
    assert done.passes == Passes(forward=70, backward=70)


def test_expected_gradients_of_a_quadratic_detector_within_four_standard_errors() -> None:
    # f = sum w x^2 / 2 and references of colour c: the expectation of (x - c) w (c + a (x - c)) over a in (0, 1) and
    # c in (0, 1) is w (x^2 - E c^2) / 2 = w (x^2 - 1/3) / 2 for every channel
    net = fake_logit(lambda x: (WEIGHTS * x.square()).sum(dim=(1, 2, 3)) / 2)
    image, references = image_of(), drawn("colours", 4000)
    found = run(net, lambda: expected_gradients(image, references, 1), 32).value
    expected = WEIGHTS * (image.square() - 1 / 3) / 2
    colours, a = references.colours[:, :, None, None], references.positions.float().view(-1, 1, 1, 1)
    terms = (image - colours) * WEIGHTS * (colours + a * (image - colours))
    error = (found - expected).abs() / (terms.std(dim=0) / 4000**0.5)
    assert float(error.max()) < 4


def test_expected_gradients_sum_to_the_change_from_the_mean_reference() -> None:
    net, image, references = small_net(), image_of(2), drawn("mixture", 4000)
    found = run(net, lambda: expected_gradients(image, references, 1), 32).value
    ends = net.scores(references.of(image, 0, 4000))[:, 1]
    change = float(net.scores(image[None])[0, 1] - ends.mean())
    assert float(found.sum()) == pytest.approx(change, abs=4 * float(ends.std()) / 4000**0.5)


def test_expected_gradients_from_one_reference_are_integrated_gradients() -> None:
    n, image = 33, image_of(2)
    black = References(torch.zeros(n, 3), torch.zeros(n), (torch.arange(n) + 0.5).double() / n)
    one = run(small_net(), lambda: expected_gradients(image, black, 1)).value
    other = run(small_net(), lambda: integrated_gradients(image, torch.zeros_like(image), 1, steps=n, rule="midpoint"))
    torch.testing.assert_close(one, other.value, rtol=1e-4, atol=1e-7)


def test_references_follow_the_seed_and_the_sample() -> None:
    component, image = make(ExpectedGradients, samples=8), image_of()
    one, again, other = (map_of(explain(component, small_net(), image, seed=s)) for s in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_path_gradients_that_are_not_finite_are_undefined() -> None:
    root = fake_logit(lambda x: (x - 9).sum(dim=(1, 2, 3)).sqrt())
    assert "not finite" in reason_of(explain(make(ExpectedGradients, samples=3), root, image_of()))


@pytest.mark.parity
@pytest.mark.parametrize("kind", ["colours", "blurs"])
def test_expected_gradients_are_captums_gradient_shap_on_the_same_draws(
    kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    attr = pytest.importorskip("captum.attr")
    import numpy as np

    n, net, image = 24, small_net(), image_of(4)
    references = drawn(kind, n)
    # captum draws which baseline and where on the way from numpy; without noise the picture stays as it is
    monkeypatch.setattr(np.random, "choice", lambda count, size: np.arange(n))
    monkeypatch.setattr(np.random, "uniform", lambda low, high, size: references.positions.numpy().astype("f4"))
    theirs = attr.GradientShap(net.logits).attribute(
        image[None], baselines=references.of(image, 0, n), n_samples=n, stdevs=0.0, target=1
    )
    found = run(net, lambda: expected_gradients(image, references, 1)).value
    torch.testing.assert_close(found, theirs[0].detach().float(), rtol=1e-3, atol=1e-7)
