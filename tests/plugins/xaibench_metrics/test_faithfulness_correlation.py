"""Correlation and masking measures: numbers worked out by hand, independent recomputation, other libraries."""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from statistics import fmean
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

from xaibench import hold_component
from xaibench.api import (
    ArtefactQuery,
    Done,
    Explanation,
    Facts,
    MapCase,
    Native,
    Passes,
    PassQuery,
    Picture,
    Sample,
    Score,
    Scores,
    Streams,
    UsageError,
    build_parameters,
    parameter_class,
)
from xaibench.detector.engine import ProbeEngine
from xaibench_metrics.faithfulness.average_drop import AverageDrop, average_drop, average_gain, mask_of, rest
from xaibench_metrics.faithfulness.changes import blocks_of, pearson, random_subsets, spearman, subset_size
from xaibench_metrics.faithfulness.correlation import (
    FaithfulnessCorrelation,
    FaithfulnessEstimate,
    MuFidelity,
    SensitivityN,
)
from xaibench_metrics.faithfulness.infidelity import (
    Infidelity,
    effects,
    infidelity,
    normalised_infidelity,
    random_squares,
    with_noise,
)
from xaibench_metrics.faithfulness.monotonicity import Monotonicity, MonotonicityCorrelation
from xaibench_metrics.faithfulness.records import FAITHFULNESS
from xaibench_testing.checks.metrics import EVIDENCE, INVERTED, RANDOM
from xaibench_testing.harness import drawn_by, score
from xaibench_testing.planted import FAKE
from xaibench_testing.worlds import planted_evidence, planted_world

SIZE = (10, 10)


class Linear:
    """Logits ``(-z, z)`` with z the sum of weights times pixels over all channels, plus a bias."""

    device = torch.device("cpu")

    def __init__(self, weights: Tensor, bias: float = 0.0) -> None:
        self.weights, self.bias = weights.double(), bias
        size = (weights.shape[0], weights.shape[1])
        self.facts = Facts(name="linear", classes=("real", "fake"), real_class=0, input_size=size, digest="linear")

    def scores(self, images: Tensor) -> Tensor:
        z = (images.double().sum(dim=1) * self.weights).sum(dim=(1, 2)) + self.bias
        return torch.stack([-z, z], dim=1).float()

    def probabilities(self, images: Tensor) -> Tensor:
        return self.scores(images).softmax(dim=1)


class Net(Linear):
    """A smooth network that sees the red channel alone, so that it is a network of one channel too."""

    def __init__(self) -> None:
        super().__init__(torch.zeros(SIZE))
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Softplus(), nn.Flatten(), nn.Linear(256, 2)).eval()

    @torch.no_grad()
    def scores(self, images: Tensor) -> Tensor:
        return self.model(images[:, :1])  # type: ignore[no-any-return]


class Patch(Linear):
    """P(fake) is 0.9 while the four pixels in the middle of a 4 x 4 picture are all white, else 0.1."""

    def __init__(self) -> None:
        super().__init__(torch.zeros(4, 4))

    def probabilities(self, images: Tensor) -> Tensor:
        fake = torch.where(images[:, :, 1:3, 1:3].amin(dim=(1, 2, 3)) > 0.999, 0.9, 0.1)
        return torch.stack([1 - fake, fake], dim=1)


class Direct:
    """Artefacts that are made anew every time."""

    def __init__(self, detector: Any) -> None:
        self.detector = detector

    def get(self, artefact: Any, picture: Picture) -> Any:
        streams = Streams.of(0, 0, f"{artefact.kind} {artefact.parameters()}", picture.digest)
        made = artefact.make(ArtefactQuery(detector=self.detector, picture=picture, streams=streams, artefacts=self))
        return (yield from made) if inspect.isgenerator(made) else made


def case_of(saliency: Tensor, detector: Any, image: Tensor | None = None, *, target: int = 1) -> MapCase:
    image = torch.ones(3, *saliency.shape) if image is None else image
    picture = Picture(
        sample=Sample(id="s", label="fake", group="g"), image=image, mask=None, landmarks=None, digest="s",
        native=lambda: Native(np.zeros((1, 1, 3), np.uint8)), counterpart=lambda: None,
    )  # fmt: skip
    return MapCase(
        detector=detector, picture=picture, explainer="e", explanation=Explanation(map=saliency), target=target,
        clean=detector.probabilities(image[None].expand(8, -1, -1, -1).contiguous())[0],
        streams=Streams.of(0, 0, "m", "s"), artefacts=Direct(detector), explain=None,  # type: ignore[arg-type]
    )  # fmt: skip


