"""Metrics against numbers worked out by hand, independent recomputation and other libraries."""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from skimage.measure import shannon_entropy
from torch import Tensor, nn

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
    build_parameters,
    parameter_class,
)
from xaibench.detector.engine import ProbeEngine
from xaibench_metrics.faithfulness.removal import Deletion, Insertion
from xaibench_metrics.localisation.masks import (
    PointingGame,
    RelevanceMass,
    RelevanceRank,
    pointing_game,
    relevance_mass,
    relevance_rank,
)
from xaibench_metrics.plugin import xaibench_metrics
from xaibench_metrics.salience.entropy import (
    HistogramEntropy,
    SpatialEntropy,
    histogram_entropy,
    quantise,
    spatial_entropy,
)

SIZE = (10, 10)


class Planted:
    """P(fake) is 0.9 while all four pixels of the patch (rows 2 and 3, columns 4 and 5) are white, else 0.1."""

    device = torch.device("cpu")
    facts = Facts(name="planted", classes=("real", "fake"), real_class=0, input_size=SIZE, digest="planted")

    def probabilities(self, images: Tensor) -> Tensor:
        whole = images[:, :, 2:4, 4:6].amin(dim=(1, 2, 3)) > 0.999
        fake = torch.where(whole, 0.9, 0.1)
        return torch.stack([1 - fake, fake], dim=1)

    def scores(self, images: Tensor) -> Tensor:
        return self.probabilities(images).log()


