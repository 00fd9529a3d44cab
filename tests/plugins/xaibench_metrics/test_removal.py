"""Flipping, patches, superpixels, ROAD, verdicts, random maps and repair: numbers by hand, and parity with Quantus."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from toys import stored

from xaibench.api import (
    Done,
    Facts,
    Native,
    Passes,
    PassQuery,
    Picture,
    Sample,
    Score,
    Scores,
    UsageError,
    build_parameters,
    parameter_class,
)
from xaibench_metrics.faithfulness.abpc import Abpc
from xaibench_metrics.faithfulness.accuracy import AccuracyUnderRemoval
from xaibench_metrics.faithfulness.against_random import (
    LEVELS,
    TopMinusRandom,
    level_roughness,
    roughness,
    smooth_map,
    smoothness_level,
)
from xaibench_metrics.faithfulness.curves import still_called
from xaibench_metrics.faithfulness.flipping import PixelFlipping, flip_counts
from xaibench_metrics.faithfulness.irof import Irof
from xaibench_metrics.faithfulness.regions import RegionPerturbation, patch_labels, patch_sums
from xaibench_metrics.faithfulness.removal import Deletion
from xaibench_metrics.faithfulness.repair import Repair, turning_point
from xaibench_metrics.faithfulness.road import Road, removed_counts
from xaibench_metrics.faithfulness.segment_accuracy import AccuracyUnderSegmentRemoval
from xaibench_metrics.faithfulness.segment_removal import current_means, segment_counts
from xaibench_testing import drawn_by, make_bench, score, value

WEIGHTS = torch.tensor([[0.4, 0.3], [0.2, 0.1]])
AOPC = "region-perturbation"
NO_TIES = {"tied-share": 0, "tie-spread": 0}
ORDER = torch.tensor([[4.0, 3.0], [2.0, 1.0]])
"""A map that takes the heaviest pixel first: a white picture that goes black scores 1, .6, .3, .1, 0."""


class Weighted:
    """P(fake) is the weighted mean of the picture's brightness."""

    device = torch.device("cpu")

    def __init__(self, weights: Tensor = WEIGHTS, threshold: float = 0.5) -> None:
        size = (weights.shape[0], weights.shape[1])
        self.weights = weights.double()
        self.facts = Facts(
            name="w", classes=("real", "fake"), real_class=0, input_size=size, digest="w", threshold=threshold
        )

    def probabilities(self, images: Tensor) -> Tensor:
        fake = (images.double().mean(dim=1) * self.weights).sum(dim=(1, 2)).clamp(0, 1)
        return torch.stack([1 - fake, fake], dim=1).float()

    def scores(self, images: Tensor) -> Tensor:
        return self.probabilities(images).log()


def picture_of(image: Tensor, real: Tensor | None = None, id: str = "s", label: Any = "fake") -> Picture:
    sample = Sample(id=id, label=label, group="g", pair=None if real is None else f"{id}-real")
    counterpart = None if real is None else picture_of(real, id=f"{id}-real", label="real")
    return Picture(
        sample=sample, image=image, mask=None, landmarks=None, digest=f"{id} {image.sum()}",
        native=lambda: Native(np.zeros((1, 1, 3), np.uint8)), counterpart=lambda: counterpart,
    )  # fmt: skip


def white(size: tuple[int, int] = (2, 2)) -> Tensor:
    return torch.ones(3, *size)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def make(cls: Any, **values: Any) -> Any:
    return cls(build_parameters(parameter_class(cls), values, "x"))


def done_of(
    metric: Any, saliency: Tensor, image: Tensor, *, detector: Any, target: int = 1, **more: Any
) -> Done[Scores]:
    picture = more.pop("picture", None) or picture_of(image, more.pop("real", None))
    (done,) = score(metric, drawn_by(lambda _: saliency), detector, [picture], target, **more)
    value(done)
    return done


def scores_of(metric: Any, saliency: Tensor = ORDER, image: Tensor | None = None, **more: Any) -> Scores:
    more = {"detector": Weighted(), **more}
    return value(done_of(metric, saliency, white() if image is None else image, **more))


def values_of(*arguments: Any, **more: Any) -> dict[str, float | None]:
    found = scores_of(*arguments, **more)
    return {s.name + (f"[{s.item}]" if s.item else ""): s.value for s in found.values}


