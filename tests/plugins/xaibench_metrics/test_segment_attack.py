"""Segment and counterpart attack: closed forms on a linear margin, controls, and who is left out."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from xaibench.api import Explanation, Native, Passes, PassQuery, Picture, Sample, Score, Scores, Streams
from xaibench_metrics.attack.choice import CELLS, area_bin, random_regions, ranked_segments, region_of, shifted_grid
from xaibench_metrics.attack.counterpart_attack import CounterpartAttack
from xaibench_metrics.attack.judging import distortion_upper_bound, percentile
from xaibench_metrics.attack.segment_attack import SegmentAttack, correlation, grid_advantages
from xaibench_metrics.attack.subjects import why_no_attack
from xaibench_perturbation import slic_segments
from xaibench_testing.harness import drawn_by, make_bench, metric_use, score, value
from xaibench_testing.planted import LinearDetector

SIZE = (32, 48)
STEP, BOUND = 1 / 255, 16 / 255


def noise(seed: int = 0) -> Tensor:
    """A smooth picture between .3 and .7, so that no step is clipped."""
    small = torch.rand((1, 3, 6, 8), generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(small, SIZE, mode="bilinear")[0] * 0.4 + 0.3


def picture(image: Tensor, *, id: str = "f", label: Any = "fake", real: Picture | None = None) -> Picture:
    return Picture(
        sample=Sample(id=id, label=label, group="g", pair=real.sample.id if real else None), image=image, mask=None,
        landmarks=None, digest=id, native=lambda: Native(np.zeros((1, 1, 3), np.uint8)), counterpart=lambda: real,
    )  # fmt: skip


def linear(z: float, image: Tensor, seed: int = 3) -> LinearDetector:
    """A linear margin that is z on ``image``."""
    weights = torch.randn((3, *SIZE), generator=torch.Generator().manual_seed(seed)).double() / 100
    return LinearDetector(weights, z - float((weights * image.double()).sum()))


def by_item(scores: Scores) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for s in scores.values:
        found.setdefault(s.item, {})[s.name] = s.value if s.status == "ok" else s
    return found


def attack(metric: type, detector: Any, shown: Picture, saliency: Any, **parameters: Any) -> Scores:
    component = metric(metric.Parameters.model_validate(parameters))
    maps = drawn_by(lambda request: saliency(request.picture.image) if callable(saliency) else saliency)
    return value(score(component, maps, detector, [shown], 1, batch_size=16)[0])


# ---- closed forms ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("z", "steps"), [(0.3, 10), (0.3, 40), (60.0, 20)])
def test_pgd_on_a_linear_margin_gives_the_closed_forms(z: float, steps: int) -> None:
    image = noise()
    detector = linear(z, image)
    saliency = torch.rand(SIZE, generator=torch.Generator().manual_seed(5))
    found = by_item(attack(
        SegmentAttack, detector, picture(image), saliency,
        attack="pgd", steps=steps, draws=4, top=(2,), segmentations=("slic-50",),
    ))["slic-50 top-2"]  # fmt: skip
    labels = slic_segments(image, 50)
    region = region_of(labels, ranked_segments(saliency.half().float(), labels)[:2])
    weight = float(detector.weights[:, region].abs().sum())
    fall = min(steps * STEP, BOUND) * weight
    assert found["margin-drop"] == pytest.approx(fall, rel=1e-4)
    assert found["area"] == pytest.approx(float(region.double().mean()))
    flips = fall > z
    assert found["flip"] == float(flips) == 1 - found["accuracy"]
    if flips:
        assert found["distortion-upper-bound"] == pytest.approx(z / weight, rel=1e-3)
        assert found["queries"] == math.ceil(z / (STEP * weight)) + 1
        # stopped at the first step past zero: the margin there gives the published number
        stopped = z - math.ceil(z / (STEP * weight)) * STEP * weight
        assert found["sufficiency"] == pytest.approx(_sigmoid(z) - _sigmoid(stopped), abs=1e-5)
    else:
        assert found["distortion-upper-bound"] == pytest.approx(min(steps * STEP, BOUND)), "the largest that was tried"
        assert found["queries"] == steps
        assert found["sufficiency"] == pytest.approx(_sigmoid(z) - _sigmoid(z - fall), abs=1e-5)
    assert found["drop-over-area"] == pytest.approx(found["sufficiency"] / found["area"])


def _sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z))


def test_the_ceiling_is_at_least_what_any_map_reaches_with_one_segment() -> None:
    image = noise()
    detector = linear(0.5, image)
    labels = slic_segments(image, 50)
    weights = torch.stack([detector.weights[:, labels == s].abs().sum() for s in range(int(labels.max()) + 1)])
    best = int(weights.argmax())
    saliency = (labels == best).float()
    found = by_item(attack(
        SegmentAttack, detector, picture(image), saliency, attack="pgd", steps=3, draws=0, top=(1,), segmentations=("slic-50",)
    ))["slic-50 top-1"]  # fmt: skip
    assert found["ceiling-drop"] == found["margin-drop"] == pytest.approx(3 * STEP * float(weights[best]), rel=1e-4)
    assert found["drop-percentile"].reason.startswith("no random regions")


def test_the_percentile_counts_random_regions_of_the_same_area() -> None:
    assert percentile(2.0, [1.0, 2.0, 3.0, 0.0]) == 0.625
    image = noise()
    detector = linear(0.5, image)
    chosen = {"attack": "pgd", "steps": 2, "draws": 8, "top": (3,), "segmentations": ("slic-50",), "ceiling": False}
    found = by_item(attack(SegmentAttack, detector, picture(image), image.mean(dim=0), **chosen))["slic-50 top-3"]
    labels = slic_segments(image, 50)
    own = region_of(labels, ranked_segments(image.mean(dim=0).half().float(), labels)[:3])
    regions = random_regions(labels, area_bin(int(own.sum())), 8, _streams(chosen))
    drops = [2 * STEP * float(detector.weights[:, r].abs().sum()) for r in regions]
    assert found["random-drop"] == pytest.approx(sum(drops) / 8, rel=1e-4)
    assert found["drop-percentile"] == percentile(found["margin-drop"], drops)
    assert found["ceiling-drop"].reason.startswith("the ceiling was not asked for")


def _streams(parameters: dict[str, Any]) -> Streams:
    """Those of the metric on the sample, as the harness keys them."""
    component = SegmentAttack(SegmentAttack.Parameters.model_validate(parameters))
    return Streams.of(0, 0, metric_use(component).name, "f", "", "")


@pytest.mark.parametrize(("trace", "turned_at", "expected"), [
    ([1.0, 0.5, -0.5], 2, 1.5), ([1.0, -3.0], 1, 0.25), ([1.0, 0.9], -1, 16.0), ([1.0, 0.8, 0.2], 2, 2.0),
    ([*[1.0] * 20, -1.0], 20, 16.0),
])  # fmt: skip
def test_the_distortion_is_read_between_two_steps(trace: list[float], turned_at: int, expected: float) -> None:
    assert distortion_upper_bound(trace, turned_at, 1 / 255, 16 / 255) == pytest.approx(expected / 255)


# ---- grids ----------------------------------------------------------------------------------------------------------


def test_the_grid_advantage_is_the_difference_of_the_percentiles() -> None:
    image = noise()
    chosen = {"attack": "pgd", "steps": 2, "draws": 4, "top": (1, 2), "ceiling": False}
    grids = {"segmentations": ("grid-7", "slic-50", "slic-80")}
    found = by_item(attack(SegmentAttack, linear(0.5, image), picture(image), image.mean(dim=0), **chosen, **grids))
    advantages = {item: scores.get("grid-advantage") for item, scores in found.items()}
    percentiles = {item: scores["drop-percentile"] for item, scores in found.items()}
    assert advantages == {
        "grid-7 top-1": percentiles["slic-50 top-1"] - percentiles["grid-7 top-1"],
        "grid-7 top-2": percentiles["slic-50 top-2"] - percentiles["grid-7 top-2"],
        "slic-80 top-1": percentiles["slic-50 top-1"] - percentiles["slic-80 top-1"],
        "slic-80 top-2": percentiles["slic-50 top-2"] - percentiles["slic-80 top-2"],
        "slic-50 top-1": None,
        "slic-50 top-2": None,
    }


def test_there_is_no_grid_advantage_without_both_percentiles_or_without_both_grids() -> None:
    values = [
        Score(name="drop-percentile", item="slic-50 top-1", value=0.75),
        Score(name="drop-percentile", item="grid-7 top-1", status="undefined", reason="no signal: silent"),
        Score(name="drop-percentile", item="slic-80 top-1", value=1.0),
    ]
    lacking, known = grid_advantages(values, ["grid-7", "slic-80"], [1])
    assert (lacking.item, lacking.status) == ("grid-7 top-1", "undefined")
    assert lacking.reason == "no drop-percentile of grid-7 top-1: no signal: silent"
    assert (known.item, known.value) == ("slic-80 top-1", -0.25)
    for grids, has in ((("slic-50",), False), (("grid-7", "slic-80"), False), (("slic-80", "slic-50"), True)):
        component = SegmentAttack(SegmentAttack.Parameters.model_validate({"segmentations": grids}))
        assert ("grid-advantage" in {s.name for s in component.scores}) is has


def test_a_bound_is_censored_exactly_where_the_verdict_did_not_turn() -> None:
    spec = next(s for s in SegmentAttack(SegmentAttack.Parameters()).scores if s.name == "distortion-upper-bound")
    image = noise()
    for z, flipped in ((0.03, 1.0), (60.0, 0.0)):
        found = by_item(attack(
            SegmentAttack, linear(z, image), picture(image), image.mean(dim=0),
            attack="pgd", steps=30, draws=0, top=(2,), segmentations=("slic-50",), ceiling=False,
        ))["slic-50 top-2"]  # fmt: skip
        assert found[spec.event] == flipped
        assert (found["distortion-upper-bound"] == BOUND) is (flipped == 0)


def test_attacks_of_a_picture_share_batches_and_every_pass_counts() -> None:
    image = noise()
    detector = Shown(linear(60.0, image))
    component = SegmentAttack(SegmentAttack.Parameters.model_validate(
        {"attack": "pgd", "steps": 3, "draws": 6, "top": (1, 2), "segmentations": ("slic-50",), "ceiling": False}
    ))  # fmt: skip
    (done,) = score(component, drawn_by(lambda r: image.mean(dim=0)), detector, [picture(image)], 1, batch_size=8)
    # 2 * (1 + 6) attacks of 3 steps and a reading, and 2 readings of an attacked picture; one for the clean one
    assert value(done).values
    assert (done.passes.forward, done.passes.backward) == (14 * 4 + 2, 14 * 3)
    assert detector.calls <= 18  # one after another they would be 14 * 4 + 3


class Shown:
    """Counts the calls of another detector."""

    def __init__(self, inner: LinearDetector) -> None:
        self.inner, self.calls = inner, 0

    def __getattr__(self, name: str) -> Any:
        if name in ("probabilities", "scores", "logits"):
            self.calls += 1
        return getattr(self.inner, name)


# ---- regions --------------------------------------------------------------------------------------------------------


def test_random_regions_have_the_area_and_know_nothing_of_the_map() -> None:
    labels = slic_segments(noise(), 50)
    streams = Streams.of(0, 0, "m", "s")
    for pixels in (20, 100, 400):
        regions = random_regions(labels, area_bin(pixels), 20, streams)
        assert len(regions) == 20
        assert all(abs(int(r.sum()) - pixels) <= 0.03 * pixels + 1 for r in regions)
        assert len({r.numpy().tobytes() for r in regions}) >= (20 if pixels == 400 else 10)


def test_a_shifted_grid_covers_the_picture_at_an_offset_of_its_own() -> None:
    one, two = (shifted_grid(70, 140, 7, Streams.of(seed, 0, "m", "s")) for seed in (0, 1))
    for labels in (one, two):
        assert labels.min() == 0
        assert len(labels.unique()) == labels.max() + 1 <= 64
        assert torch.bincount(labels.flatten()).max() == 10 * 20
    assert not torch.equal(one, two)


def test_regions_of_equal_saliency_rank_by_number() -> None:
    labels = torch.arange(6).repeat(2, 1)
    assert ranked_segments(torch.tensor([[1.0, 2, 2, 0, 0, 5]] * 2), labels).tolist() == [5, 1, 2, 0, 3, 4]


# ---- published code, counterpart, who is left out -------------------------------------------------------------------


def test_nes_as_published_counts_its_queries() -> None:
    image = noise()
    found = by_item(attack(
        SegmentAttack, linear(50.0, image), picture(image), image.mean(dim=0),
        mode="t24-code", steps=2, pairs=4, draws=0, top=(1,), segmentations=("slic-50",), ceiling=False,
    ))["slic-50 top-1"]  # fmt: skip
    assert found["queries"] == 2 * 9
    assert found["accuracy"] == 1
    assert found["distortion-upper-bound"].reason == "mode=t24-code moves normalised values without a bound"


@pytest.mark.parametrize(("mode", "left_out"), [("strict", ""), ("t24-code", "a fake that is called real already")])
def test_the_published_verdict_is_the_likeliest_of_several_classes(mode: Any, left_out: str) -> None:
    facts = replace(linear(1.0, noise()).facts, classes=("real", "swap", "paint"))
    case = SimpleNamespace(
        detector=SimpleNamespace(facts=facts), picture=picture(noise()), target=1, clean=torch.tensor([0.4, 0.3, 0.3])
    )
    assert why_no_attack(case, mode) == left_out  # type: ignore[arg-type]


@pytest.mark.parametrize("level", [0.0, 0.3])
def test_a_map_without_a_first_segment_is_undefined(level: float) -> None:
    image, chosen = noise(), {"attack": "pgd", "steps": 2, "draws": 0, "ceiling": False}
    shown = picture(image, real=picture(noise(7), id="r", label="real"))
    for metric in (SegmentAttack, CounterpartAttack):
        scores = attack(metric, linear(1.0, image), shown, torch.full(SIZE, level), **chosen)
        told = {s.reason for s in scores.values if s.name != "grid-advantage"}
        assert told == {"the map is constant: it puts no segment first"}, metric


@pytest.mark.parametrize("mode", ["strict", "t24-code"])
def test_a_fake_called_real_counts_in_the_published_mode_alone(mode: str) -> None:
    image = noise()
    scores = attack(
        SegmentAttack,
        linear(-1.0, image),
        picture(image),
        image.mean(dim=0),
        mode=mode,
        top=(1,),
        segmentations=("slic-50",),
    )
    found = {s.name: s for s in scores.values}
    if mode == "strict":
        assert {s.reason for s in scores.values} == {"a fake that is called real already"}
        return
    assert found["accuracy"].value == found["sufficiency"].value == 0
    assert found["margin-drop"].status == "undefined"


def test_real_pictures_are_left_out() -> None:
    image = noise()
    for metric in (SegmentAttack, CounterpartAttack):
        scores = attack(metric, linear(1.0, image), picture(image, label="real"), image.mean(dim=0))
        assert {s.reason for s in scores.values} == {"a real picture: there is no manipulation to undo"}


def test_the_plan_counts_attacks_ceiling_map_and_reading() -> None:
    query = PassQuery(
        sample=picture(noise()).sample, facts=linear(1.0, noise()).facts, map=Passes(forward=5, backward=3)
    )
    parameters = CounterpartAttack.Parameters(attack="pgd", steps=3, draws=2, ceiling=False)
    attacks = parameters.most_passes().times(3)  # the region and two random ones
    assert CounterpartAttack(parameters).passes(query) == attacks + Passes(forward=6, backward=3, exact=False)


def test_the_counterpart_names_the_region() -> None:
    image, real = noise(), picture(noise(7), id="r", label="real")
    detector = linear(0.5, image)
    shown = picture(image, real=real)
    found = by_item(attack(
        CounterpartAttack, detector, shown, lambda seen: seen.mean(dim=0), attack="pgd", steps=3, draws=2
    ))["slic-100 top-1"]  # fmt: skip
    labels = slic_segments(real.image, 100)
    region = region_of(labels, ranked_segments(real.image.mean(dim=0), labels)[:1])
    assert found["margin-drop"] == pytest.approx(3 * STEP * float(detector.weights[:, region].abs().sum()), rel=1e-4)
    assert found["area"] == pytest.approx(float(region.double().mean()))
    alone = attack(CounterpartAttack, detector, picture(image), image.mean(dim=0))
    assert {s.reason for s in alone.values} == {"the picture has no real counterpart"}


def test_the_counterpart_has_a_ceiling_of_its_own() -> None:
    image, real = noise(), picture(noise(7), id="r", label="real")
    detector = linear(0.5, image)
    found = by_item(attack(
        CounterpartAttack, detector, picture(image, real=real), lambda seen: seen.mean(dim=0),
        attack="pgd", steps=3, draws=2,
    ))["slic-100 top-1"]  # fmt: skip
    labels = slic_segments(real.image, 100)
    sizes = detector.weights.abs().sum(dim=0)
    best = max(float(sizes[labels == s].sum()) for s in range(int(labels.max()) + 1))
    assert found["ceiling-drop"] == pytest.approx(3 * STEP * best, rel=1e-4)
    assert found["ceiling-drop"] >= found["margin-drop"]
    assert found["ceiling-flip"] == float(3 * STEP * best > 0.5)


def test_the_queries_of_an_attack_without_effect_are_those_that_were_asked() -> None:
    image = noise()
    detector = linear(0.5, image)
    labels = slic_segments(image, 50)
    first = region_of(labels, ranked_segments(image.mean(dim=0), labels)[:1])
    detector.weights[:, first] = 0
    blind = LinearDetector(detector.weights, 0.5 - float((detector.weights * image.double()).sum()))
    found = by_item(attack(
        SegmentAttack, blind, picture(image), image.mean(dim=0),
        steps=2, pairs=4, draws=0, top=(1,), segmentations=("slic-50",), ceiling=False,
    ))["slic-50 top-1"]  # fmt: skip
    assert found["margin-drop"] == 0
    assert found["queries"] > 0


def test_two_maps_that_choose_the_same_share_the_attacks() -> None:
    image = noise()
    detector = linear(0.5, image)
    component = SegmentAttack(SegmentAttack.Parameters.model_validate(
        {"attack": "pgd", "steps": 2, "draws": 2, "top": (1,), "segmentations": ("slic-50",)}
    ))  # fmt: skip
    bench = make_bench(detector, batch_size=16)
    saliency = image.mean(dim=0)
    first, second = (
        score(component, drawn_by(lambda r, c=c: saliency * c, f"map-{c}"), detector, [picture(image)], 1, bench=bench)[
            0
        ]
        for c in (1, 2)
    )
    assert first.passes.backward > 0 == second.passes.backward
    assert value(first) == value(second)


def test_stability_is_one_for_a_map_that_ignores_the_picture_and_asked_of_the_largest_region() -> None:
    image = noise()
    fixed = torch.rand(SIZE, generator=torch.Generator().manual_seed(1))
    found = by_item(attack(
        SegmentAttack, linear(0.5, image), picture(image), fixed,
        attack="pgd", steps=3, draws=0, ceiling=False, top=(1, 2), segmentations=("slic-50",), stability=True,
    ))  # fmt: skip
    assert found["slic-50 top-2"]["stability"] == pytest.approx(1)
    assert found["slic-50 top-1"]["stability"].status == "not_applicable"


@pytest.mark.parametrize("mode", ["t24-code", "strict"])
def test_the_published_attack_explains_a_picture_beyond_the_range_for_its_stability(mode: str) -> None:
    image = noise().round()  # all 0 or 1, where every step of half the pixels leaves [0, 1]
    explained: list[tuple[float, float]] = []

    def saliency(shown: Tensor) -> Tensor:
        explained.append((float(shown.min()), float(shown.max())))
        return shown.mean(dim=0)

    found = by_item(attack(
        SegmentAttack, linear(0.5, image), picture(image), saliency,
        mode=mode, steps=2, pairs=2, draws=0, ceiling=False, top=(3,), segmentations=("slic-50",), stability=True,
    ))["slic-50 top-3"]  # fmt: skip
    assert found["stability"] == pytest.approx(1, abs=0.01) and math.isfinite(found["sufficiency"])
    (clean, near) = explained
    assert clean == (0, 1)
    # the scale of this detector is 1: two steps of 1/255
    expected = (-2 * STEP, 1 + 2 * STEP) if mode == "t24-code" else (0, 1)
    assert near == pytest.approx(expected, abs=1e-5)


def test_stability_is_the_correlation_of_two_maps_and_may_be_negative() -> None:
    rising = torch.tensor([[0.0, 1.0], [2.0, 3.0]])
    assert correlation("top-1", rising, Explanation(map=5 - rising)).value == pytest.approx(-1)
    assert correlation("top-1", rising, Explanation(map=torch.tensor([[0.0, 1.0], [1.0, 0.0]]))).value == 0
    assert correlation("top-1", rising, Explanation(map=torch.ones(2, 2))).status == "undefined"
    assert "no second map" in correlation("top-1", None, Explanation(map=rising)).reason


def test_the_most_segments_are_half_as_many_again_as_slic_is_asked_for() -> None:
    assert dict(CELLS) == {"slic-50": 75, "slic-80": 120, "slic-100": 150, "grid-7": 8 * 8}