class Net(Planted):
    """A smooth network, where every pixel counts."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Softplus(), nn.Flatten(), nn.Linear(256, 2)).eval()

    @torch.no_grad()
    def probabilities(self, images: Tensor) -> Tensor:
        return self.model(images).softmax(dim=1)  # type: ignore[no-any-return]


class Direct:
    """Artefacts that are made anew every time."""

    def __init__(self, detector):
        self.detector = detector

    def get(self, artefact, picture):
        streams = Streams.of(0, 0, f"{artefact.kind} {artefact.parameters()}", picture.digest)
        made = artefact.make(ArtefactQuery(detector=self.detector, picture=picture, streams=streams, artefacts=self))
        return (yield from made) if inspect.isgenerator(made) else made


def picture_of(image: Tensor, mask: Tensor | None, label: Any, id: str) -> Picture:
    sample = Sample(id=id, label=label, group="g", has_mask=mask is not None)
    return Picture(
        sample=sample, image=image, mask=mask, landmarks=None, digest=id,
        native=lambda: Native(np.zeros((1, 1, 3), np.uint8)), counterpart=lambda: None,
    )  # fmt: skip


def case_of(
    saliency: Tensor,
    *,
    detector: Any = None,
    image: Tensor | None = None,
    mask: Tensor | None = None,
    native: Tensor | None = None,
    label: Any = "fake",
    target: int = 1,
    id: str = "s",
) -> MapCase:
    detector = detector or Planted()
    image = torch.ones(3, *SIZE) if image is None else image
    return MapCase(
        detector=detector, picture=picture_of(image, mask, label, id), explainer="e",
        explanation=Explanation(map=saliency, native_map=native), target=target,
        clean=detector.probabilities(image[None].expand(8, -1, -1, -1).contiguous())[0],
        streams=Streams.of(0, 0, "m", id), artefacts=Direct(detector), explain=None,  # type: ignore[arg-type]
    )  # fmt: skip


def make(cls: Any, **values: Any) -> Any:
    return cls(build_parameters(parameter_class(cls), values, "x"))


def run(metric: Any, case: MapCase, batch: int = 8) -> Done[Scores]:
    done: Done[Scores] = ProbeEngine(case.detector, batch).run_one(lambda: metric.score(case))
    if done.error:
        raise done.error
    return done


def scores_of(metric: Any, case: MapCase) -> dict[str, Score]:
    scores = run(metric, case).value
    assert scores is not None
    assert [s.name for s in scores.values] == [s.name for s in metric.scores]
    return {s.name: s for s in scores.values}


def value_of(metric: Any, case: MapCase) -> float:
    score = next(iter(scores_of(metric, case).values()))
    assert score.status == "ok", score.reason
    assert score.value is not None
    return score.value


def reason_of(metric: Any, case: MapCase) -> str:
    found = scores_of(metric, case).values()
    assert all(s.status == "undefined" and s.value is None for s in found)
    assert len({s.reason for s in found}) == 1
    return next(iter(found)).reason


def patch() -> Tensor:
    mask = torch.zeros(SIZE, dtype=torch.bool)
    mask[2:4, 4:6] = True
    return mask


def ranked(first: int) -> Tensor:
    """A map without ties that has the four pixels of the patch at places ``first`` to ``first + 3``."""
    inside = patch().flatten().nonzero()[:, 0].tolist()
    outside = [i for i in range(100) if i not in inside]
    order = outside[:first] + inside + outside[first:]
    saliency = torch.empty(100)
    saliency[order] = torch.arange(100.0, 0.0, -1.0)
    return saliency.view(SIZE)


def random_map(seed: int, size: tuple[int, int] = SIZE) -> Tensor:
    return torch.rand(size, generator=torch.Generator().manual_seed(seed))


# ---- deletion and insertion -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "steps", "deletion"),
    [
        # 20 steps of 5 pixels, each 0.05 wide. The patch is gone after the first step:
        # 0.05 * (0.9 + 0.1)/2 + 0.95 * 0.1 = 0.025 + 0.095
        (0, 20, 0.120),
        # places 96 to 99, so whole until the last step: 0.95 * 0.9 + 0.05 * (0.9 + 0.1)/2 = 0.855 + 0.025
        (96, 20, 0.880),
        # places 4 to 7: the first step takes one pixel of four, which is enough
        (4, 20, 0.120),
        # places 5 to 8: whole after the first step: 0.05 * 0.9 + 0.05 * 0.5 + 0.90 * 0.1 = 0.045 + 0.025 + 0.090
        (5, 20, 0.160),
        # 3 uneven steps at 0, 33, 66 and 100 pixels; places 40 to 43 go in the second:
        # 0.33 * 0.9 + 0.33 * 0.5 + 0.34 * 0.1 = 0.297 + 0.165 + 0.034
        (40, 3, 0.496),
        # one step: (0.9 + 0.1)/2 whatever the order
        (40, 1, 0.500),
    ],
)
def test_deletion_of_a_step_at_a_known_place(first: int, steps: int, deletion: float) -> None:
    metric = make(Deletion, steps=steps)
    assert value_of(metric, case_of(ranked(first))) == pytest.approx(deletion, abs=1e-7)


@pytest.mark.parametrize(
    ("first", "steps", "insertion"),
    [
        # whole after the first step: 0.05 * (0.1 + 0.9)/2 + 0.95 * 0.9 = 0.025 + 0.855
        (0, 20, 0.880),
        # complete only at the end: 0.95 * 0.1 + 0.05 * 0.5 = 0.095 + 0.025
        (96, 20, 0.120),
        # places 4 to 7 are complete after the second step: 0.05 * 0.1 + 0.05 * 0.5 + 0.90 * 0.9 = 0.005 + 0.025 + 0.81
        (4, 20, 0.840),
        # at 0, 33, 66, 100 pixels, complete at 66: 0.33 * 0.1 + 0.33 * 0.5 + 0.34 * 0.9 = 0.033 + 0.165 + 0.306
        (40, 3, 0.504),
    ],
)
def test_insertion_of_a_step_at_a_known_place(first: int, steps: int, insertion: float) -> None:
    metric = make(Insertion, steps=steps, fill="black")
    assert value_of(metric, case_of(ranked(first))) == pytest.approx(insertion, abs=1e-7)


def test_removal_curves_hold_both_ends_and_the_true_shares() -> None:
    deleted, inserted = (run(m, case_of(ranked(5))) for m in (make(Deletion), make(Insertion, fill="black")))
    assert deleted.value is not None
    assert inserted.value is not None
    (curve,) = deleted.value.curves
    assert curve.name == "deletion"
    assert curve.x == pytest.approx([t / 20 for t in range(21)])
    assert curve.y == pytest.approx([0.9, 0.9] + [0.1] * 19)
    (curve,) = inserted.value.curves
    assert curve.y == pytest.approx([0.1, 0.1] + [0.9] * 19)
    assert deleted.passes == inserted.passes == Passes(forward=20)
    uneven = run(make(Deletion, steps=3), case_of(ranked(5))).value
    assert uneven is not None
    assert uneven.curves[0].x == pytest.approx([0, 0.33, 0.66, 1])


def test_removal_scores_the_target() -> None:
    # P(real) = 1 - P(fake), so its area is one minus the other's
    assert value_of(make(Deletion), case_of(ranked(0), target=0)) == pytest.approx(0.88)


def test_insertion_starts_from_a_blur_and_deletion_from_black() -> None:
    image = torch.ones(3, *SIZE)
    image[:, 6:, :6] = 0
    # the blurred picture has the patch within its white half, so nothing is gained by uncovering it
    blurred = value_of(make(Insertion, sigma=0.05), case_of(ranked(96), image=image))
    assert blurred == pytest.approx(0.9)
    assert value_of(make(Insertion, fill="black"), case_of(ranked(96), image=image)) == pytest.approx(0.12)


def by_hand(detector: Any, image: Tensor, background: Tensor, saliency: Tensor, *, steps: int, insert: bool) -> float:
    """Deletion and insertion once more, pixel by pixel in Python."""
    height, width = saliency.shape
    places = [(i, j) for i in range(height) for j in range(width)]
    places.sort(key=lambda p: -float(saliency[p]))
    start, end = (background, image) if insert else (image, background)
    xs, ys = [], []
    for t in range(steps + 1):
        k = t * len(places) // steps
        shown = start.clone()
        for i, j in places[:k]:
            shown[:, i, j] = end[:, i, j]
        xs.append(k / len(places))
        ys.append(float(detector.probabilities(shown[None])[0, 1]))
    return float(sum((xs[t + 1] - xs[t]) * (ys[t] + ys[t + 1]) / 2 for t in range(steps)))


@pytest.mark.parametrize("steps", [1, 7, 20, 33, 100, 130])
def test_removal_equals_an_independent_computation(steps: int) -> None:
    net, image = Net(), torch.rand(3, *SIZE, generator=torch.Generator().manual_seed(9))
    saliency = (random_map(2) * 8).floor()  # with ties
    for cls, insert in ((Deletion, False), (Insertion, True)):
        metric = make(cls, steps=steps, fill="grey", ties="reading")
        found = value_of(metric, case_of(saliency, detector=net, image=image))
        expected = by_hand(net, image, torch.full_like(image, 0.5), saliency, steps=steps, insert=insert)
        assert found == pytest.approx(expected, abs=1e-6)


@pytest.mark.parity
@pytest.mark.parametrize("steps", [20, 50])
def test_removal_equals_torchcam(steps: int) -> None:
    metrics = pytest.importorskip("torchcam.metrics")
    methods = pytest.importorskip("torchcam.methods")
    net, image = Net(), torch.rand(3, *SIZE, generator=torch.Generator().manual_seed(9))
    softmax = partial(torch.softmax, dim=-1)
    with methods.GradCAM(net.model, target_layer=net.model[1], input_shape=(3, *SIZE)) as extractor:
        theirs = metrics.DeletionInsertionMetric(extractor, softmax, steps=steps)
        theirs.update(image[None], 1)
        saliency = extractor(1, softmax(net.model(image[None])))[0]  # it explains the probability
    saliency = nn.functional.interpolate(saliency[None], size=SIZE, mode="bilinear", align_corners=False)[0, 0]
    expected = theirs.summary()
    for cls in (Deletion, Insertion):
        metric = make(cls, steps=steps, fill="black")
        found = value_of(metric, case_of(saliency, detector=net, image=image))
        assert found == pytest.approx(expected[f"{cls.__name__.lower()}_auc"], abs=1e-6)


@pytest.mark.parametrize("cls", [Deletion, Insertion])
def test_removal_by_a_constant_map_is_undefined_and_free(cls: Any) -> None:
    done = run(make(cls), case_of(torch.full(SIZE, 0.3)))
    assert done.value is not None
    assert done.value.values[0].status == "undefined"
    assert "constant" in done.value.values[0].reason
    assert done.passes == Passes()


@pytest.mark.parametrize("cls", [Deletion, Insertion])
def test_removal_does_not_depend_on_batch_mates_and_leaves_its_inputs_alone(cls: Any) -> None:
    net, metric = Net(), make(cls)
    cases = [case_of(random_map(i), detector=net, image=torch.rand(3, *SIZE), id=f"s{i}") for i in range(5)]
    before = [(c.picture.image.clone(), torch.as_tensor(c.explanation.map).clone()) for c in cases]

    def all_of(chosen: list[MapCase]) -> dict[str, Done[Scores]]:
        return dict(ProbeEngine(net, 8).run((c.picture.sample.id, partial(metric.score, c)) for c in chosen))

    together, backwards = all_of(cases), all_of(cases[::-1])
    for case, (image, saliency) in zip(cases, before, strict=True):
        id = case.picture.sample.id
        alone = all_of([case])[id]
        assert alone.value == together[id].value == backwards[id].value
        query = PassQuery(sample=case.picture.sample, facts=net.facts, few_ties=True)
        assert alone.passes == metric.passes(query) == Passes(forward=20)
        assert torch.equal(case.picture.image, image)
        assert torch.equal(torch.as_tensor(case.explanation.map), saliency)


# ---- localisation ---------------------------------------------------------------------------------------------------


def test_localisation_by_hand() -> None:
    saliency = torch.tensor([[4.0, 1.0, -2.0], [3.0, 2.0, 0.0]])
    mask = torch.tensor([[True, False, True], [False, True, False]])
    assert pointing_game(saliency, mask) == 1  # the 4
    assert relevance_mass(saliency, mask) == pytest.approx((4 + 2) / (4 + 1 + 3 + 2))  # the -2 counts as nothing
    assert relevance_rank(saliency, mask) == pytest.approx(2 / 3)  # of 4, 3 and 2 the 3 lies outside
    assert pointing_game(-saliency, mask) == 1
    assert relevance_mass(-saliency, mask) == 1
    assert relevance_rank(-saliency, mask) == pytest.approx(1 / 3)  # of 2, 0 and -1 the 2


@pytest.mark.parametrize(("first", "pointing", "rank"), [(0, 1, 1), (96, 0, 0), (2, 0, 0.5)])
def test_localisation_of_a_planted_patch(first: int, pointing: float, rank: float) -> None:
    case = case_of(ranked(first), mask=patch())
    assert value_of(make(PointingGame), case) == pointing
    assert value_of(make(RelevanceRank), case) == rank
    # values 100 to 1 sum to 5050; the patch has 100 - first and the next three
    found = scores_of(make(RelevanceMass), case)
    mass = (4 * (100 - first) - 6) / 5050
    assert found["relevance-mass"].value == pytest.approx(mass)
    assert found["lift"].value == pytest.approx(mass / 0.04)


def test_ties_count_by_their_share() -> None:
    saliency = torch.tensor([[2.0, 2.0, 2.0, 2.0], [1.0, 1.0, 0.0, 0.0]])
    mask = torch.tensor([[True, False, False, False], [True, True, True, True]])
    assert pointing_game(saliency, mask) == 1 / 4
    # k = 5: four above the threshold 1, one of them inside; the fifth place goes to one of two tied, both inside
    assert relevance_rank(saliency, mask) == pytest.approx((1 + 1 * 2 / 2) / 5)


def test_a_constant_map_localises_like_chance() -> None:
    case = case_of(torch.full(SIZE, 0.7), mask=patch())
    assert value_of(make(PointingGame), case) == pytest.approx(0.04)
    assert value_of(make(RelevanceRank), case) == pytest.approx(0.04)
    found = scores_of(make(RelevanceMass), case)
    assert found["relevance-mass"].value == pytest.approx(0.04)
    assert found["lift"].value == pytest.approx(1)


def test_relevance_rank_is_the_mean_over_random_tie_breaking() -> None:
    saliency, mask = (random_map(0) * 4).floor(), random_map(1) < 0.3
    generator = torch.Generator().manual_seed(0)
    k = int(mask.sum())
    broken = []
    for _ in range(2000):
        noisy = saliency + torch.rand(SIZE, generator=generator)
        broken.append(float(mask.flatten()[noisy.flatten().topk(k).indices].double().mean()))
    standard_error = np.std(broken) / math.sqrt(len(broken))
    assert abs(relevance_rank(saliency, mask) - np.mean(broken)) < 4 * standard_error


@pytest.mark.parametrize("cls", [PointingGame, RelevanceMass, RelevanceRank])
def test_localisation_says_why_it_is_undefined(cls: Any) -> None:
    metric, empty = make(cls), torch.zeros(SIZE, dtype=torch.bool)
    assert reason_of(metric, case_of(ranked(0), label="real")) == "real pictures have no mask"
    assert reason_of(metric, case_of(ranked(0), label="real", mask=patch())) == "real pictures have no mask"
    assert reason_of(metric, case_of(ranked(0))) == "the picture has no mask"
    assert "explained is real" in reason_of(metric, case_of(ranked(0), mask=patch(), target=0))
    assert reason_of(metric, case_of(ranked(0), mask=empty)) == "the mask is empty"


def test_mass_without_positive_values_is_undefined() -> None:
    for saliency in (torch.zeros(SIZE), -ranked(0)):
        assert reason_of(make(RelevanceMass), case_of(saliency, mask=patch())) == "the map has no positive value"


@pytest.fixture
def quantus() -> Iterator[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield pytest.importorskip("quantus")


@pytest.mark.parity
@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("PointingGame", pointing_game),
        ("RelevanceMassAccuracy", relevance_mass),
        ("RelevanceRankAccuracy", relevance_rank),
    ],
)
def test_localisation_equals_quantus(quantus: Any, name: str, ours: Callable[[Tensor, Tensor], float]) -> None:
    # they agree on non-negative maps without ties and masks that are not empty; we differ on purpose elsewhere
    maps = torch.stack([random_map(i, (32, 32)) for i in range(6)])
    masks = torch.zeros(6, 32, 32, dtype=torch.bool)
    for i in range(6):
        masks[i, 2 * i : 2 * i + 12, 3 * i : 3 * i + 9] = True
        if i % 2:
            maps[i, 2 * i + 3, 3 * i + 3] = 2.0
    metric = getattr(quantus, name)(abs=False, normalise=False, disable_warnings=True)
    theirs = metric(
        model=nn.Sequential(nn.Flatten(), nn.Linear(1024, 2)), x_batch=np.zeros((6, 1, 32, 32), np.float32),
        y_batch=np.ones(6, int), a_batch=maps[:, None].numpy(), s_batch=masks[:, None].numpy(), device="cpu",
    )  # fmt: skip
    for i in range(6):
        assert ours(maps[i], masks[i]) == pytest.approx(float(theirs[i]), rel=1e-4)


@pytest.mark.parity
def test_where_we_differ_from_quantus_on_purpose(quantus: Any) -> None:
    flat, mask = np.ones((1, 1, 32, 32), np.float32), np.zeros((1, 1, 32, 32), bool)
    flat[..., 9:, :] = 0  # Quantus refuses a map that is constant altogether
    mask[..., :4, :4] = True
    call = {"model": nn.Sequential(nn.Flatten(), nn.Linear(1024, 2)), "x_batch": np.zeros_like(flat),
            "y_batch": np.ones(1, int), "a_batch": flat, "device": "cpu"}  # fmt: skip
    theirs = quantus.PointingGame(abs=False, normalise=False, disable_warnings=True)(s_batch=mask, **call)
    assert bool(theirs[0])  # 16 of 288 tied pixels are enough for a hit
    assert pointing_game(torch.from_numpy(flat[0, 0]), torch.from_numpy(mask[0, 0])) == 16 / 288


# ---- entropy --------------------------------------------------------------------------------------------------------


def golden() -> Tensor:
    """``floor(255 exp(-((i-2)^2 + (j-4)^2) / 4))`` on 7 x 7: 14 levels."""
    i, j = torch.meshgrid(torch.arange(7.0), torch.arange(7.0), indexing="ij")
    return (255 * torch.exp(-((i - 2) ** 2 + (j - 4) ** 2) / 4)).floor()


def stored(saliency: Tensor) -> Tensor:
    """Through the stored form: float16 of the map over its largest value, and back."""
    scale = saliency.abs().max()
    return (saliency / scale).half().float() * scale


@pytest.mark.parametrize("scale", [1.0, 1 / 255, 37.3])
def test_golden_entropies(scale: float) -> None:
    assert len(golden().unique()) == 14
    for saliency in (golden() * scale, stored(golden() * scale)):
        assert torch.equal(quantise(saliency), golden().to(torch.uint8))
        assert histogram_entropy(saliency) == pytest.approx(0.648319, abs=1e-6)
        assert histogram_entropy(saliency) * math.log2(49) == pytest.approx(3.640120, abs=1e-6)
        assert spatial_entropy(saliency) == pytest.approx(0.842638, abs=1e-4)
    assert spatial_entropy(golden()) == pytest.approx(0.842638, abs=1e-6)


def test_entropy_of_the_published_example() -> None:
    # the map's levels are known, not their places: 0 in 25 cells, one level in 4, one in 2, and 18 in one each
    counts = [25, 4, 2] + [1] * 18
    levels = torch.tensor([0, 40, 80, *range(100, 270, 10), 255])
    assert (sum(counts), len(levels)) == (49, 21)
    saliency = levels.repeat_interleave(torch.tensor(counts)).float().clamp(max=255)
    saliency[30] = 245.0
    assert histogram_entropy(saliency.view(7, 7)) == pytest.approx(0.5417, abs=5e-5)


@pytest.mark.parametrize("size", [(7, 7), (8, 8), (10, 10), (40, 50)])
def test_histogram_entropy_is_scikit_images(size: tuple[int, int]) -> None:
    saliency = random_map(3, size) ** 3
    low, high = saliency.min(), saliency.max()
    eight_bits = ((saliency - low) / (high - low)).mul(255).byte().numpy()  # torchvision's to_pil_image
    expected = shannon_entropy(eight_bits) / math.log2(min(saliency.numel(), 256))
    assert histogram_entropy(saliency) == pytest.approx(expected, abs=1e-12)


def test_quantise_truncates_and_keeps_what_was_made_in_8_bits() -> None:
    levels = [0.0, 1.6, 2.05, 99.9, 255.0]  # 1.6 is no level of 8 bits
    assert quantise(torch.tensor(levels)).tolist() == [0, 1, 2, 99, 255]
    eight_bits = torch.arange(256.0).view(16, 16)
    assert torch.equal(quantise(stored(eight_bits / 255)), eight_bits.to(torch.uint8))
    assert not torch.equal((255 * stored(eight_bits / 255).double()).floor(), eight_bits.double()), "a plain floor"


def test_entropy_landmarks() -> None:
    one = torch.zeros(7, 7)
    one[3, 3] = 1
    checks = ((torch.arange(7)[:, None] + torch.arange(7)) % 2).float()
    assert histogram_entropy(one) == pytest.approx(0.0256, abs=5e-5)
    assert spatial_entropy(one) == 0
    assert histogram_entropy(checks) == pytest.approx(0.178, abs=5e-4)
    assert spatial_entropy(checks) == pytest.approx(math.log(24) / math.log(49))
    assert histogram_entropy(torch.arange(49.0).view(7, 7)) == pytest.approx(1)
    assert histogram_entropy(torch.arange(256.0).view(16, 16)) == pytest.approx(1)


def test_entropies_do_not_change_with_offset_and_scale() -> None:
    for measure in (histogram_entropy, spatial_entropy):
        assert measure(golden() * 4 - 100) == pytest.approx(measure(golden()), abs=1e-9)


def test_histogram_entropy_is_blind_to_place_and_spatial_entropy_to_order() -> None:
    shuffled = golden().flatten()[torch.randperm(49, generator=torch.Generator().manual_seed(0))].view(7, 7)
    assert histogram_entropy(shuffled) == pytest.approx(histogram_entropy(golden()))
    assert spatial_entropy(shuffled) == pytest.approx(spatial_entropy(golden()))


@pytest.mark.parametrize("cls", [HistogramEntropy, SpatialEntropy])
def test_entropy_looks_at_the_native_map_where_there_is_one(cls: Any) -> None:
    metric, measure = make(cls), histogram_entropy if cls is HistogramEntropy else spatial_entropy
    assert value_of(metric, case_of(random_map(0), native=golden())) == pytest.approx(measure(golden()))
    assert value_of(metric, case_of(random_map(0))) == pytest.approx(measure(random_map(0)))
    assert reason_of(metric, case_of(torch.zeros(SIZE))) == "the map is constant"
    assert reason_of(metric, case_of(random_map(0), native=torch.ones(1, 1))) == "the map is constant"


# ---- all of them ----------------------------------------------------------------------------------------------------

COMPONENTS = {
    "deletion": partial(make, Deletion),
    "insertion": partial(make, Insertion, fill="black"),
    "pointing-game": partial(make, PointingGame),
    "relevance-mass": partial(make, RelevanceMass),
    "relevance-rank": partial(make, RelevanceRank),
    "entropy-histogram": partial(make, HistogramEntropy),
    "entropy-spatial": partial(make, SpatialEntropy),
}


@pytest.mark.parametrize("name", COMPONENTS)
def test_scores_that_rank_evidence_do(name: str) -> None:
    metric = COMPONENTS[name]()
    for spec in metric.scores:
        if not spec.ranks_evidence:
            assert spec.why_not
            continue
        sign = 1 if spec.better == "higher" else -1

        def score(saliency: Tensor, name: str = spec.name, sign: int = sign) -> float:
            value = scores_of(metric, case_of(saliency, mask=patch()))[name].value
            assert value is not None
            return sign * value

        evidence = patch().float()
        chance = float(np.mean([score(random_map(i)) for i in range(30)]))
        assert score(evidence) > chance > score(1 - evidence)


@pytest.mark.parametrize("name", COMPONENTS)
def test_scores_keep_their_ranges_and_passes(name: str) -> None:
    metric = COMPONENTS[name]()
    for seed in range(5):
        case = case_of(random_map(seed) - 0.5, mask=random_map(seed + 50) < 0.2, detector=Net())
        done = run(metric, case)
        assert done.value is not None
        query = PassQuery(sample=case.picture.sample, facts=case.detector.facts, few_ties=True)
        assert done.passes == metric.passes(query)
        for spec, score in zip(metric.scores, done.value.values, strict=True):
            if spec.name == "tie-spread":
                assert score.value == 0
                continue
            assert score.value is not None
            assert spec.low <= score.value <= spec.high


def test_what_is_tested_here_is_registered() -> None:
    assert set(COMPONENTS) <= {r.name for r in xaibench_metrics()}