def value_of(*arguments: Any, **more: Any) -> float:
    first = scores_of(*arguments, **more).values[0]
    assert first.value is not None, first.reason
    return first.value


def reason_of(*arguments: Any, **more: Any) -> str:
    found: tuple[Score, ...] = scores_of(*arguments, **more).values
    assert {s.status for s in found} == {"undefined"}
    (reason,) = {s.reason for s in found}
    return reason


def curve_of(scores: Scores, name: str) -> tuple[list[float], list[float]]:
    (curve,) = [c for c in scores.curves if c.name == name]
    return list(curve.x), list(curve.y)


# ---- pixel flipping -------------------------------------------------------------------------------------------------


def test_pixel_flipping_by_hand() -> None:
    one_by_one = make(PixelFlipping, pixels=1, fill="black")
    x, y = curve_of(scores_of(one_by_one), "pixel-flipping")
    assert x == [0, 0.25, 0.5, 0.75, 1]
    assert y == pytest.approx([1, 0.6, 0.3, 0.1, 0])
    assert value_of(one_by_one) == pytest.approx((0.8 + 0.45 + 0.2 + 0.05) / 4)
    assert value_of(one_by_one, -ORDER) == pytest.approx((0.95 + 0.8 + 0.55 + 0.2) / 4)
    # without the start, steps of width 1
    assert value_of(make(PixelFlipping, pixels=1, fill="black", area="quantus")) == pytest.approx(0.45 + 0.2 + 0.05)
    # three at once, then the one that is left: 0.75 * 0.55 + 0.25 * 0.05
    assert value_of(make(PixelFlipping, pixels=3, fill="black")) == pytest.approx(0.425)
    assert flip_counts(4, 3) == (3, 4)
    assert flip_counts(4, 9) == (4,)


def test_pixel_flipping_to_the_minimum_changes_a_white_picture_not_at_all() -> None:
    assert value_of(make(PixelFlipping, pixels=1)) == 1
    image = white()
    image[2, 0, 1] = 0.25  # the minimum over all channels
    # .4 is lost to .1, the second pixel had 2.25 / 3 of its .3
    _, y = curve_of(scores_of(make(PixelFlipping, pixels=2), ORDER, image), "pixel-flipping")
    assert y == pytest.approx([0.925, 0.25 * 0.7 + 0.3, 0.25])


def test_pixel_flipping_is_deletion_where_the_steps_agree() -> None:
    detector, image, saliency = Weighted(noise(8, 8) / 64), noise(3, 8, 8, seed=1), noise(8, 8, seed=2)
    flipped = value_of(make(PixelFlipping, pixels=4, fill="black"), saliency, image, detector=detector)
    assert flipped == value_of(make(Deletion, steps=16), saliency, image, detector=detector)


# ---- patches --------------------------------------------------------------------------------------------------------


def test_region_perturbation_by_hand() -> None:
    two, all_four = (make(RegionPerturbation, patch=1, regions=n, fill="black") for n in (2, 100))
    assert values_of(two) == {
        "region-perturbation": pytest.approx((0 + 0.4 + 0.7) / 3),
        "selectivity": pytest.approx((1 + 0.6 + 0.3) / 3),
        **NO_TIES,
    }
    assert value_of(all_four) == pytest.approx((0 + 0.4 + 0.7 + 0.9 + 1) / 5)
    assert value_of(all_four, -ORDER) == pytest.approx((0 + 0.1 + 0.3 + 0.6 + 1) / 5)
    assert curve_of(scores_of(two), "region-perturbation")[0] == [0, 1, 2]


def test_patches_at_the_border_are_cropped() -> None:
    labels = patch_labels(3, 5, 2)
    assert labels.tolist() == [[0, 0, 1, 1, 2], [0, 0, 1, 1, 2], [3, 3, 4, 4, 5]]
    assert patch_sums(torch.ones(3, 5), labels).tolist() == [4, 4, 2, 2, 2, 1]
    detector = Weighted(torch.full((3, 5), 1 / 15))
    metric = make(RegionPerturbation, patch=2, fill="black")
    _, y = curve_of(scores_of(metric, torch.arange(15.0).view(3, 5), white((3, 5)), detector=detector), AOPC)
    # sums 12, 20, 13, 21, 25, 14: patches 4, 3, 1, 5, 2, 0 of 2, 2, 4, 1, 2 and 4 pixels
    assert y == pytest.approx([1, 13 / 15, 11 / 15, 7 / 15, 6 / 15, 4 / 15, 0], abs=1e-6)


