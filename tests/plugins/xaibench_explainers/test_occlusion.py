"""Occlusion by hand, against captum, at borders."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from region_toys import (
    REAL,
    SIZE,
    WHITE,
    Scored,
    additive,
    explain,
    image_of,
    make,
    map_of,
    native_of,
    picture_of,
    reason_of,
    said,
    small_net,
)
from torch import nn

from xaibench.api import Passes, UsageError
from xaibench_explainers.perturbation.occlusion import Occlusion, mean_drop
from xaibench_perturbation import cell_labels, sliding_windows

WEIGHTS = torch.tensor([0.3, -0.1, 0.0, 0.2, 0.05, 0.1, 0.0, 0.25, 0.1])
LABELS = cell_labels(3, SIZE)


def test_windows_side_by_side_find_the_weights_of_an_additive_score() -> None:
    component, detector = make(Occlusion, patch=4, stride=4, output="logit"), additive(LABELS, WEIGHTS)
    done = explain(component, detector, WHITE)
    torch.testing.assert_close(map_of(done), WEIGHTS[LABELS], atol=1e-6, rtol=0)
    torch.testing.assert_close(native_of(done), WEIGHTS.view(3, 3), atol=1e-6, rtol=0)
    assert done.passes == said(component, detector) == Passes(forward=10)


def test_the_other_class_has_the_opposite_sign() -> None:
    component, detector = make(Occlusion, patch=4), additive(LABELS, WEIGHTS)
    fake, real = explain(component, detector, WHITE), explain(component, detector, WHITE, target=REAL)
    torch.testing.assert_close(map_of(fake), -map_of(real), atol=1e-6, rtol=0)


def test_a_pixel_has_the_mean_of_the_windows_that_cover_it() -> None:
    # windows of 2 every 1 on 3 pixels: 0-1 and 1-2 in both directions; the middle has all four drops
    windows = sliding_windows((3, 3), (2, 2), (1, 1))
    found = mean_drop(windows, torch.tensor([1.0, 2.0, 3.0, 6.0]))
    assert found.tolist() == [[1, 1.5, 2], [2, 3, 4], [3, 4.5, 6]]


def test_the_last_window_is_cropped_at_the_border() -> None:
    windows = sliding_windows((5, 4), (3, 2), (2, 2))
    assert windows.shape == (2, 2)
    assert windows.rows[[0, 2]].tolist() == [[1, 1, 1, 0, 0], [0, 0, 1, 1, 1]]
    assert sliding_windows((6, 4), (3, 4), (2, 4)).rows.tolist()[-1] == [0, 0, 0, 0, 1, 1]
    covered = 1 - windows.render(0, 4)
    assert covered.amax(dim=0).min() == 1
    assert torch.equal(windows.render(1, 3), windows.render(0, 4)[1:3])


@pytest.mark.parametrize(
    ("values", "side", "expected"),
    [
        ({}, 224, (32, 16)),
        ({}, 64, (9, 4)),
        ({}, 3, (1, 1)),
        ({"patch": 15, "stride": 8}, 224, (15, 8)),
        ({"patch": 15}, 8, (8, 4)),
        ({"patch": 0.5, "stride": 0.01}, 10, (5, 1)),
        ({"patch": 1, "stride": 1}, 10, (1, 1)),
    ],
)
def test_lengths_scale_with_the_picture(values: dict[str, Any], side: int, expected: tuple[int, int]) -> None:
    assert make(Occlusion, **values).parameters.lengths(side) == expected


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"patch": 2.5}, "whole number"),
        ({"patch": 4, "stride": 6}, "uncovered"),
        ({"patch": 0.2, "stride": 3}, "uncovered"),
    ],
)
def test_lengths_that_make_no_sense_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make(Occlusion, **values)


def test_the_longer_side_has_the_longer_window_and_every_pixel_a_value() -> None:
    def corner(images: torch.Tensor) -> torch.Tensor:
        return images[:, :, 8:, 20:].mean(dim=(1, 2, 3))

    detector = Scored(corner, (10, 23))
    component = make(Occlusion, output="logit")
    done = explain(component, detector, torch.ones(3, 10, 23))
    assert done.passes == said(component, detector)
    assert map_of(done)[9, 22] == map_of(done).max() > 0
    assert map_of(done)[:6].abs().max() == 0


@pytest.mark.parity
@pytest.mark.parametrize(("patch", "stride"), [(4, 2), (5, 3), (5, 5), (12, 1)])
def test_equals_captums(patch: int, stride: int) -> None:
    attr = pytest.importorskip("captum.attr")
    net, image = small_net(), image_of(2)
    model = nn.Sequential(net.body, net.head)  # type: ignore[call-overload]
    theirs = attr.Occlusion(model).attribute(
        image[None], (3, patch, patch), strides=(3, stride, stride), baselines=0, target=1
    )
    done = explain(make(Occlusion, patch=patch, stride=stride, output="logit"), net, image)
    torch.testing.assert_close(map_of(done), theirs[0, 0], atol=1e-6, rtol=1e-4)


def test_covering_changes_nothing_where_there_is_nothing_to_see() -> None:
    constant = Scored(lambda images: images.sum(dim=(1, 2, 3)) * 0 + 3)
    assert "no signal" in reason_of(explain(make(Occlusion), constant, image_of()))
    assert "no signal" in reason_of(explain(make(Occlusion, fill="white"), additive(LABELS, WEIGHTS), WHITE))
    broken = Scored(lambda images: images.sum(dim=(1, 2, 3)).log() * float("nan"))
    assert "not finite" in reason_of(explain(make(Occlusion), broken, image_of()))


def test_segment_means_are_those_of_windows_side_by_side() -> None:
    # every window of the grid covers one cell by its own mean, so a score of means sees nothing ...
    means = additive(LABELS, WEIGHTS)
    aligned = make(Occlusion, patch=4, stride=4, fill="segment-mean", output="logit")
    done = explain(aligned, means, image_of(5))
    drops = map_of(done) if done.value and done.value.map is not None else torch.zeros(1)
    assert drops.abs().max() < 1e-6
    # ... and a score of one pixel sees the difference of that pixel from the mean of its cell
    pixel = Scored(lambda images: images[:, 0, 5, 5])
    image = image_of(5)
    found = map_of(explain(aligned, pixel, picture_of(image)))
    assert float(found[5, 5]) == pytest.approx(float(image[0, 5, 5] - image[0, 4:8, 4:8].mean()), abs=1e-6)
