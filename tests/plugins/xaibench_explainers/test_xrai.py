"""XRAI against hand-computed regions and the algorithm by brute force."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from explainer_toys import SIZE, Toy, explain, image_of, make, map_of, reason_of, run
from numpy.typing import NDArray
from scipy import sparse
from skimage.morphology import dilation, disk
from skimage.segmentation import felzenszwalb
from torch import Tensor
from torch.nn import functional as F

from xaibench.api import Passes
from xaibench_datasets.demo import DemoDataset
from xaibench_explainers.gradient.integrated_gradients import integrated_gradients
from xaibench_explainers.gradient.xrai import SCALES, Xrai, grow, memberships, segmentations, xrai
from xaibench_testing.planted import ConstantDetector

HALVES = torch.zeros(3, 24, 32)
HALVES[:, :, 16:] = 1
"""Black on the left, white on the right: two segments at every scale."""


def linear(weights: Tensor) -> Toy:
    return Toy(lambda x: x, lambda x: torch.stack([torch.zeros(len(x)), (x * weights).sum(dim=(1, 2, 3))], dim=1))


def members_of(*segments: list[int], pixels: int) -> sparse.csr_array:
    table = np.zeros((pixels, len(segments)))
    for i, segment in enumerate(segments):
        table[segment, i] = 1
    return sparse.csr_array(table)


def by_brute_force(attribution: NDArray[Any], masks: list[NDArray[Any]], value: str) -> NDArray[Any]:
    """Algorithm 1 word for word, on ``(H, W)`` arrays."""
    left, covered, found = list(masks), np.zeros(attribution.shape, bool), np.full(attribution.shape, np.nan)
    while left and not covered.all():
        gains = [attribution[m & ~covered].mean() if (m & ~covered).any() else -np.inf for m in left]
        best = left.pop(int(np.argmax(gains)))
        new = best & ~covered
        if new.any():
            found[new] = max(gains) if value == "gain" else (~covered).mean()
        covered |= best
    return found


# ---- growing --------------------------------------------------------------------------------------------------------


def test_two_regions_by_hand() -> None:
    attribution = np.array([1.0, 3.0, -1.0, 0.0, 5.0])
    members = members_of([0, 1], [2, 3, 4], pixels=5)
    assert grow(attribution, members).tolist() == [2, 2, 4 / 3, 4 / 3, 4 / 3]
    assert grow(attribution, members, "order").tolist() == pytest.approx([1, 1, 0.6, 0.6, 0.6])


def test_overlapping_regions_are_weighed_by_what_they_add() -> None:
    # densities 4, 3.5, 1; after the first the second adds pixel 2 alone, with 5: more than the first had
    attribution = np.array([6.0, 2.0, 5.0, -3.0])
    members = members_of([0, 1], [1, 2], [0, 1, 2, 3], pixels=4)
    assert grow(attribution, members).tolist() == [4, 4, 5, -3]
    assert grow(attribution, members, "order").tolist() == [1, 1, 0.5, 0.25]


def test_of_equal_gains_the_first_segment_wins() -> None:
    attribution = np.array([1.0, 1.0, 1.0])
    members = members_of([1], [0], [0, 1, 2], pixels=3)
    assert grow(attribution, members, "order").tolist() == pytest.approx([2 / 3, 1, 1 / 3])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("value", ["gain", "order"])
def test_growing_is_algorithm_1(seed: int, value: Any) -> None:
    draw = np.random.default_rng(seed)
    attribution = draw.integers(-9, 10, (9, 7)).astype(float)  # whole numbers, so that ties are ties
    masks = [draw.random((9, 7)) < share for share in draw.uniform(0.02, 0.6, 30)] + [np.ones((9, 7), bool)]
    members = sparse.csr_array(np.stack([m.ravel() for m in masks], axis=1).astype(float))
    found = grow(attribution.ravel(), members, value).reshape(9, 7)
    np.testing.assert_allclose(found, by_brute_force(attribution, masks, value), rtol=1e-12)


def test_what_the_regions_add_sums_to_the_attributions() -> None:
    attribution, image = torch.randn(24, 32, generator=torch.Generator().manual_seed(0)), image_of(0, (24, 32))
    found = xrai(attribution, image, dilation=5, value="gain")
    assert float(found.sum()) == pytest.approx(float(attribution.sum()), rel=1e-4)


# ---- segments -------------------------------------------------------------------------------------------------------


def test_segments_of_a_large_picture_are_felzenszwalbs() -> None:
    draw = np.random.default_rng(0)
    image = np.kron(draw.random((7, 7, 3)), np.ones((32, 32, 1)))
    image[0, 0], image[-1, -1] = 0, 1  # so that stretching to [-1, 1] is 2 x - 1
    found = segmentations(image)
    assert len(found) == len(SCALES)
    for scale, labels in zip(SCALES, found, strict=True):
        assert np.array_equal(labels, felzenszwalb(2 * image - 1, scale=scale, sigma=0.8, min_size=150))


def test_a_photograph_has_about_as_many_segments_at_any_size() -> None:
    dataset = DemoDataset(DemoDataset.Parameters(identities=4))
    pixels = torch.from_numpy(dataset.read(dataset.samples()[0]).pixels).permute(2, 0, 1)[None] / 255
    counts = []
    for side in (32, 64, 192):
        image = F.interpolate(pixels, (side, side), mode="bilinear", antialias=True, align_corners=False)[0]
        counts.append([int(labels.max()) + 1 for labels in segmentations(image.permute(1, 2, 0).double().numpy())])
    for small, large in ((counts[0], counts[2]), (counts[1], counts[2])):
        assert 0.5 < sum(small) / sum(large) < 2


def test_a_picture_of_one_colour_is_one_segment() -> None:
    assert [labels.max() for labels in segmentations(np.full((9, 9, 3), 0.3))] == [0]


@pytest.mark.parametrize("radius", [0, 1, 2, 5])
def test_segments_are_widened_by_a_disk(radius: int) -> None:
    labels = np.random.default_rng(0).integers(0, 4, (13, 17))
    labels[labels == 2] = 3  # a number that nobody has
    found = memberships([labels, labels // 3], radius).toarray()
    expected = [dilation(one == n, disk(radius)) for one in (labels, labels // 3) for n in np.unique(one)]
    assert np.array_equal(found, np.stack([m.ravel() for m in expected], axis=1))


# ---- the explainer --------------------------------------------------------------------------------------------------


def test_two_regions_of_a_linear_detector() -> None:
    # attributions from black: x w, from white: (x - 1) w; on the white half w / 2, on the black half -w / 2. Without
    # widening, both halves are drawn with their means, summed over three channels.
    weights = torch.zeros(3, 24, 32)
    weights[:, :, 16:], weights[:, :8, :16] = 4.0, -1.0
    done = explain(make(Xrai, steps=2, dilation=0), linear(weights), HALVES)
    expected = torch.full((24, 32), 6.0)
    expected[:, :16] = 3 * 0.5 / 3
    torch.testing.assert_close(map_of(done), expected, rtol=1e-4, atol=1e-4)
    assert done.passes == Passes(forward=4, backward=4)


def test_widened_regions_take_from_their_neighbours() -> None:
    # 5 pixels of 224 are 0.62 of a side of 27.7 (24 x 32): nothing; 17 of 224 are 2.1: two columns
    weights = torch.zeros(3, 24, 32)
    weights[:, :, 16:] = 4.0
    for dilation_, columns in ((5, 0), (17, 2)):
        found = map_of(explain(make(Xrai, steps=2, dilation=dilation_), linear(weights), HALVES))
        assert [int(c) for c in (found[12] == found[12, -1]).nonzero()[:, 0]] == list(range(16 - columns, 32))
        assert float(found[12, -1]) == pytest.approx(6 * 16 / (16 + columns), rel=1e-4)


def test_evidence_against_the_class_is_negative() -> None:
    weights = torch.zeros(3, 24, 32)
    weights[:, :, 16:] = -4.0
    found = map_of(explain(make(Xrai, steps=2, dilation=0), linear(weights), HALVES))
    assert float(found[0, 31]) == pytest.approx(-6, rel=1e-4)
    assert float(found[0, 0]) == 0
    order = map_of(explain(make(Xrai, steps=2, dilation=0, value="order"), linear(weights), HALVES))
    assert [float(order[0, 0]), float(order[0, 31])] == [1, 0.5]


def test_the_largest_channel_hides_evidence_against() -> None:
    weights = torch.zeros(3, 24, 32)
    weights[0, :, 16:], weights[1, :, 16:] = 2.0, -6.0
    summed, largest = (
        map_of(explain(make(Xrai, steps=2, dilation=0, channels=c), linear(weights), HALVES))[0, 31]
        for c in ("sum", "max")
    )
    assert [float(summed), float(largest)] == pytest.approx([-2, 1], rel=1e-4)


@pytest.mark.parametrize("value", ["gain", "order"])
def test_the_map_is_the_algorithm_on_mean_integrated_gradients(value: Any) -> None:
    image = torch.nn.functional.interpolate(image_of(1, (4, 5))[None], (20, 25), mode="nearest")[0]
    weights = torch.randn(3, 20, 25, generator=torch.Generator().manual_seed(0))
    net = Toy(lambda x: x, lambda x: torch.stack([torch.zeros(len(x)), (x * weights).sum(dim=(1, 2, 3)).tanh()], dim=1))
    ends = [
        run(net, lambda b=b: integrated_gradients(image, torch.full_like(image, b), 1, steps=9, rule="gauss-legendre"))
        for b in (0.0, 1.0)
    ]
    attribution = sum(e.value for e in ends).sum(dim=0) / 2
    radius = 30 * (20 * 25) ** 0.5 / 224
    pixels = image.permute(1, 2, 0).double().numpy()
    found = map_of(explain(make(Xrai, steps=9, dilation=30, value=value), net, image))
    wide = memberships(segmentations(pixels), radius).toarray().T.reshape(-1, 20, 25).astype(bool)
    np.testing.assert_allclose(
        found, by_brute_force(attribution.double().numpy(), list(wide), value), rtol=1e-4, atol=1e-6
    )


def test_flat_detectors_and_flat_pictures() -> None:
    assert "gradient is zero" in reason_of(explain(make(Xrai, steps=2), ConstantDetector(0.7, SIZE), image_of()))
    flat = torch.full((3, *SIZE), 0.5)
    weights = torch.randn(3, *SIZE, generator=torch.Generator().manual_seed(0))
    # from black +w/2, from white -w/2: nothing is left on grey
    assert "zero" in reason_of(explain(make(Xrai, steps=2), linear(weights), flat))
    found = map_of(explain(make(Xrai, steps=2), linear(weights), flat + 0.25))
    assert len(found.unique()) == 1


def test_gradients_that_are_not_finite_are_undefined() -> None:
    net = Toy(lambda x: x, lambda x: torch.stack([0 * x.sum(dim=(1, 2, 3)), (x - 9).sum(dim=(1, 2, 3)).sqrt()], dim=1))
    assert "not finite" in reason_of(explain(make(Xrai, steps=2), net, image_of()))