def test_patches_that_all_get_the_same_are_not_ordered() -> None:
    one_patch = make(RegionPerturbation, patch=2)
    assert "every patch the same" in reason_of(one_patch)
    checks = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).repeat(2, 2)
    assert "every patch the same" in reason_of(one_patch, checks, white((4, 4)), detector=Weighted(noise(4, 4)))


def test_noise_is_the_same_for_every_map_of_a_picture() -> None:
    metric, detector = make(RegionPerturbation, patch=1), Weighted(noise(4, 4) / 16)
    ends = {
        curve_of(scores_of(metric, noise(4, 4, seed=s), white((4, 4)), detector=detector), AOPC)[1][-1] for s in (1, 2)
    }
    assert len(ends) == 1
    assert 0 < ends.pop() < float(detector.weights.sum())


# ---- superpixels ----------------------------------------------------------------------------------------------------


def test_irof_by_hand() -> None:
    cells = {"segments": "grid", "count": 4, "fill": "black"}
    assert value_of(make(Irof, **cells)) == pytest.approx(1 - 0.375)
    assert value_of(make(Irof, **cells, area="quantus")) == pytest.approx(4 - (0.45 + 0.2 + 0.05))
    # a picture at half brightness loses the same shares
    x, y = curve_of(scores_of(make(Irof, **cells), ORDER, white() / 2), "irof")
    assert x == [0, 0.25, 0.5, 0.75, 1]
    assert y == pytest.approx([1, 0.6, 0.3, 0.1, 0], abs=1e-6)
    # the mean colour of a white picture is white
    assert value_of(make(Irof, segments="grid", count=4)) == 0
    # white leaves only where it is taken for black: a score that rises is negative
    rising = value_of(make(Irof, segments="grid", count=4, fill="white"), ORDER, white() / 2)
    assert rising == pytest.approx(1 - (1 + 2 * (1.4 + 1.7 + 1.9) + 2) / 8, abs=1e-6)


def test_irof_stays_at_one_where_quantus_would_say_one() -> None:
    # a score that stays at p_0: nothing is lost; without k = 0 and undivided, L - trapezoid is L - (L - 1) = 1
    kept = {"segments": "grid", "count": 4, "fill": "white"}
    assert value_of(make(Irof, **kept)) == 0
    assert value_of(make(Irof, **kept, area="quantus")) == 1


def test_current_means_follow_the_picture_as_it_changes() -> None:
    image = torch.tensor([[1.0, 0.0], [0.5, 0.5]]).expand(3, 2, 2)
    labels = torch.arange(4).view(2, 2)
    painted = current_means(image, labels, torch.arange(4))
    # 2/4, then (.5 + 0 + .5 + .5)/4, then (.5 + .375 + .5 + .5)/4, then (.5 + .375 + .46875 + .5)/4
    assert painted[0].flatten().tolist() == pytest.approx([0.5, 0.375, 0.46875, 0.4609375])
    swapped = current_means(image, labels, torch.tensor([1, 0, 2, 3]))  # the black pixel goes first
    assert swapped[1].flatten().tolist()[:2] == pytest.approx([0.625, 0.5])


def test_irof_bounds_its_points_and_says_why_it_has_none() -> None:
    assert segment_counts(5, 8).tolist() == [1, 2, 3, 4, 5]
    assert segment_counts(9, 4).tolist() == [1, 2, 3, 9]
    cells = {"segments": "grid", "count": 4}
    assert "every segment the same" in reason_of(make(Irof, **cells), torch.ones(2, 2))
    # SLIC drops pieces of less than half the size that was wanted, here all of them
    noisy, detector = noise(3, 16, 16), Weighted(noise(16, 16) / 256)
    assert "in one segment" in reason_of(make(Irof, count=2), noise(16, 16), noisy, detector=detector)
    assert "no probability" in reason_of(make(Irof, **cells), ORDER, torch.zeros(3, 2, 2))