def make(cls: Any, **values: Any) -> Any:
    return cls(build_parameters(parameter_class(cls), values, "x"))


def run(metric: Any, case: MapCase) -> Done[Scores]:
    done: Done[Scores] = ProbeEngine(case.detector, 8).run_one(lambda: metric.score(case))
    if done.error:
        raise done.error
    return done


def all_of(metric: Any, case: MapCase) -> dict[tuple[str, str], Score]:
    scores = run(metric, case).value
    assert scores is not None
    return {(s.name, s.item): s for s in scores.values}


def value_of(metric: Any, case: MapCase, name: str = "") -> float:
    found = all_of(metric, case)[(name or metric.scores[0].name, "")]
    assert found.status == "ok", found.reason
    assert found.value is not None
    return found.value


def uniform(seed: int, *shape: int) -> Tensor:
    return torch.rand(shape or SIZE, generator=torch.Generator().manual_seed(seed))


RED = torch.tensor([1.0, 0.0, 0.0])[:, None, None]
"""Pictures of red alone, for libraries that take one channel."""

CORRELATIONS = {
    "sensitivity-n": partial(make, SensitivityN, shares=[0.05, 0.3], subsets=20),
    "faithfulness-correlation": partial(make, FaithfulnessCorrelation, share=0.1, subsets=20),
    "faithfulness-estimate": partial(make, FaithfulnessEstimate, blocks=20),
    "mufidelity": partial(make, MuFidelity, cells=3, subsets=30),
    "monotonicity-correlation": partial(make, MonotonicityCorrelation, blocks=10, draws=4),
}


# ---- building blocks ------------------------------------------------------------------------------------------------


def test_correlations_by_hand() -> None:
    a, d = torch.tensor([4.0, 3.0, 2.0, 1.0]), torch.tensor([2.0, 3.0, 1.0, 0.0])
    # centred: (1.5 .5 -.5 -1.5) and (.5 1.5 -.5 -1.5): 4 / sqrt(5 * 5)
    assert pearson(a, d) == pytest.approx(0.8, abs=1e-12)
    assert spearman(a, d**3) == pytest.approx(0.8, abs=1e-12)  # ranks are the values again
    # ranks (1.5 1.5 3 4) and (1 2 3 4): centred (-1 -1 .5 1.5) and (-1.5 -.5 .5 1.5): 4.5 / sqrt(4.5 * 5)
    assert spearman(torch.tensor([7.0, 7.0, 8.0, 9.0]), torch.arange(4.0)) == pytest.approx(math.sqrt(0.9), abs=1e-12)
    assert pearson(a, torch.ones(4)) is None
    assert spearman(torch.ones(4), d) is None
    assert pearson(a.double() * 1e30, d.double() * 1e-30) == pytest.approx(0.8, abs=1e-12)


def test_random_subsets_have_their_size_and_meet_every_pixel_alike() -> None:
    subsets = random_subsets(2000, 10, 3, torch.Generator().manual_seed(0))
    assert set(subsets.sum(dim=1).tolist()) == {3}
    shares = subsets.double().mean(dim=0)
    assert float((shares - 0.3).abs().max()) < 4 * math.sqrt(0.3 * 0.7 / 2000)
    assert [subset_size(s, 100) for s in (0.001, 0.25, 0.999)] == [1, 25, 99]


def test_blocks_are_the_pixels_in_order_each_once() -> None:
    saliency = torch.tensor([[1.0, 5.0, 3.0], [3.0, 2.0, 4.0], [0.0, 0.0, 9.0]])
    blocks = blocks_of(saliency, 4)  # ends at 0 2 4 6 9
    assert [saliency.flatten()[b].tolist() for b in blocks] == [[5, 9], [3, 4], [3, 2], [1, 0, 0]]
    assert torch.equal(blocks.sum(dim=0), torch.ones(9, dtype=torch.int64))
    assert len(blocks_of(saliency, 50)) == 9


