"""LIME against ridge regressions solved by other means, and against the package of its authors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from coalition_toys import (
    SIZE,
    additive,
    explained,
    grid_world,
    image_of,
    make,
    map_of,
    picture_of,
    reason_of,
    record_values,
    run,
    weights_of,
)

from xaibench.api import Passes, PassQuery
from xaibench_explainers.perturbation.lime import Lime, lime_design, lime_kernel, weighted_ridge
from xaibench_explainers.perturbation.regions import every_coalition
from xaibench_perturbation import Coalitions, Switch, grid_segments, per_segment_mean

WEIGHTS = torch.tensor([0.30, -0.10, 0.05, 0.20, 0.0, 0.12])


def ridge_by_least_squares(members: np.ndarray, scores: np.ndarray, width: float = 0.25, alpha: float = 1.0) -> Any:
    """The same optimum by other means: the penalty as S further observations, the intercept as a column."""
    ones = np.ones(members.shape[1])
    norms = np.linalg.norm(members, axis=1) * np.linalg.norm(ones)
    cosine = np.divide(members @ ones, norms, out=np.zeros(len(members)), where=norms > 0)
    root = np.sqrt(np.sqrt(np.exp(-((1 - cosine) ** 2) / width**2)))
    rows = np.hstack([members, np.ones((len(members), 1))]) * root[:, None]
    penalty = np.hstack([np.sqrt(alpha) * np.eye(members.shape[1]), np.zeros((members.shape[1], 1))])
    targets = np.concatenate([scores * root, np.zeros(members.shape[1])])
    return np.linalg.lstsq(np.vstack([rows, penalty]), targets, rcond=None)[0][:-1]


# ---- the regression -------------------------------------------------------------------------------------------------


def test_ridge_of_one_segment_by_hand() -> None:
    # x = y = +-1/2 after centring: slope (1/2) / (1/2 + 1) = 1/3, intercept 1/2 - 1/6, residuals +-1/3
    found = weighted_ridge(torch.tensor([[1.0], [0.0]]), torch.tensor([1.0, 0.0]), torch.ones(2).double(), 1.0)
    assert found.weights.tolist() == pytest.approx([1 / 3])
    assert float(found.intercept) == pytest.approx(1 / 3)
    assert float(found.r2) == pytest.approx(5 / 9)


def test_ridge_is_batched() -> None:
    generator = torch.Generator().manual_seed(0)
    members = torch.randint(0, 2, (3, 40, 5), generator=generator).float()
    scores, kernel = torch.rand(3, 40, generator=generator), torch.rand(3, 40, generator=generator).double()
    whole = weighted_ridge(members, scores, kernel, 0.7)
    for i in range(3):
        one = weighted_ridge(members[i], scores[i], kernel[i], 0.7)
        torch.testing.assert_close(one.weights, whole.weights[i])
        torch.testing.assert_close(one.intercept, whole.intercept[i])
        torch.testing.assert_close(one.r2, whole.r2[i])


def test_kernel_by_hand() -> None:
    members = torch.tensor([[1.0, 1, 1, 1], [1, 0, 0, 0], [0, 0, 0, 0]])
    expected = [1, math.sqrt(math.exp(-(0.5**2) / 0.25**2)), math.exp(-8)]  # d = 0, 1 - 1/2, 1
    assert lime_kernel(members, 0.25).tolist() == pytest.approx(expected)


def test_design_starts_with_the_picture_and_tosses_coins() -> None:
    members = lime_design(4000, 10, torch.Generator().manual_seed(0))
    assert members[0].tolist() == [1] * 10
    assert set(members.unique().tolist()) == {0, 1}
    assert float((members.mean(dim=0) - 0.5).abs().max()) < 4 * 0.5 / 4000**0.5


# ---- the component --------------------------------------------------------------------------------------------------


def test_sampled_lime_is_the_ridge_of_its_own_design_and_not_the_weights() -> None:
    detector = grid_world(additive(WEIGHTS, 0.1), 6)
    component = make(Lime, segments="grid", count=6, samples=50, fill="black")
    done = run(component, detector, detector.image)
    design = detector.design(50)
    expected = ridge_by_least_squares(design, design @ WEIGHTS.double().numpy() + 0.1)
    np.testing.assert_allclose(weights_of(done).numpy(), expected, atol=1e-6)
    assert design[0].tolist() == [1] * 6
    assert np.abs(expected - WEIGHTS.numpy()).max() > 0.01
    assert done.passes == Passes(forward=50)


def test_lime_of_every_coalition_is_the_ridge_of_the_full_design() -> None:
    detector = grid_world(additive(WEIGHTS, 0.1), 6)
    done = run(make(Lime, segments="grid", count=6, fill="black"), detector, detector.image)
    full = np.array([[i >> j & 1 for j in range(6)] for i in range(64)], dtype=float)
    expected = ridge_by_least_squares(full, full @ WEIGHTS.double().numpy() + 0.1)
    np.testing.assert_allclose(weights_of(done).numpy(), expected, atol=1e-6)
    assert np.abs(expected - WEIGHTS.numpy()).max() > 0.01
    assert done.passes == Passes(forward=64)
    assert set(map(tuple, detector.design(64))) == set(map(tuple, full))


def test_the_map_paints_the_weights_and_the_details_tell_the_fit() -> None:
    detector = grid_world(additive(WEIGHTS, 0.1), 6)
    done = run(make(Lime, segments="grid", count=6, fill="black", alpha=1e-6), detector, detector.image)
    expected = weights_of(done)[detector.labels]  # maps are kept in half precision
    torch.testing.assert_close(map_of(done), expected, atol=2e-4, rtol=1e-3)
    torch.testing.assert_close(weights_of(done), WEIGHTS, atol=1e-5, rtol=0)  # hardly a penalty: an exact fit
    assert explained(done).details["r2"] == pytest.approx(1, abs=1e-6)


def test_the_other_class_weighs_the_opposite() -> None:
    detector = grid_world(additive(WEIGHTS, 0.1), 6)
    component = make(Lime, segments="grid", count=6, fill="black")
    fake, real = (weights_of(run(component, detector, detector.image, target=t)) for t in (1, 0))
    torch.testing.assert_close(fake, -real, atol=1e-6, rtol=0)
    assert fake.argmax() == 0 and fake.argmin() == 1


@pytest.mark.parametrize("output", ["probability", "logit", "double-softmax"])
def test_output_is_what_is_regressed(output: str) -> None:
    detector = grid_world(additive(WEIGHTS, 0.1), 6)
    component = make(Lime, segments="grid", count=6, fill="black", output=output)
    found = weights_of(run(component, detector, detector.image))
    p = every_coalition(6).numpy() @ WEIGHTS.numpy() + 0.1
    scores = np.exp(p) / (np.exp(p) + np.exp(1 - p)) if output == "double-softmax" else p
    np.testing.assert_allclose(found.numpy(), ridge_by_least_squares(every_coalition(6).numpy(), scores), atol=1e-6)


def test_segments_that_are_off_have_their_mean_colour() -> None:
    labels, image = grid_segments(*SIZE, 4), image_of(3)
    shown: list[torch.Tensor] = []
    detector = grid_world(additive(torch.tensor([0.1, 0.2, 0.3, 0.1]), 0.1), 4, seed=3)
    inner = detector.probabilities
    detector.probabilities = lambda images: (shown.append(images.clone()), inner(images))[1]  # type: ignore[method-assign]
    run(make(Lime, segments="grid", count=4), detector, image)
    means = per_segment_mean(image, labels).float()[:, labels]
    torch.testing.assert_close(torch.cat(shown)[0], means)
    torch.testing.assert_close(torch.cat(shown)[15], image)


@pytest.mark.parametrize(("game", "why"), [
    (lambda members: members[:, 0] * 0 + 0.3, "the same whatever"),
    (lambda members: members[:, 0] / 0.0, "not finite"),
])  # fmt: skip
def test_scores_that_say_nothing_give_no_explanation(game: Any, why: str) -> None:
    detector = grid_world(game, 6)
    assert why in reason_of(run(make(Lime, segments="grid", count=6), detector, detector.image))


def test_a_picture_of_one_segment_has_no_explanation_and_costs_nothing() -> None:
    detector = grid_world(additive(torch.tensor([0.1, 0.2])), 2, (1, 2))
    one_pixel = detector.image[:, :, :1]
    done = run(make(Lime, segments="grid", count=2), detector, one_pixel)
    assert "single segment" in reason_of(done)
    assert done.passes == Passes()


def test_without_a_counterpart_the_fill_is_refused_beforehand() -> None:
    detector = grid_world(additive(WEIGHTS), 6)
    component = make(Lime, segments="grid", count=6, fill="counterpart")
    query = PassQuery(sample=picture_of(detector.image, "real").sample, facts=detector.facts)
    assert "no real counterpart" in component.refuses(query)
    assert component.needs == {"pair"}


def test_passes_are_known_where_the_segments_are() -> None:
    query = PassQuery(sample=picture_of(image_of()).sample, facts=grid_world(additive(WEIGHTS), 6).facts)
    assert make(Lime, segments="grid", count=9).passes(query) == Passes(forward=512)
    assert make(Lime, segments="grid", count=16).passes(query) == Passes(forward=2000)
    assert make(Lime).passes(query) == Passes(forward=2000, exact=False)
    assert make(Lime, exhaustive=False).passes(query) == Passes(forward=2000)


def test_published_lime_scores_exactly_2000_pictures_however_few_the_segments() -> None:
    detector = grid_world(additive(torch.full((144,), 0.005), 0.1), 144)
    component = make(Lime, **record_values("lime-t24"))
    done = run(component, detector, detector.image)
    assert len(weights_of(done)) < 50
    assert done.passes == Passes(forward=2000)
    assert component.passes(PassQuery(sample=picture_of(detector.image).sample, facts=detector.facts)) == done.passes


# ---- parity ---------------------------------------------------------------------------------------------------------


@pytest.mark.parity
def test_the_fit_is_lime_bases() -> None:
    lime_base = pytest.importorskip("lime.lime_base")
    metrics = pytest.importorskip("sklearn.metrics")
    members = lime_design(300, 20, torch.Generator().manual_seed(2))
    members[7] = 0  # lime's distance of a picture with nothing on it is 1
    scores = torch.rand(300, 2, generator=torch.Generator().manual_seed(3)).double()
    distances = metrics.pairwise_distances(members.numpy(), members[:1].numpy(), metric="cosine").ravel()
    base = lime_base.LimeBase(lambda d: np.sqrt(np.exp(-(d**2) / 0.25**2)))
    intercept, pairs, r2, _ = base.explain_instance_with_data(members.numpy(), scores.numpy(), distances, 1, 100000)
    found = weighted_ridge(members, scores[:, 1], lime_kernel(members, 0.25), 1.0)
    expected = [weight for _, weight in sorted(pairs, key=lambda pair: int(pair[0]))]
    np.testing.assert_allclose(found.weights.numpy(), expected, atol=1e-7)  # lime's distances are float32
    assert float(found.intercept) == pytest.approx(intercept, abs=1e-7)
    assert float(found.r2) == pytest.approx(r2, abs=1e-7)


@pytest.mark.parity
def test_pictures_and_weights_are_lime_images_on_its_own_coalitions() -> None:
    lime_image = pytest.importorskip("lime.lime_image")
    image, labels = image_of(4).double(), grid_segments(*SIZE, 9)
    shown, answers = [], []

    def classify(images: np.ndarray) -> np.ndarray:
        p = 1 / (1 + np.exp(-40 * (images.std(axis=(1, 2, 3)) - 0.2) - 5 * images[:, 2, 2, 0]))
        shown.append(images.copy())
        answers.append(p)
        return np.stack([1 - p, p], axis=1)

    explainer = lime_image.LimeImageExplainer(random_state=np.random.RandomState(5))
    theirs = explainer.explain_instance(
        image.permute(1, 2, 0).numpy(), classify, labels=(1,), top_labels=None, num_samples=40, random_seed=0,
        segmentation_fn=lambda _: labels.numpy(),
    )  # fmt: skip
    members = np.random.RandomState(5).randint(0, 2, 40 * 9).reshape(40, 9)  # as it draws them
    members[0] = 1
    design = torch.from_numpy(members).float()
    means = per_segment_mean(image, labels)[:, labels]
    ours = Switch(image, means)(Coalitions(design, labels).render(0, 40).double())
    np.testing.assert_allclose(ours.permute(0, 2, 3, 1).numpy(), np.concatenate(shown), atol=1e-12)
    scores = torch.from_numpy(np.concatenate(answers))
    found = weighted_ridge(design, scores, lime_kernel(design, 0.25), 1.0).weights
    np.testing.assert_allclose(found.numpy(), [weight for _, weight in sorted(theirs.local_exp[1])], atol=1e-7)