def test_accuracy_under_segment_removal_by_hand() -> None:
    # P(fake) 1, .6, .3, .1, 0 as segments go black, heaviest first: fake down to .6, so 1, 1, 0, 0, 0 and area 3/8
    cells = {"segments": "grid", "count": 4, "fill": "black"}
    metric = make(AccuracyUnderSegmentRemoval, **cells)
    scores = scores_of(metric, ORDER)
    assert {s.name: s.value for s in scores.values} == {"irof-accuracy": 0.375, **NO_TIES}
    assert curve_of(scores, "irof-accuracy") == ([0, 0.25, 0.5, 0.75, 1], [1, 1, 0, 0, 0])
    # lightest first: 1, .9, .7, .4, 0, so 1, 1, 1, 0, 0; at a threshold of .35 one more
    assert value_of(metric, -ORDER) == 0.625
    assert value_of(metric, -ORDER, detector=Weighted(threshold=0.35)) == 0.875
    # what is called real all along is never called fake
    assert value_of(metric, ORDER, torch.zeros(3, 2, 2)) == 0
    # the mean colour of a white picture is white: nothing changes
    assert value_of(make(AccuracyUnderSegmentRemoval, segments="grid", count=4)) == 1
    assert "every segment the same" in reason_of(metric, torch.ones(2, 2))


def test_irof_and_its_accuracy_take_their_passes_together() -> None:
    cells = {"segments": "grid", "count": 16}
    detector, image, saliency = Weighted(noise(16, 16) / 128), noise(3, 16, 16, seed=1), noise(16, 16, seed=2)
    for more, together in (({"fill": "black"}, 0), ({"fill": "current-mean"}, 0), ({"fill": "noise"}, 16)):
        irof, accuracy = (make(cls, **cells, **more) for cls in OF_SEGMENTS)
        assert done_of(accuracy, saliency, image, detector=detector).passes == Passes(16)
        at = make_bench(detector)
        picture, drawn = picture_of(image), drawn_by(lambda _: saliency)
        spent = [score(m, drawn, detector, [picture], 1, bench=at)[0].passes.forward for m in (irof, accuracy)]
        assert spent == [16, together], more


# ---- ROAD -----------------------------------------------------------------------------------------------------------


def test_road_by_hand() -> None:
    # one line of black, white, black, and a detector that sees the middle alone
    image = torch.tensor([[0.0, 1.0, 0.0]]).expand(3, 1, 3)
    detector, saliency = Weighted(torch.tensor([[0.0, 1.0, 0.0]])), torch.tensor([[1.0, 3.0, 2.0]])
    exact = make(Road, percentages=(34, 67), noise=0)
    assert removed_counts(3, (34, 67)) == [1, 2]
    # without the middle it is its neighbours, black; without the others they are the middle, white
    assert values_of(exact, saliency, image, detector=detector) == {
        "combined": 0.5, "morf": 0, "lerf": 1,
        "morf-kept[34]": 0, "morf-kept[67]": 0, "lerf-kept[34]": 1, "lerf-kept[67]": 1, **NO_TIES,
    }  # fmt: skip
    assert values_of(exact, -saliency, image, detector=detector)["combined"] == -0.5
    x, y = curve_of(scores_of(exact, saliency, image, detector=detector), "lerf")
    assert (x, y) == ([0, 0.34, 0.67], [1, 1, 1]), "from the untouched picture on"


def test_road_imputes_what_a_flat_picture_has_and_adds_noise() -> None:
    flat, detector = white((6, 6)) / 2, Weighted(torch.full((6, 6), 1 / 36))
    saliency = noise(6, 6)
    assert values_of(make(Road, noise=0), saliency, flat, detector=detector)["morf"] == pytest.approx(0.5, abs=1e-6)
    noisy = value_of(make(Road, noise=0.2), saliency, flat, detector=detector)
    assert noisy != 0
    assert noisy == value_of(make(Road, noise=0.2), saliency, flat, detector=detector)
    assert values_of(make(Road, noise=5.0), saliency, flat, detector=detector)["morf"] == pytest.approx(0.5, abs=0.2)


def test_road_refuses_percentages_that_do_not_ascend() -> None:
    for wrong in ((20, 10), (10, 10), (0,), (100,), ()):
        with pytest.raises(UsageError):
            make(Road, percentages=wrong)