# ---- correlations ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sensitivity-n", "faithfulness-correlation", "faithfulness-estimate", "mufidelity"])
def test_the_exact_attribution_of_a_linear_detector_scores_one(name: str) -> None:
    weights, image = uniform(0) - 0.5, uniform(1, 3, *SIZE)
    attribution = weights * image.sum(dim=0)  # of each pixel's removal to black, exactly
    metric = CORRELATIONS[name](fill="black")
    assert value_of(metric, case_of(attribution, Linear(weights), image)) == pytest.approx(1, abs=1e-6)
    assert value_of(metric, case_of(-attribution, Linear(weights), image)) == pytest.approx(-1, abs=1e-6)
    assert value_of(metric, case_of(-attribution, Linear(weights), image, target=0)) == pytest.approx(1, abs=1e-6)


def test_faithfulness_estimate_by_hand() -> None:
    # white on black, so each pixel's drop is three times its weight: 6 9 3 0; a centred as in test_correlations_by_hand
    detector = Linear(torch.tensor([[2.0, 3.0], [1.0, 0.0]]))
    case = case_of(torch.tensor([[4.0, 3.0], [2.0, 1.0]]), detector)
    metric = make(FaithfulnessEstimate, blocks=4, fill="black")
    assert value_of(metric, case) == pytest.approx(0.8, abs=1e-6)
    assert run(metric, case).passes == Passes(forward=4 + 1) == metric.passes(_query(case))
    assert metric.passes(replace(_query(case), few_ties=False)) == Passes(forward=3 * 4 + 1, exact=False)


