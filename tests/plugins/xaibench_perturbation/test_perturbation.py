"""Fills, mask designs and pixel orders against slow or independent references."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage
from scipy.stats import rankdata
from torch.nn import functional as F

from xaibench_perturbation import (
    PICTURE_FILLS,
    ascending,
    blend,
    every_mask,
    fill,
    gaussian_blur,
    is_constant,
    mean_ranks,
    pixel_ranks,
    rise_masks,
    step_counts,
    tied_share,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def picture(height: int = 9, width: int = 14) -> torch.Tensor:
    return torch.rand(3, height, width, generator=generator())


# ---- fills ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "value"), [("black", 0.0), ("grey", 0.5), ("white", 1.0)])
def test_constant_fills(kind: str, value: float) -> None:
    assert torch.equal(fill(picture(), kind), torch.full((3, 9, 14), value))


def test_mean_fill_is_the_mean_of_each_channel() -> None:
    image = picture()
    means = fill(image, "mean")[:, 3, 5].numpy()
    np.testing.assert_allclose(means, image.numpy().mean(axis=(1, 2)), rtol=1e-6)
    assert fill(image, "mean").std(dim=(1, 2)).max() == 0


@pytest.mark.parametrize("sigma", [0.4, 1.0, 3.0])
def test_blur_is_scipys(sigma: float) -> None:
    image = picture(20, 31)
    reference = ndimage.gaussian_filter(image.numpy(), (0, sigma, sigma), mode="nearest", truncate=4)
    np.testing.assert_allclose(gaussian_blur(image, sigma).numpy(), reference, atol=1e-6)


def test_blur_scales_with_the_shorter_side() -> None:
    image = picture(20, 30)
    np.testing.assert_allclose(fill(image, "blur", sigma=0.1), gaussian_blur(image, 2.0), atol=1e-7)


def test_blur_of_a_flat_picture_is_the_picture() -> None:
    image = torch.full((3, 8, 8), 0.3)
    torch.testing.assert_close(fill(image, "blur", sigma=0.5), image)


@pytest.mark.parametrize("kind", PICTURE_FILLS)
@pytest.mark.parametrize("size", [(1, 1), (2, 7), (16, 16)])
def test_every_fill_is_a_picture_of_its_own(kind: str, size: tuple[int, int]) -> None:
    image = picture(*size)
    before = image.clone()
    made = fill(image, kind)
    assert made.shape == image.shape
    assert made.dtype == torch.float32
    assert 0 <= made.min() <= made.max() <= 1
    made.zero_()
    assert torch.equal(image, before)


def test_unknown_fill_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="black, grey, white, mean, blur"):
        fill(picture(), "pink")


# ---- masks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("cells", "size"), [(7, (32, 45)), (3, (12, 12)), (1, (5, 4)), (8, (8, 8)), (5, (3, 9))])
def test_rise_masks_are_crops_of_the_upsampled_grid(cells: int, size: tuple[int, int]) -> None:
    design = rise_masks(50, cells=cells, keep=0.5, size=size, generator=generator())
    steps = [math.ceil(n / cells) for n in size]
    big = F.interpolate(
        design.grids[:, None], size=[(cells + 1) * s for s in steps], mode="bilinear", align_corners=False
    )[:, 0]
    for i, mask in enumerate(design.render(0, 50)):
        top, left = int(design.row_shift[i]), int(design.column_shift[i])
        assert 0 <= top < steps[0]
        assert 0 <= left < steps[1]
        torch.testing.assert_close(mask, big[i, top : top + size[0], left : left + size[1]], atol=1e-6, rtol=0)


def test_each_mask_has_its_own_shift() -> None:
    design = rise_masks(2000, cells=4, keep=0.5, size=(32, 32), generator=generator())
    pairs = {(int(a), int(b)) for a, b in zip(design.row_shift, design.column_shift, strict=True)}
    assert len(pairs) == 64


def test_every_pixel_is_kept_with_the_same_expectation() -> None:
    n, keep = 20_000, 0.3
    masks = rise_masks(n, cells=3, keep=keep, size=(8, 10), generator=generator()).render(0, n)
    standard_error = math.sqrt(keep * (1 - keep) / n)
    assert (masks.mean(dim=0) - keep).abs().max() < 4.5 * standard_error
    assert 0 <= masks.min() <= masks.max() <= 1


def test_chunks_are_parts_of_the_whole_and_seeds_repeat() -> None:
    design = rise_masks(70, cells=7, keep=0.5, size=(20, 21), generator=generator(3))
    again = rise_masks(70, cells=7, keep=0.5, size=(20, 21), generator=generator(3))
    other = rise_masks(70, cells=7, keep=0.5, size=(20, 21), generator=generator(4))
    whole = design.render(0, 70)
    parts = [design.render(a, a + 32) for a in (0, 32, 64)]
    assert [len(p) for p in parts] == [32, 32, 6]
    torch.testing.assert_close(torch.cat(parts), whole, atol=1e-7, rtol=0)
    assert torch.equal(again.render(0, 70), whole)
    assert not torch.equal(other.render(0, 70), whole)


def test_every_mask_lists_every_grid_once_in_nearest_cells() -> None:
    design = every_mask(2, (5, 4))
    assert len(design) == 16
    assert len({tuple(g.flatten().tolist()) for g in design.grids}) == 16
    grid = design.grids[6]  # 6 = 0b0110: cells 1 and 2 of 0..3
    assert grid.tolist() == [[0, 1], [1, 0]]
    rows, columns = [0, 0, 0, 1, 1], [0, 0, 1, 1]
    assert torch.equal(design.render(6, 7)[0], grid[rows][:, columns])


def test_every_mask_refuses_what_cannot_be_listed() -> None:
    with pytest.raises(ValueError, match="too many"):
        every_mask(5, (10, 10))


def test_blend_keeps_where_the_mask_is_one() -> None:
    image, background = picture(2, 2), torch.full((3, 2, 2), 0.25)
    masks = torch.tensor([[[1.0, 0.0], [0.5, 1.0]]])
    mixed = blend(image, background, masks)[0]
    torch.testing.assert_close(mixed[:, 0, 0], image[:, 0, 0])
    assert torch.equal(mixed[:, 0, 1], background[:, 0, 1])
    torch.testing.assert_close(mixed[:, 1, 0], (image[:, 1, 0] + 0.25) / 2)


# ---- order ----------------------------------------------------------------------------------------------------------


def test_ranks_go_down_the_map_and_ties_go_in_reading_order() -> None:
    saliency = torch.tensor([[0.0, 2.0, 1.0], [2.0, -1.0, 0.0]])
    assert pixel_ranks(saliency).tolist() == [[3, 0, 2], [1, 5, 4]]


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=40))
def test_ranks_are_a_stable_sort(values: list[int]) -> None:
    ranks = pixel_ranks(torch.tensor([values], dtype=torch.float32))[0].tolist()
    order = sorted(range(len(values)), key=lambda i: -values[i])
    assert [ranks[i] for i in order] == list(range(len(values)))


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=40), st.randoms(use_true_random=False))
@pytest.mark.parametrize("number", [torch.float32, torch.int64])
def test_equal_values_rank_by_the_order_of_ties(number: torch.dtype, values: list[int], draw: random.Random) -> None:
    ties = draw.sample(range(len(values)), len(values))
    ranks = pixel_ranks(torch.tensor(values, dtype=number), torch.tensor(ties, dtype=torch.int32)).tolist()
    order = sorted(range(len(values)), key=lambda i: (-values[i], ties.index(i)))
    assert [ranks[i] for i in order] == list(range(len(values)))


@pytest.mark.parametrize("levels", [3, 10**9])
def test_equal_values_rank_by_the_order_of_ties_on_a_map_of_more_pixels_than_16_bits_count(levels: int) -> None:
    saliency = torch.randint(levels, (70_000,), generator=generator()).double()
    ties = torch.randperm(70_000, generator=generator())
    expected = ties[torch.argsort(saliency[ties], descending=True, stable=True)]
    assert torch.equal(pixel_ranks(saliency, ties.int()).argsort(), expected)


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=40), st.lists(st.integers(0, 41), max_size=5))
@pytest.mark.parametrize("number", [torch.float32, torch.int64])
def test_what_is_tied_is_what_another_order_of_ties_would_move(
    number: torch.dtype, values: list[int], cuts: list[int]
) -> None:
    ordered = sorted(values, reverse=True)
    tied = {ordered[c] for c in cuts if 0 < c < len(values) and ordered[c - 1] == ordered[c]}
    assert tied_share(torch.tensor(values, dtype=number), cuts) == sum(v in tied for v in values) / len(values)


@pytest.mark.parametrize("number", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int64])
def test_ranks_are_torchs_own_stable_sort_for_every_type_and_value(number: torch.dtype) -> None:
    few = torch.tensor([-2.0, -1e-30, -0.0, 0.0, 1e-45, 1e-30, 0.5, 2.0, *[math.inf, -math.inf, math.nan] * 2])
    values = few if number.is_floating_point else few.nan_to_num(1, 3, -3)
    for end in (8, len(values)):  # without and with values that are not finite
        drawn = values[torch.randint(end, (40, 30), generator=generator(end))].to(number)
        order = pixel_ranks(drawn).flatten().argsort()
        assert torch.equal(order, torch.argsort(drawn.flatten(), descending=True, stable=True))


VALUES = st.sampled_from(["float16", "float32", "float64"]).flatmap(
    lambda kind: arrays.arrays(
        kind,
        st.integers(0, 30),
        elements=st.floats(allow_nan=False, allow_infinity=False, width={"float16": 16, "float32": 32}.get(kind, 64))
        | st.sampled_from([-1.0, -0.0, 0.0, 1.0]),
    )
)


@given(VALUES)
def test_ascending_is_the_stable_sort_of_numpy(values: np.ndarray) -> None:
    before = values.copy()
    assert ascending(values).tolist() == np.argsort(values, kind="stable").tolist()
    assert np.array_equal(values, before)


@given(VALUES)
def test_mean_ranks_are_those_of_scipy(values: np.ndarray) -> None:
    assert mean_ranks(values).tolist() == rankdata(values).tolist()


def test_mean_ranks_keep_the_shape() -> None:
    assert mean_ranks(np.array([[3.0, -1.0], [3.0, 9.0]])).tolist() == [[2.5, 1.0], [2.5, 4.0]]


@given(st.integers(1, 400), st.integers(1, 50))
def test_step_counts_cover_the_picture_in_nearly_equal_steps(pixels: int, steps: int) -> None:
    counts = step_counts(pixels, steps)
    assert len(counts) == steps + 1
    assert (int(counts[0]), int(counts[-1])) == (0, pixels)
    widths = counts.diff()
    assert int(widths.max()) - int(widths.min()) <= 1


def test_constant_maps_are_seen() -> None:
    assert is_constant(torch.full((2, 2), 3.0))
    assert not is_constant(torch.tensor([[1.0, 1.0], [1.0, 2.0]]))