def test_still_called_follows_the_threshold_and_the_likeliest_fake() -> None:
    rows = torch.tensor([[0.2, 0.5, 0.3], [0.2, 0.3, 0.5], [0.6, 0.4, 0.0]])
    facts = Facts(name="d", classes=("real", "a", "b"), real_class=0, input_size=(2, 2), digest="d")
    assert still_called(rows, 1, facts).tolist() == [1, 0, 0]
    assert still_called(rows, 0, facts).tolist() == [0, 0, 1]
    early = Facts(name="d", classes=("real", "a", "b"), real_class=0, input_size=(2, 2), digest="d", threshold=0.3)
    assert still_called(rows, 1, early).tolist() == [1, 0, 1]


# ---- both ways, and verdicts ----------------------------------------------------------------------------------------


def test_abpc_by_hand() -> None:
    metric = make(Abpc, steps=4)
    # LeRF 1, .9, .7, .4, 0 minus MoRF 1, .6, .3, .1, 0
    assert value_of(metric) == pytest.approx((0.3 + 0.4 + 0.3) / 4)
    assert value_of(metric, -ORDER) == pytest.approx(-0.25)
    assert curve_of(scores_of(metric), "lerf")[1] == pytest.approx([1, 0.9, 0.7, 0.4, 0])
    assert value_of(metric, ORDER, detector=Weighted(torch.full((2, 2), 0.25))) == pytest.approx(0)


def test_abpc_is_the_difference_of_two_deletions() -> None:
    detector, image, saliency = Weighted(noise(8, 8) / 64), noise(3, 8, 8, seed=1), noise(8, 8, seed=2)
    most, least = (value_of(make(Deletion), s, image, detector=detector) for s in (saliency, -saliency))
    assert value_of(make(Abpc), saliency, image, detector=detector) == pytest.approx(least - most, abs=1e-12)


def test_accuracy_under_removal_by_hand() -> None:
    metric = make(AccuracyUnderRemoval, steps=4, hidden="black")
    found = scores_of(metric)
    # probabilities 1, .6, .3, .1, 0 away and 0, .4, .7, .9, 1 back, the verdict fake from .5 on
    assert curve_of(found, "deletion-accuracy")[1] == [1, 1, 0, 0, 0]
    assert curve_of(found, "insertion-accuracy")[1] == [0, 0, 1, 1, 1]
    assert [s.value for s in found.values] == [0.375, 0.625, 0, 0, 0]  # no ties
    # explained as real, a verdict of real is what is kept
    assert [s.value for s in scores_of(metric, target=0).values[:2]] == [0.625, 0.375]
    assert [s.value for s in scores_of(metric, detector=Weighted(threshold=0.35)).values[:2]] == [0.375, 0.875]


# ---- against random maps --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cells", [*LEVELS, 0])
def test_a_random_map_is_as_smooth_as_its_level(cells: int) -> None:
    drawn = smooth_map(cells, (96, 120), torch.Generator().manual_seed(5))
    assert smoothness_level(drawn) == cells
    assert smoothness_level(drawn**3 * 5 - 1) == cells  # the order is the same


def test_roughness_landmarks() -> None:
    assert level_roughness(0, (64, 64)) == pytest.approx(1, abs=0.05)
    # ranks 0 to 3 over 4, neighbours across 1/4 and down 2/4 apart
    assert roughness(ORDER) == pytest.approx(6 * (2 * 0.25**2 + 2 * 0.5**2) / 4)


def test_top_minus_random_is_deletion_minus_that_of_the_random_maps() -> None:
    detector, image, saliency = Weighted(noise(16, 16) / 256), noise(3, 16, 16, seed=1), noise(16, 16, seed=2)
    found = scores_of(make(TopMinusRandom, draws=3, steps=8), saliency, image, detector=detector)
    (top_x, top), (_, chance) = (curve_of(found, name) for name in ("top", "random"))
    own = value_of(make(Deletion, steps=8), saliency, image, detector=detector)
    assert np.trapezoid(top, top_x) == pytest.approx(own)
    assert found.values[0].value == pytest.approx(own - np.trapezoid(chance, top_x))
    # where no pixel matters more than another, no order is better than chance
    even = Weighted(torch.full((16, 16), 1 / 256))
    assert value_of(make(TopMinusRandom), saliency, white((16, 16)), detector=even) == pytest.approx(0, abs=1e-6)


