"""Equal values of a map: the order in which they are removed, how much is tied, and how far the order moves a score."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from xaibench.api import Done, Facts, Native, Passes, PassQuery, Picture, Sample, Scores, build_parameters
from xaibench_explainers.controls import RandomMap, random_map
from xaibench_metrics.faithfulness.abpc import Abpc
from xaibench_metrics.faithfulness.accuracy import AccuracyUnderRemoval
from xaibench_metrics.faithfulness.against_random import TopMinusRandom
from xaibench_metrics.faithfulness.correlation import FaithfulnessEstimate
from xaibench_metrics.faithfulness.flipping import PixelFlipping
from xaibench_metrics.faithfulness.irof import Irof
from xaibench_metrics.faithfulness.monotonicity import Monotonicity, MonotonicityCorrelation
from xaibench_metrics.faithfulness.regions import RegionPerturbation
from xaibench_metrics.faithfulness.removal import Deletion, Insertion
from xaibench_metrics.faithfulness.repair import Repair
from xaibench_metrics.faithfulness.road import Road
from xaibench_metrics.faithfulness.segment_accuracy import AccuracyUnderSegmentRemoval
from xaibench_metrics.faithfulness.ties import SETTLED, TieOrder, tie_order
from xaibench_perturbation import tied_share
from xaibench_testing import drawn_by, make_bench, score, value

CLASSES: dict[Any, dict[str, Any]] = {
    Deletion: {"steps": 4},
    Insertion: {"steps": 4, "fill": "black"},
    PixelFlipping: {"pixels": 4, "fill": "black"},
    RegionPerturbation: {"patch": 2, "fill": "black"},
    Irof: {"segments": "grid", "count": 4, "fill": "black"},
    AccuracyUnderSegmentRemoval: {"segments": "grid", "count": 16, "fill": "black"},
    Road: {"percentages": (30, 60)},
    Abpc: {"steps": 4},
    AccuracyUnderRemoval: {"steps": 4, "hidden": "black"},
    TopMinusRandom: {"steps": 4, "draws": 2},
    Repair: {"steps": 8},
    FaithfulnessEstimate: {"blocks": 4, "fill": "black"},
    Monotonicity: {"steps": 8, "fill": "black"},
    MonotonicityCorrelation: {"blocks": 8, "draws": 2},
}
OF_SEGMENTS = (Irof, AccuracyUnderSegmentRemoval)
SEVERAL = {
    AccuracyUnderRemoval: ["deletion-accuracy", "insertion-accuracy"],
    Repair: ["repair-auc", "repair-half"],
}
"""Metrics with more than one primary score, each of which has a spread of its own."""


class Weighted:
    """P(fake) is the weighted mean of the brightness, over any number of pixels."""

    device = torch.device("cpu")

    def __init__(self, weights: Tensor, digest: str = "w") -> None:
        self.weights = weights.double()
        size = (weights.shape[0], weights.shape[1])
        self.facts = Facts(name="w", classes=("real", "fake"), real_class=0, input_size=size, digest=digest)

    def probabilities(self, images: Tensor) -> Tensor:
        fake = (images.double().mean(dim=1) * self.weights).sum(dim=(1, 2)).clamp(0, 1)
        return torch.stack([1 - fake, fake], dim=1).float()

    def scores(self, images: Tensor) -> Tensor:
        return self.probabilities(images).log()


def picture_of(image: Tensor, id: str = "s", real: Tensor | None = None) -> Picture:
    sample = Sample(id=id, label="fake" if not id.endswith("-real") else "real", group="g", pair=f"{id}-real")
    counterpart = None if real is None else picture_of(real, f"{id}-real")
    return Picture(
        sample=sample, image=image, mask=None, landmarks=None, digest=f"{id} {image.sum()}",
        native=lambda: Native(np.zeros((1, 1, 3), np.uint8)), counterpart=lambda: counterpart,
    )  # fmt: skip


class Bare:
    """A metric without its parameters, which are part of its name and so of the key of its random streams."""

    def __init__(self, metric: Any) -> None:
        self.scores, self.score, self.passes = metric.scores, metric.score, metric.passes


def make(cls: Any, **values: Any) -> Any:
    return cls(build_parameters(cls.Parameters, values, "x"))


def done_of(metric: Any, saliency: Tensor, detector: Any, picture: Picture, **more: Any) -> Done[Scores]:
    (done,) = score(Bare(metric), drawn_by(lambda _: saliency, more.pop("name", "map")), detector, [picture], 1, **more)
    value(done)
    return done


def values_of(*arguments: Any, **more: Any) -> dict[str, float | None]:
    scores = value(done_of(*arguments, **more))
    return {s.name + s.item: s.value for s in scores.values}


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


WHITE = picture_of(torch.ones(3, 2, 2))
FOUR = Weighted(torch.tensor([[0.4, 0.3], [0.2, 0.1]]))
ONE = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
"""The heaviest pixel comes first, and the other three in any order."""


def order_of(number: int, picture: Picture = WHITE, detector: Any = FOUR, count: int = 4, seed: int = 0) -> list[int]:
    bench = make_bench(detector, seed=seed)
    order = _finish(bench.artefacts().get(TieOrder(count, number), picture))
    return order.tensors["order"].tolist()  # type: ignore[no-any-return]


def _finish(programme: Any) -> Any:
    """What a programme returns that asks the detector nothing."""
    with pytest.raises(StopIteration) as stop:
        next(programme)
    return stop.value.value


# ---- by hand --------------------------------------------------------------------------------------------------------


def deletion_by_hand(order: Sequence[int]) -> float:
    """A white picture goes black one pixel at a time: 1, .6, and on by the weights of the order; steps of a quarter."""
    weights = [0.4, 0.3, 0.2, 0.1]
    curve = [1.0]
    for pixel in (0, *(p for p in order if p != 0)):
        curve.append(curve[-1] - weights[pixel])
    return sum((a + b) / 2 for a, b in pairwise(curve)) / 4


def test_deletion_of_a_map_with_one_pixel_by_hand() -> None:
    orders = [order_of(number) for number in (1, 2, 3)]
    assert [sorted(order) for order in orders] == [[0, 1, 2, 3]] * 3
    by_hand = [deletion_by_hand(order) for order in orders]
    found = values_of(make(Deletion, steps=4), ONE, FOUR, WHITE)
    assert found["deletion"] == pytest.approx(by_hand[0])
    # the second and the third step cut the three zeros
    assert found["tied-share"] == 3 / 4
    assert found["tie-spread"] == pytest.approx(max(by_hand) - min(by_hand))
    done = done_of(make(Deletion, steps=4), ONE, FOUR, WHITE)
    assert done.passes == Passes(forward=3 * 4)
    assert make(Deletion, steps=4).passes(_query(FOUR, WHITE)) == Passes(forward=3 * 4, exact=False)


def test_the_order_is_random_from_picture_to_picture() -> None:
    # 1, .6, then on average .4 and .2, then 0
    found = [
        values_of(make(Deletion, steps=4), ONE, FOUR, picture_of(torch.ones(3, 2, 2), f"s{i}"))["deletion"]
        for i in range(60)
    ]
    assert {round(v, 6) for v in found if v} == {0.375, 0.4, 0.45, 0.475}
    # .375, .4, .4, .45, .45, .475 have a standard deviation of .034
    assert np.mean([v for v in found if v]) == pytest.approx(0.425, abs=4 * 0.034 / 60**0.5)


def test_the_order_of_reading_by_hand() -> None:
    reading = make(Deletion, steps=4, ties="reading")
    found = values_of(reading, ONE, FOUR, WHITE)
    assert found == {"deletion": pytest.approx((0.8 + 0.45 + 0.2 + 0.05) / 4), "tied-share": 0.75}
    assert done_of(reading, ONE, FOUR, WHITE).passes == Passes(forward=4) == reading.passes(_query(FOUR, WHITE))


def test_what_no_step_cuts_is_not_tied() -> None:
    halves = torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    done = done_of(make(Deletion, steps=2), halves, FOUR, WHITE)
    area, share, spread = value(done).values
    assert area.value == pytest.approx((1 + 2 * 0.3 + 0) / 4)  # whatever the order
    assert share.value == 0
    assert (spread.status, spread.value, spread.reason) == ("ok", 0.0, SETTLED)
    assert done.passes == Passes(forward=2)


@pytest.mark.parametrize("others", [2, 3])
def test_a_fifth_is_not_enough_for_further_orders(others: int) -> None:
    saliency = torch.arange(10, 0, -1).float()
    saliency[5 : 5 + others] = 5.0
    done = done_of(
        make(Deletion, steps=10), saliency[None], Weighted(torch.full((1, 10), 0.1)), picture_of(white(1, 10))
    )
    assert value(done).values[1].value == others / 10
    spread = value(done).values[2]
    assert (spread.reason == SETTLED) == (others == 2) and spread.value == 0  # equal pixels of equal weight
    assert done.passes == Passes(forward=10 if others == 2 else 30)


def white(*size: int) -> Tensor:
    return torch.ones(3, *size)


def test_tied_share_by_hand() -> None:
    values = torch.tensor([2.0] * 4 + [1.0] * 4 + [0.0, -0.0] * 4)
    assert tied_share(values, [0, 4, 8, 16]) == 0
    assert tied_share(values, [4, 8, 12]) == 8 / 16  # the last cuts the zeros
    assert tied_share(values[torch.randperm(16)], [5, 10]) == 12 / 16
    assert tied_share(values.view(4, 4), range(17)) == 1
    # two equal segments of 3 and 5 pixels of 10, and one that has its own value
    segments, sizes = torch.tensor([0.5, 0.7, 0.5]), torch.tensor([3, 2, 5])
    assert tied_share(segments, [1], sizes) == 0
    assert tied_share(segments, [2], sizes) == 0.8


def test_patches_count_by_their_pixels() -> None:
    # 3 x 5 pixels in patches of 2: 4, 4, 2, 2, 2 and 1 pixels. The first has a sum of its own, the others are 0.
    saliency, detector = torch.zeros(3, 5), Weighted(random(3, 5) / 15)
    saliency[0, 0] = 1
    picture = picture_of(white(3, 5))
    found = values_of(make(RegionPerturbation, patch=2, fill="black"), saliency, detector, picture)
    assert found["tied-share"] == 11 / 15
    one = make(RegionPerturbation, patch=2, fill="black", regions=1)
    assert values_of(one, saliency, detector, picture)["tied-share"] == 0


# ---- every measure that removes in an order -------------------------------------------------------------------------

SIDE = 8
ROWS = torch.tensor([5.0, 4, 3, -3, 2, 1, 0, -1])[:, None].expand(SIDE, SIDE)
DETECTOR = Weighted(ROWS / ROWS.sum())
TIED = torch.where(random(SIDE, SIDE, seed=4) > 0.85, random(SIDE, SIDE, seed=5), torch.zeros(SIDE, SIDE))
"""A map that is zero on about 85 % of the pixels, as maps after a rectifier are."""
ONE_PATCH = torch.zeros(SIDE, SIDE)
ONE_PATCH[:2, :2] = torch.tensor([[1.0, 0.5], [0.25, 0.75]])
PICTURE = picture_of(0.5 + random(3, SIDE, SIDE, seed=6) / 4, real=random(3, SIDE, SIDE, seed=7) / 8)


@pytest.fixture
def orders(monkeypatch: pytest.MonkeyPatch) -> dict[int, str]:
    """The direction of reading that each order of ties takes, in place of a random permutation."""
    chosen = {1: "forwards", 2: "forwards", 3: "forwards"}

    def make_order(self: TieOrder, query: Any) -> Any:
        order = torch.arange(self.count, dtype=torch.int32)
        return type("Made", (), {"tensors": {"order": order if chosen[self.number] == "forwards" else order.flip(0)}})

    monkeypatch.setattr(TieOrder, "make", make_order)
    return chosen


@pytest.mark.parametrize("cls", CLASSES)
def test_the_spread_is_how_far_the_orders_are_apart(cls: Any, orders: dict[int, str]) -> None:
    saliency = ONE_PATCH if cls in OF_SEGMENTS else TIED
    metric = make(cls, **CLASSES[cls])
    primary = [s for s in metric.scores if s.primary]
    assert [s.name for s in primary] == SEVERAL.get(cls, [primary[0].name])
    reading = values_of(make(cls, **CLASSES[cls], ties="reading"), saliency, DETECTOR, PICTURE)
    forwards = values_of(metric, saliency, DETECTOR, PICTURE)
    orders[2] = "backwards"
    both = values_of(metric, saliency, DETECTOR, PICTURE)
    orders[1] = orders[3] = "backwards"
    backwards = values_of(metric, saliency, DETECTOR, PICTURE)
    assert {name: forwards[name] for name in reading} == reading
    moved = []
    for spec in primary:
        name, spread = spec.name, spec.tie_spread
        assert spread == ("tie-spread" if len(primary) == 1 else f"tie-spread-{name}")
        assert both[name] == forwards[name]  # the score is that of the first order
        first, last = forwards[name], backwards[name]
        assert first is not None
        assert last is not None
        assert (forwards[spread], backwards[spread]) == (0, 0)
        assert both[spread] == abs(first - last)
        moved.append(abs(first - last))
    assert max(moved) > 0  # the order matters here
    assert both["tied-share"] == reading["tied-share"]


@pytest.mark.parametrize("cls", CLASSES)
def test_passes_are_bounded_and_those_of_reading_exact(cls: Any) -> None:
    saliency = ONE_PATCH if cls in OF_SEGMENTS else TIED
    query = _query(DETECTOR, PICTURE)
    for ties in ("seeded", "reading"):
        metric = make(cls, **CLASSES[cls], ties=ties)
        taken, said = done_of(metric, saliency, DETECTOR, PICTURE).passes, metric.passes(query)
        assert taken.forward == said.forward or (not said.exact and taken.forward < said.forward)
        assert said.exact == (ties == "reading") or cls in (*OF_SEGMENTS, TopMinusRandom)


@pytest.mark.parametrize("cls", CLASSES)
def test_definitions_are_told_apart(cls: Any) -> None:
    seeded, reading = (make(cls, **CLASSES[cls], ties=ties).scores for ties in ("seeded", "reading"))
    named = {s.name: s for s in seeded}
    own = [s for s in reading if s.name != "tied-share"]
    assert {s.version for s in own} == {1}
    assert {named[s.name].version for s in own} == {2}
    assert not any(s.tie_spread for s in reading)
    for spec in (s for s in seeded if s.tie_spread):
        spread = named[spec.tie_spread]
        assert (spread.low, spread.high) == (0, spec.high - spec.low)
        assert (spread.primary, spread.ranked, spread.ranks_evidence, spread.better) == (False, False, False, "none")


@pytest.mark.parametrize("cls", CLASSES)
def test_a_tied_map_scores_the_same_whatever_is_scored_beside_it(cls: Any) -> None:
    pictures = [
        picture_of(random(3, SIDE, SIDE, seed=i), f"s{i}", real=random(3, SIDE, SIDE, seed=30 + i)) for i in range(3)
    ]
    metric, maps = make(cls, **CLASSES[cls]), drawn_by(lambda r: TIED.roll(len(r.picture.sample.id)), "map")
    together = score(metric, maps, DETECTOR, pictures, 1)
    backwards = score(metric, maps, DETECTOR, pictures[::-1], 1)[::-1]
    alone = [score(metric, maps, DETECTOR, [picture], 1)[0] for picture in pictures]
    assert [value(d) for d in together] == [value(d) for d in backwards] == [value(d) for d in alone]


# ---- the orders -----------------------------------------------------------------------------------------------------


def test_an_order_follows_from_the_seed_the_picture_and_its_number_alone() -> None:
    other = Weighted(torch.full((2, 2), 0.25), digest="another training run")
    first = order_of(1, count=64)
    assert first == order_of(1, count=64) == order_of(1, count=64, detector=other)
    assert first != order_of(2, count=64) != order_of(3, count=64) != first
    assert first != order_of(1, count=64, seed=1)
    assert first != order_of(1, count=64, picture=picture_of(torch.ones(3, 2, 2), "t"))
    case: Any = type("Case", (), {"artefacts": make_bench(FOUR).artefacts(), "picture": WHITE})
    assert _finish(tie_order(case, 64, 1)).tolist() == first
    assert _finish(tie_order(case, 64, 0)) is None  # the order of reading


def test_metrics_of_a_map_share_the_curves_of_all_orders() -> None:
    bench = make_bench(DETECTOR)
    metrics = [
        make(Deletion, steps=8), make(AccuracyUnderRemoval, steps=8, hidden="black"), make(Abpc, steps=8),
        make(PixelFlipping, fill="black", pixels=8), make(TopMinusRandom, steps=8, draws=2),
    ]  # fmt: skip
    taken = [done_of(metric, TIED, DETECTOR, PICTURE, bench=bench).passes.forward for metric in metrics]
    # three orders of deletion, three of insertion, nothing, nothing, and the random maps alone
    assert taken == [3 * 8, 3 * 8, 0, 0, 2 * 8]
    query = _query(DETECTOR, PICTURE)
    names = [set(metric.shared(query)) for metric in metrics]
    assert [len(n) for n in names] == [3, 6, 6, 3, 3]
    assert names[0] == names[3] == names[4] < names[1] == names[2]
    few = PassQuery(sample=PICTURE.sample, facts=DETECTOR.facts, few_ties=True)
    assert [len(metric.shared(few)) for metric in metrics] == [1, 2, 2, 1, 1]
    assert names[0].isdisjoint(make(Deletion, steps=8, ties="reading").shared(query))


def test_a_map_and_its_picture_turned_upside_down_have_one_deletion() -> None:
    even = Weighted(torch.full((64, 64), 1 / 64**2))  # the mean colour: no place matters
    image, saliency = torch.zeros(3, 64, 64), torch.zeros(64, 64)
    image[:, :28], saliency[28:36, 28:36] = 1, 1

    def gap(ties: str) -> float:
        metric = make(Deletion, ties=ties)
        as_is = values_of(metric, saliency, even, picture_of(image))["deletion"]
        turned = values_of(metric, saliency.rot90(2), even, picture_of(image.rot90(2, (1, 2)), "turned"))["deletion"]
        assert as_is is not None
        assert turned is not None
        return abs(as_is - turned)

    assert gap("reading") > 0.2
    assert gap("seeded") < 0.01


# ---- the plan -------------------------------------------------------------------------------------------------------


def test_few_ties_are_counted_once_where_twenty_steps_cannot_cut_a_fifth() -> None:
    few = PassQuery(sample=PICTURE.sample, facts=DETECTOR.facts, few_ties=True)
    assert make(Deletion, steps=20).passes(few) == Passes(forward=20)
    assert make(Deletion, steps=21).passes(few) == Passes(forward=63, exact=False)


def test_the_random_control_has_few_ties() -> None:
    generator = torch.Generator().manual_seed(0)
    for cells in (0, 7):
        assert make(RandomMap, cells=cells).few_ties
        for size in (64, 224):
            saliency = random_map((size, size), cells, generator)[0].half()
            assert np.unique(saliency.numpy(), return_counts=True)[1].max() <= size * size / 100
    assert not make(RandomMap, cells=4).few_ties  # its corners are flat on 1/64 each


def _query(detector: Any, picture: Picture) -> PassQuery:
    return PassQuery(sample=picture.sample, facts=detector.facts)