def test_sensitivity_n_equals_an_independent_computation() -> None:
    net, image, saliency = Net(), uniform(3, 3, *SIZE), uniform(4)
    case = case_of(saliency, net, image)
    metric = make(SensitivityN, shares=[0.04, 0.5], subsets=30)
    mean = image.mean(dim=(1, 2))
    expected = []
    for share, n in (("0.04", 4), ("0.5", 50)):
        subsets = random_subsets(30, 100, n, case.streams.torch(f"subsets {share}"))
        sums, drops = [], []
        for subset in subsets:
            changed = image.clone()
            for i in range(100):
                if subset[i]:
                    changed[:, i // 10, i % 10] = mean
            sums.append(sum(float(saliency.flatten()[i]) for i in range(100) if subset[i]))
            drops.append(float(net.scores(image[None])[0, 1] - net.scores(changed[None])[0, 1]))
        expected.append(np.corrcoef(sums, drops)[0, 1])
    found = all_of(metric, case)
    assert list(found) == [("sensitivity-n", ""), ("sensitivity-at", "0.04"), ("sensitivity-at", "0.5")]
    values = [s.value for s in found.values()]
    assert values == pytest.approx([fmean(expected), *expected], abs=1e-4)
    assert run(metric, case).passes == Passes(forward=2 * 30 + 1) == metric.passes(_query(case))


def test_a_size_without_correlation_leaves_the_mean_undefined() -> None:
    one = torch.zeros(SIZE)
    one[4, 4] = 1  # three sets of one pixel miss it
    found = all_of(make(SensitivityN, shares=[0.01, 0.5], subsets=3), case_of(one, Net(), uniform(3, 3, *SIZE)))
    assert [s.status for s in found.values()] == ["undefined", "undefined", "ok"]
    assert found["sensitivity-n", ""].reason.startswith("at 0.01 of the pixels: the map gives every set")


def test_sizes_must_differ() -> None:
    with pytest.raises(UsageError, match="two shares are equal"):
        make(SensitivityN, shares=[0.1, 0.1])


@pytest.mark.parametrize("correlation", ["spearman", "pearson"])
def test_mufidelity_equals_an_independent_computation(correlation: str) -> None:
    # xplique needs TensorFlow; this is its definition once more: nearest cells, black, ranks
    net, image, saliency = Net(), uniform(5, 3, *SIZE), uniform(6) - 0.3
    case = case_of(saliency, net, image)
    metric = make(MuFidelity, cells=3, off=0.3, subsets=40, correlation=correlation)
    off = (torch.rand((40, 9), generator=case.streams.torch("cells")) < 0.3).numpy().reshape(40, 3, 3)
    sums, drops = [], []
    for cells in off:
        mask = np.array([[cells[i * 3 // 10, j * 3 // 10] for j in range(10)] for i in range(10)])
        changed = torch.from_numpy(np.where(mask, 0, image.numpy()).astype(np.float32))
        sums.append(saliency.double().numpy()[mask].sum())
        drops.append(float(net.scores(image[None])[0, 1] - net.scores(changed[None])[0, 1]))
    expected = spearmanr(sums, drops).statistic if correlation == "spearman" else np.corrcoef(sums, drops)[0, 1]
    assert value_of(metric, case) == pytest.approx(float(expected), abs=1e-4)


def test_monotonicity_correlation_equals_an_independent_computation() -> None:
    net, image, saliency = Net(), uniform(5, 3, *SIZE), uniform(6) - 0.5
    case = case_of(saliency, net, image)
    noise = torch.rand((3, 3, *SIZE), generator=case.streams.torch("noise"))
    order = np.argsort(-saliency.abs().flatten().numpy(), kind="stable").reshape(20, 5)
    p = float(net.probabilities(image[None])[0, 1])
    sizes, moved = [], []
    for block in order:
        changes = []
        for draw in noise:
            changed = image.clone()
            for i in block:
                changed[:, i // 10, i % 10] = draw[:, i // 10, i % 10]
            changes.append((float(net.probabilities(changed[None])[0, 1]) - p) ** 2 / p**2)
        sizes.append(float(saliency.abs().flatten()[block].sum()))
        moved.append(fmean(changes))
    metric = make(MonotonicityCorrelation, blocks=20, draws=3)
    assert value_of(metric, case) == pytest.approx(float(spearmanr(sizes, moved).statistic), abs=1e-9)
    assert run(metric, case).passes == Passes(forward=60) == metric.passes(_query(case))


@pytest.mark.parametrize("name", CORRELATIONS)
def test_correlations_do_not_change_with_scale(name: str) -> None:
    saliency, image = uniform(4), uniform(3, 3, *SIZE)
    metric = CORRELATIONS[name]()
    expected = value_of(metric, case_of(saliency, Net(), image))
    assert value_of(metric, case_of(saliency * 1024, Net(), image)) == expected


@pytest.mark.parametrize("name", CORRELATIONS)
def test_correlations_say_why_they_are_undefined(name: str) -> None:
    metric, image = CORRELATIONS[name](), uniform(3, 3, *SIZE)
    constant = run(metric, case_of(torch.full(SIZE, 0.3), Net(), image))
    assert constant.passes == Passes()
    silent = run(metric, case_of(uniform(4), Linear(torch.zeros(SIZE), 0.7), image))
    for done, reason in ((constant, "the map is constant"), (silent, "the output is the same")):
        assert done.value is not None
        for found in done.value.values:
            if found.name != "tied-share":
                assert (found.status, found.value) == ("undefined", None)
                assert reason in found.reason


def test_probabilities_are_watched_without_a_pass_for_the_clean_picture() -> None:
    case = case_of(uniform(4), Net(), uniform(3, 3, *SIZE))
    logit, probability = (make(FaithfulnessEstimate, blocks=10, output=o) for o in ("logit", "probability"))
    assert run(logit, case).passes == Passes(forward=11)
    assert run(probability, case).passes == Passes(forward=10) == probability.passes(_query(case))
    assert value_of(logit, case) != value_of(probability, case)


def _query(case: MapCase) -> PassQuery:
    return PassQuery(sample=case.picture.sample, facts=case.detector.facts, few_ties=True)


# ---- monotonicity ---------------------------------------------------------------------------------------------------


def test_monotonicity_by_hand() -> None:
    # pixels come in the order of |a|: weights 1, -1, 2, 3; the second step falls
    detector = Linear(torch.tensor([[1.0, -1.0], [2.0, 3.0]]) / 10)
    saliency = torch.tensor([[0.1, -0.2], [-0.3, 0.4]])
    metric = make(Monotonicity, steps=4, fill="black")
    found = run(metric, case_of(saliency, detector))
    assert found.value is not None
    assert [s.value for s in found.value.values] == [0.75, 0.0, 0.0, 0.0]  # no ties
    # z after each step is three times the weights so far: 0, .3, 0, .6, 1.5; P(fake) = sigmoid(2 z)
    z = np.array([0, 0.3, 0, 0.6, 1.5])
    assert found.value.curves[0].y == pytest.approx(1 / (1 + np.exp(-2 * z)), abs=1e-6)
    assert found.value.curves[0].x == pytest.approx([0, 0.25, 0.5, 0.75, 1])
    assert found.passes == Passes(forward=4)
    rising = run(metric, case_of(saliency, Linear(detector.weights.abs()))).value
    assert rising is not None
    assert [s.value for s in rising.values[:2]] == [1.0, 1.0]
    # two steps hide the fall within the first: sums -> 0 after two pixels, 5 after four
    assert value_of(make(Monotonicity, steps=2, fill="black"), case_of(saliency, detector)) == 1.0


def test_monotonicity_is_undefined_where_nothing_changes_or_nothing_is_ordered() -> None:
    metric = make(Monotonicity, fill="black")
    silent = all_of(metric, case_of(uniform(4), Linear(torch.zeros(SIZE), 0.7)))
    assert {s.reason for (name, _), s in silent.items() if name != "tied-share"} == {
        "the output is the same whatever is shown"
    }
    signs = torch.where(uniform(4) < 0.5, -1.0, 1.0)  # of one size
    assert {s.status for s in all_of(metric, case_of(signs, Net())).values()} == {"undefined"}


# ---- infidelity -----------------------------------------------------------------------------------------------------


def test_infidelity_by_hand() -> None:
    predicted, drops = torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0])
    assert infidelity(predicted, drops) == pytest.approx((0 + 4) / 2)
    # beta = (1 + 8) / 5 = 1.8: errors .8 and -.4
    assert normalised_infidelity(predicted, drops) == pytest.approx((0.64 + 0.16) / 2)
    assert normalised_infidelity(predicted * -1e20, drops) == pytest.approx(0.4)
    assert normalised_infidelity(torch.zeros(2), drops) is None
    # channels add up: (1 + 2 + 3) * 5 + (1 + 1 + 1) * 7
    perturbation = torch.tensor([[[1.0, 1.0]], [[2.0, 1.0]], [[3.0, 1.0]]])[None]
    assert effects(perturbation, torch.tensor([[5.0, 7.0]])).tolist() == [51.0]


@pytest.mark.parametrize("perturbation", ["square", "noise"])
def test_the_gradient_of_a_linear_detector_has_no_infidelity(perturbation: str) -> None:
    weights, image = uniform(0) - 0.5, uniform(1, 3, *SIZE)
    metric = make(Infidelity, perturbation=perturbation, samples=70)

    def both(saliency: Tensor) -> list[float | None]:
        return [s.value for s in all_of(metric, case_of(saliency, Linear(weights), image)).values()]

    assert both(weights) == pytest.approx([0, 0], abs=1e-9)
    twice, upside_down = both(2 * weights), both(-weights)
    assert twice[0] == pytest.approx(0, abs=1e-9)
    assert upside_down[0] == pytest.approx(0, abs=1e-9)
    # 2 w predicts d too much and -w 2 d too little
    assert twice[1] is not None
    assert upside_down[1] == pytest.approx(4 * twice[1], rel=1e-4)
    zero = all_of(metric, case_of(torch.zeros(SIZE), Linear(weights), image))
    assert zero["infidelity", ""].value == pytest.approx(twice[1], rel=1e-4)
    assert "predicts no change" in zero["infidelity-normalised", ""].reason


def test_squares_lie_within_the_picture_and_anywhere() -> None:
    squares = random_squares(3000, (4, 5), 3, torch.Generator().manual_seed(0))
    assert set(squares.sum(dim=(1, 2)).tolist()) == {9}
    corners = squares.flatten(1).double().argmax(dim=1)  # first pixel of each
    shares = torch.bincount(corners, minlength=20).double() / 3000
    assert set(shares.nonzero()[:, 0].tolist()) == {0, 1, 2, 5, 6, 7}
    assert float((shares[[0, 1, 2, 5, 6, 7]] - 1 / 6).abs().max()) < 4 * math.sqrt(5 / 36 / 3000)


@pytest.mark.parity
@pytest.mark.parametrize("perturbation", ["square", "noise"])
@pytest.mark.parametrize("normalise", [True, False])
def test_infidelity_equals_captum(perturbation: str, normalise: bool) -> None:
    captum = pytest.importorskip("captum.metrics")
    net, image, saliency = Net(), uniform(3, 3, *SIZE), uniform(4) - 0.4
    case = case_of(saliency, net, image)
    generator = case.streams.torch("perturbations")
    if perturbation == "noise":
        noises = (torch.randn((n, *image.shape), generator=generator) for n in (64, 16))
        pictures = torch.cat([with_noise(image, noise, 0.2) for noise in noises])
    else:
        squares = torch.cat([random_squares(n, SIZE, 4, generator) for n in (64, 16)])
        pictures = torch.where(squares[:, None], torch.full_like(image, 0.5), image)
    expected = captum.infidelity(
        net.scores, lambda x: (x - pictures, pictures), image[None], saliency.expand(1, 3, -1, -1), target=1,
        n_perturb_samples=80, normalize=normalise,
    )  # fmt: skip
    metric = make(Infidelity, perturbation=perturbation, samples=80, side=0.4, fill="grey")
    name = "infidelity-normalised" if normalise else "infidelity"
    assert value_of(metric, case, name) == pytest.approx(float(expected[0]), rel=1e-4)


# ---- average drop ---------------------------------------------------------------------------------------------------


def test_average_drop_by_hand() -> None:
    middle = torch.zeros(4, 4)
    middle[1:3, 1:3] = 1
    metric = make(AverageDrop)

    def found(saliency: Tensor, target: int = 1, metric: Any = metric) -> list[float | None]:
        return [s.value for s in all_of(metric, case_of(saliency, Patch(), target=target)).values()]

    assert found(middle) == [0, 0, 0]  # the middle shows: p' = p = .9
    assert found(1 - middle) == pytest.approx([0.8 / 0.9, 0, 0], abs=1e-6)  # it is black: p' = .1
    assert found(1 - middle, target=0) == pytest.approx([0, 1, 0.8 / 0.9], abs=1e-6)  # P(real) from .1 to .9
    signed = make(AverageDrop, values="signed")
    assert found(-middle) == [0, 0, 0]  # |a|
    assert found(-middle, metric=signed) == pytest.approx([0.8 / 0.9, 0, 0], abs=1e-6)
    assert found(1 - middle, metric=make(AverageDrop, fill="white")) == [0, 0, 0]
    assert run(metric, case_of(middle, Patch())).passes == Passes(forward=1)


def test_average_drop_formulas() -> None:
    assert average_drop(0.8, 0.2) == pytest.approx(0.75)
    assert average_gain(0.2, 0.1) == pytest.approx(0.5)
    assert average_drop(0.0, 0.5) == average_gain(0.0, 0.5) == average_drop(0.0, 0.0) == 0
    assert average_drop(1.0, 0.0) <= 1
    saliency = torch.tensor([[-3.0, 1.0], [2.0, 0.0]])
    assert mask_of(saliency, "absolute").flatten().tolist() == pytest.approx([1, 1 / 3, 2 / 3, 0])
    assert mask_of(saliency, "signed").flatten().tolist() == pytest.approx([0, 0.8, 1, 0.6])


def test_average_gain_keeps_its_digits_where_p_is_almost_1() -> None:
    """P(fake) of the picture is 1 - 4e-9 and of the masked one 1 - 1e-9: both are 1 in float32."""

    class Sure(Patch):
        def probabilities(self, images: Tensor) -> Tensor:
            real = images.mean((1, 2, 3)) * 4e-9
            return torch.stack((real, 1 - real), 1)

    quarter = torch.zeros(4, 4)
    quarter[:2, :2] = 1
    values = all_of(make(AverageDrop), case_of(quarter, Sure(), torch.ones(3, 4, 4)))
    assert [s.value for s in values.values()] == pytest.approx([0, 1, 3e-9 / (4e-9 + 1e-8)], abs=1e-6)


def test_an_increase_keeps_its_digits_where_p_is_almost_0() -> None:
    """P(fake) of the picture is 1e-9 and of the masked one 1.75e-9: that of the other class is 1 in float32."""

    class Unsure(Patch):
        def probabilities(self, images: Tensor) -> Tensor:
            fake = (2 - images.mean((1, 2, 3))) * 1e-9
            return torch.stack((1 - fake, fake), 1)

    quarter = torch.zeros(4, 4)
    quarter[:2, :2] = 1
    drop, increase, _ = all_of(make(AverageDrop), case_of(quarter, Unsure(), torch.ones(3, 4, 4))).values()
    assert (drop.value, increase.value) == (0, 1)


def test_what_is_left_to_other_classes_adds_their_digits() -> None:
    assert rest(torch.tensor([1e-9, 1.0, 3e-9]), 1) == pytest.approx(4e-9, rel=1e-6)
    assert rest(torch.tensor([0.25, 0.75]), 0) == 0.75


def test_average_drop_masks_softly() -> None:
    net, image, saliency = Net(), uniform(3, 3, *SIZE), uniform(4)
    mask = (saliency - saliency.min()) / (saliency.max() - saliency.min())
    p, masked = (float(net.probabilities(x[None])[0, 1]) for x in (image, 0.5 + mask * (image - 0.5)))
    found = all_of(make(AverageDrop, fill="grey"), case_of(saliency, net, image))
    expected = [max(p - masked, 0) / p, float(masked > p), max(masked - p, 0) / (1 - p)]
    assert [s.value for s in found.values()] == pytest.approx(expected, abs=1e-6)


def test_average_drop_of_a_map_of_one_size_is_undefined_and_free() -> None:
    signs = torch.where(uniform(4) < 0.5, -1.0, 1.0)
    done = run(make(AverageDrop), case_of(signs, Net()))
    assert done.value is not None
    assert {s.status for s in done.value.values} == {"undefined"}
    assert done.passes == Passes()
    assert value_of(make(AverageDrop, values="signed"), case_of(signs, Net())) >= 0


# ---- what planted evidence says of the measures ---------------------------------------------------------------------


def _planted(metric: Any, maps: Any, draws: int = 1) -> float:
    record = next(r for r in FAITHFULNESS if r.target.endswith(f":{type(metric).__name__}"))
    world = planted_world(frozenset()).only("fake")
    values: list[float] = []
    for draw in range(draws):
        for done in score(
            hold_component(record, metric), maps, world.detector, world.pictures, FAKE, draw=draw, batch_size=8
        ):
            assert done.value is not None
            values.extend(s.value for s in done.value.values if s.name == record.name and s.value is not None)
    return fmean(values)


def test_black_holes_drown_fine_grained_evidence() -> None:
    mean, black = (_planted(make(SensitivityN, shares=[0.1], fill=f), EVIDENCE) for f in ("mean", "black"))
    assert mean > 0.9
    assert 0 < black < 0.4


def test_mufidelity_of_random_maps_is_not_zero() -> None:
    assert _planted(make(MuFidelity), EVIDENCE) > 0.95
    assert 0.2 < _planted(make(MuFidelity), RANDOM, 8) < 0.5


def test_monotonicity_cannot_tell_inverted_evidence() -> None:
    assert _planted(make(Monotonicity), EVIDENCE) == _planted(make(Monotonicity), INVERTED) == 1


def test_infidelity_as_published_depends_on_the_scale() -> None:
    large = drawn_by(lambda r: 100 * planted_evidence(r.picture), "large")
    metric = make(Infidelity)
    assert _planted(metric, EVIDENCE) < _planted(metric, RANDOM) < _planted(metric, large)


# ---- Quantus --------------------------------------------------------------------------------------------------------


@pytest.fixture
def quantus(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(np, "trapz", np.trapezoid, raising=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield pytest.importorskip("quantus")


def ask(metric: Any, net: Net, images: Tensor, maps: Tensor) -> list[Any]:
    """Quantus's answers for ``(n, 3, H, W)`` pictures, of which it sees the red channel, and ``(n, H, W)`` maps."""
    return metric(  # type: ignore[no-any-return]
        model=net.model, x_batch=images[:, :1].numpy(), y_batch=np.ones(len(images), int),
        a_batch=maps[:, None].numpy(), device="cpu",
    )  # fmt: skip


OPTIONS: dict[str, Any] = {"abs": False, "normalise": False, "disable_warnings": True}


@pytest.mark.parity
@pytest.mark.parametrize("seed", range(3))
def test_faithfulness_correlation_equals_quantus(quantus: Any, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    net, image, saliency = Net(), uniform(seed, 3, *SIZE), uniform(seed + 10) - 0.5
    case = case_of(saliency, net, image)
    ours = make(FaithfulnessCorrelation, share=0.2, subsets=50, fill="black")
    subsets = iter(random_subsets(50, 100, 20, case.streams.torch("subsets")))
    theirs = quantus.FaithfulnessCorrelation(nr_runs=50, subset_size=20, perturb_baseline=0.0, **OPTIONS)
    monkeypatch.setattr(np.random, "choice", lambda *_, **__: next(subsets).nonzero()[:, 0].numpy())
    assert value_of(ours, case) == pytest.approx(ask(theirs, net, image[None], saliency[None])[0], rel=1e-3)


@pytest.mark.parity
@pytest.mark.parametrize("step", [1, 5])
def test_faithfulness_estimate_equals_quantus(quantus: Any, step: int) -> None:
    net, images = Net(), uniform(1, 4, 3, *SIZE)
    maps = torch.stack([uniform(i + 20) - 0.5 for i in range(4)])
    theirs = ask(
        quantus.FaithfulnessEstimate(features_in_step=step, perturb_baseline=0.0, **OPTIONS), net, images, maps
    )
    ours = make(FaithfulnessEstimate, blocks=100 // step, fill="black")
    for image, saliency, expected in zip(images, maps, theirs, strict=True):
        assert value_of(ours, case_of(saliency, net, image)) == pytest.approx(expected, rel=1e-3, abs=1e-4)


@pytest.mark.parity
def test_monotonicity_correlation_equals_quantus_given_the_same_noise(quantus: Any) -> None:
    net, image, saliency = Net(), uniform(7, 3, *SIZE), uniform(8) - 0.5
    case = case_of(saliency, net, image)
    noise = torch.rand((4, 3, *SIZE), generator=case.streams.torch("noise"))[:, 0].flatten(1).numpy()
    calls = iter(range(10**6))

    def same_noise(arr: np.ndarray, indices: np.ndarray, **_: object) -> np.ndarray:
        changed = arr.copy()
        changed[0, indices[0]] = noise[next(calls) % 4][indices[0]]
        return changed

    options = {**OPTIONS, "abs": True}
    theirs = quantus.MonotonicityCorrelation(features_in_step=5, nr_samples=4, perturb_func=same_noise, **options)
    expected = ask(theirs, net, image[None], saliency[None])[0]
    assert value_of(make(MonotonicityCorrelation, blocks=20, draws=4), case) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parity
def test_quantus_calls_every_map_monotone_and_we_do_not(quantus: Any) -> None:
    net, images = Net(), uniform(1, 3, 3, *SIZE)
    maps = torch.stack([uniform(i + 20) for i in range(3)])
    metric = quantus.Monotonicity(**{**OPTIONS, "abs": True})
    for some in (maps, 1 - maps):
        assert ask(metric, net, images, some) == [True] * 3
        for image, saliency in zip(images, some, strict=True):
            found = all_of(make(Monotonicity, steps=100, fill="black"), case_of(saliency, net, image))
            share = found["monotonicity", ""].value
            assert share is not None
            assert 0.2 < share < 0.8
            assert found["never-falls", ""].value == 0


@pytest.mark.parity
def test_sensitivity_n_of_quantus_correlates_across_pictures_and_ours_within_one(quantus: Any) -> None:
    """On a linear network the exact attributions must score 1, whatever is scored beside them."""
    net, weights, images = Net(), uniform(0) - 0.5, uniform(1, 3, 3, *SIZE) * RED
    linear = nn.Linear(100, 2, bias=False)
    linear.weight.data = torch.stack([-weights.flatten(), weights.flatten()])
    net.model = nn.Sequential(nn.Flatten(), linear).eval()
    exact = weights * images[:, 0]
    theirs = quantus.SensitivityN(features_in_step=10, n_max_percentage=0.8, perturb_baseline=0.0, **OPTIONS)
    two = float(ask(theirs, net, images[:2], exact[:2])[0])
    assert two * 8 == pytest.approx(round(two * 8), abs=1e-3)  # 8 steps, each +1 or -1: a line through two points
    assert float(ask(theirs, net, images, exact)[0]) != pytest.approx(two, abs=0.01)
    ours = make(SensitivityN, fill="black")
    for image, saliency in zip(images, exact, strict=True):
        assert value_of(ours, case_of(saliency, net, image)) == pytest.approx(1, abs=1e-5)