def test_maps_of_one_smoothness_share_the_random_ones_and_pay_for_them_once() -> None:
    detector, picture = Weighted(noise(16, 16) / 256), picture_of(noise(3, 16, 16, seed=1))
    metric, bench = make(TopMinusRandom, draws=3, steps=8), make_bench(detector)
    maps = (noise(16, 16, seed=2), noise(16, 16, seed=3), smooth_map(4, (16, 16), torch.Generator().manual_seed(4)))
    found = []
    for i, saliency in enumerate(maps):
        (done,) = score(metric, drawn_by(lambda _, s=saliency: s, f"map-{i}"), detector, [picture], 1, bench=bench)
        found.append((done.passes.forward, curve_of(value(done), "random")[1]))
    (first, chance), (second, same), (third, other) = found
    assert (first, second, third) == (8 + 3 * 8, 8, 8 + 3 * 8)
    assert chance == same != other
    query = PassQuery(sample=picture.sample, facts=detector.facts)
    assert metric.passes(query) == Passes(forward=3 * 8 + 3 * 8, exact=False)
    assert metric.passes(replace(query, few_ties=True)) == Passes(forward=8 + 3 * 8, exact=False)


# ---- repair ---------------------------------------------------------------------------------------------------------


def black(size: tuple[int, int] = (2, 2)) -> Tensor:
    return torch.zeros(3, *size)


def test_repair_by_hand() -> None:
    metric = make(Repair, steps=4)
    found = scores_of(metric, real=black())
    assert curve_of(found, "repair")[0] == [0, 0.25, 0.5, 0.75, 1]
    assert curve_of(found, "repair")[1] == pytest.approx([1, 0.6, 0.3, 0.1, 0], abs=1e-6)
    # the verdict is real at .3, after half of the pixels; a black picture is the same as JPEG
    assert [s.value for s in found.values[:3]] == pytest.approx([0.375, 0.5, 0], abs=1e-6)
    worse = values_of(metric, -ORDER, real=black())
    assert (worse["repair-auc"], worse["repair-half"]) == pytest.approx((0.625, 0.75))
    assert done_of(metric, ORDER, white(), real=black(), detector=Weighted()).passes == Passes(forward=5)


def test_repair_that_never_turns_the_verdict_is_censored_and_one_already_real_undefined() -> None:
    stubborn = values_of(make(Repair, steps=4), real=white() * 0.75)
    # P(fake) 1, .9, .825, .775, .75
    assert stubborn["repair-auc"] == pytest.approx((0.95 + 0.8625 + 0.8 + 0.7625) / 4)
    assert stubborn["repair-half"] == 1
    half = scores_of(make(Repair, steps=4), real=black(), detector=Weighted(threshold=1.5)).values[1]
    assert (half.value, half.reason) == (None, "the fake is called real already")
    assert turning_point(torch.tensor([0.9, 0.5, 0.4]), 0.5) == 2
    assert turning_point(torch.tensor([0.9, 0.5]), 0.5) is None


def test_repair_says_what_pasting_alone_does() -> None:
    real, detector = noise(3, 16, 16), Weighted(noise(16, 16, seed=1) / 128)
    saliency = torch.randperm(256, generator=torch.Generator().manual_seed(2)).view(16, 16).float()
    found = values_of(make(Repair, seam_share=0.25), saliency, white((16, 16)), real=real, detector=detector)
    assert found["repair-half"] == 1  # nothing turns the verdict, so a quarter of the pixels is pasted
    file = io.BytesIO()
    Image.fromarray((real * 255).round().byte().permute(1, 2, 0).numpy()).save(file, "JPEG", quality=75)
    copy = torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1) / 255
    mixed = torch.where(saliency >= 192, copy, real)
    expected = detector.probabilities(mixed[None])[0, 1] - detector.probabilities(real[None])[0, 1]
    assert found["seam"] == pytest.approx(float(expected), abs=1e-6)
    assert abs(float(expected)) > 1e-4


def test_repair_needs_a_fake_explained_as_fake_and_another_real_picture() -> None:
    metric = make(Repair)
    assert "no real counterpart" in reason_of(metric)
    assert "the picture itself" in reason_of(metric, real=white())
    assert "explained is real" in reason_of(metric, real=black(), target=0)
    assert "orders no pixels" in reason_of(metric, torch.ones(2, 2), real=black())
    assert "real pictures" in reason_of(metric, picture=picture_of(white(), label="real"))


# ---- all of them ----------------------------------------------------------------------------------------------------

OF_SEGMENTS = (Irof, AccuracyUnderSegmentRemoval)
ORDERED = [PixelFlipping, RegionPerturbation, *OF_SEGMENTS, Road, Abpc, AccuracyUnderRemoval, TopMinusRandom]


@pytest.mark.parametrize("cls", ORDERED)
def test_a_constant_map_is_undefined_and_free(cls: Any) -> None:
    detector = Weighted(noise(16, 16) / 256)
    done = done_of(make(cls), torch.full((16, 16), 0.3), noise(3, 16, 16), detector=detector)
    assert {s.status for s in value(done).values} == {"undefined"}
    assert done.passes == Passes()


@pytest.mark.parametrize("cls", ORDERED)
def test_only_the_order_of_the_map_counts(cls: Any) -> None:
    detector, image = Weighted(noise(16, 16) / 128), noise(3, 16, 16, seed=1)
    saliency = torch.randperm(256, generator=torch.Generator().manual_seed(2)).view(16, 16).float()
    metric = make(cls, **({"patch": 1} if cls is RegionPerturbation else {}))
    if cls in OF_SEGMENTS:
        metric = make(cls, segments="grid", count=256)
    assert scores_of(metric, saliency, image, detector=detector) == scores_of(
        metric, stored(saliency) * 2 - 1, image, detector=detector
    )


# ---- parity with Quantus --------------------------------------------------------------------------------------------


class Grey(Weighted):
    """A network of one channel; our pictures show it three times."""

    def __init__(self) -> None:
        super().__init__(torch.zeros(32, 32))
        with torch.random.fork_rng():
            torch.manual_seed(0)
            head = nn.Sequential(nn.Flatten(), nn.Linear(4 * 15 * 15, 2))
            self.model = nn.Sequential(nn.Conv2d(1, 4, 4, stride=2), nn.Softplus(), head).eval()
        for parameter in self.model.parameters():
            parameter.data *= 2  # so that verdicts differ

    @torch.no_grad()
    def probabilities(self, images: Tensor) -> Tensor:
        return self.model(images[:, :1]).softmax(dim=1)  # type: ignore[no-any-return]


PICTURES = noise(6, 1, 32, 32, seed=7)


@pytest.fixture
def quantus(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if not hasattr(np, "trapz"):
            monkeypatch.setattr(np, "trapz", np.trapezoid, raising=False)
        yield pytest.importorskip("quantus")


def theirs(quantus: Any, name: str, maps: Tensor, batch_size: int = 6, **options: Any) -> Any:
    metric = getattr(quantus, name)(abs=False, normalise=False, disable_warnings=True, **options)
    return metric(
        model=Grey().model, x_batch=PICTURES.numpy(), y_batch=np.ones(6, int), a_batch=maps[:, None].numpy(),
        device="cpu", softmax=True, batch_size=batch_size,
    )  # fmt: skip


def orders() -> Tensor:
    """Maps of 1024 values that float16 keeps apart, so that no pixels are tied."""
    drawn = [torch.randperm(1024, generator=torch.Generator().manual_seed(i)) for i in range(6)]
    return torch.stack([(order.float() / 1024).view(32, 32) for order in drawn])


def cubes() -> Tensor:
    """Maps as they are stored, whose sums over patches and means over segments are not tied."""
    return torch.stack([stored(noise(32, 32, seed=i) ** 3) for i in range(6)])


def ours(metric: Any, maps: Tensor) -> list[Scores]:
    pictures = [picture_of(p.expand(3, 32, 32).contiguous(), id=f"p{i}") for i, p in enumerate(PICTURES)]
    known = {p.sample.id: m for p, m in zip(pictures, maps, strict=True)}
    drawn = drawn_by(lambda request: known[request.picture.sample.id])
    return [value(d) for d in score(metric, drawn, Grey(), pictures, 1)]


@pytest.mark.parity
def test_pixel_flipping_equals_quantus(quantus: Any) -> None:
    found = ours(make(PixelFlipping, pixels=16, fill="minimum", area="quantus"), orders())
    curves = theirs(quantus, "PixelFlipping", orders(), features_in_step=16, perturb_baseline="black")
    areas = theirs(
        quantus, "PixelFlipping", orders(), features_in_step=16, perturb_baseline="black", return_auc_per_sample=True
    )
    for scores, curve, area in zip(found, curves, areas, strict=True):
        assert curve_of(scores, "pixel-flipping")[1][1:] == pytest.approx(curve, rel=1e-4)
        assert scores.values[0].value == pytest.approx(area, rel=1e-4)


@pytest.mark.parity
def test_region_perturbation_and_selectivity_equal_quantus(quantus: Any) -> None:
    found = ours(make(RegionPerturbation, patch=4, regions=20, fill="minimum"), cubes())
    drops = theirs(
        quantus, "RegionPerturbation", cubes(), patch_size=4, regions_evaluation=20, perturb_baseline="black"
    )
    kept = theirs(quantus, "Selectivity", cubes(), patch_size=4, perturb_baseline="black")
    for scores, drop, rest in zip(found, drops, kept, strict=True):
        _, curve = curve_of(scores, AOPC)
        assert [curve[0] - y for y in curve[1:]] == pytest.approx(drop, rel=1e-4, abs=1e-6)
        assert curve[1:] == pytest.approx(rest[:20], rel=1e-4)
        assert scores.values[0].value == pytest.approx(sum(drop) / 21, rel=1e-4, abs=1e-6)  # k = 0 adds nothing


def slic_of_one_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Quantus cuts pictures of one channel without going to Lab; everything else is the same call."""
    from skimage.segmentation import slic

    def cut(image: Tensor, count: int, compactness: float) -> Tensor:
        grey = image[0, :, :, None].double().numpy()
        return torch.from_numpy(slic(grey, n_segments=count, compactness=compactness, start_label=0).astype(np.int64))

    monkeypatch.setattr("xaibench_perturbation.segments.slic_segments", cut)


@pytest.mark.parity
def test_irof_equals_quantus_one_at_a_time_and_not_in_a_batch(quantus: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    slic_of_one_channel(monkeypatch)
    found = [s.values[0].value for s in ours(make(Irof, fill="current-mean", area="quantus"), cubes())]
    alone = [float(np.squeeze(a)) for a in theirs(quantus, "IROF", cubes(), batch_size=1, return_aggregate=False)]
    assert found == pytest.approx(alone, rel=1e-4)
    together = theirs(quantus, "IROF", cubes(), batch_size=6, return_aggregate=False)
    assert not np.allclose(np.ravel(together), alone, rtol=1e-3)  # its scores depend on the batch, ours do not


@pytest.mark.parity
def test_road_equals_the_mean_that_quantus_takes_over_its_first_batch(quantus: Any) -> None:
    percentages = [5, 20, 50, 80, 95]
    found = ours(make(Road, percentages=percentages, noise=0), orders())
    kept = np.array([[s.value for s in scores.values if s.name == "morf-kept"] for scores in found])
    assert 0 < kept.mean() < 1
    whole = theirs(quantus, "ROAD", orders(), percentages=percentages, noise=0.0)
    assert [float(whole[p]) for p in percentages] == pytest.approx(kept.mean(axis=0).tolist())
    first = theirs(quantus, "ROAD", orders(), percentages=percentages, noise=0.0, batch_size=2)
    assert [float(first[p]) for p in percentages] == pytest.approx(kept[:2].mean(axis=0).tolist())


@pytest.mark.parity
def test_quantus_cannot_take_colour_pictures_where_we_can(quantus: Any) -> None:
    colour, maps = noise(2, 3, 32, 32).numpy(), noise(2, 1, 32, 32, seed=1).numpy()
    model = nn.Sequential(nn.Flatten(), nn.Linear(3072, 2)).eval()
    call = {"model": model, "x_batch": colour, "y_batch": np.ones(2, int), "a_batch": maps, "device": "cpu"}
    with pytest.raises(IndexError):
        quantus.ROAD(percentages=[50], normalise=False, disable_warnings=True)(**call)
    with pytest.raises(AssertionError):
        quantus.IROF(normalise=False, disable_warnings=True)(**call)
    detector = Weighted(noise(32, 32, seed=2) / 1024)
    for cls in (Road, Irof):
        assert scores_of(make(cls), torch.from_numpy(maps[0, 0]), torch.from_numpy(colour[0]), detector=detector).values
