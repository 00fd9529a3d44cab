"""What a mask marks: noise, video black and full masks against their legitimate neighbours."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from xaibench.api import read_mask
from xaibench.data.masks import binarise, mark

SIDE = 128


def noise(low, high, kind=np.uint8):
    return np.random.default_rng(3).integers(low, high + 1, (SIDE, SIDE)).astype(kind)


def region(weight=255, ground=0, kind=np.uint8, size=(40, 30)):
    mask = np.full((SIDE, SIDE), ground, kind)
    mask[50 : 50 + size[0], 20 : 20 + size[1]] = weight
    return mask


def soft(top):
    """A blob that falls off smoothly from ``top`` in the middle."""
    x = np.linspace(-2, 2, SIDE)
    return top * np.exp(-(x[:, None] ** 2 + x**2))


@pytest.mark.parametrize(
    ("mask", "why"),
    [
        (np.zeros((SIDE, SIDE), np.uint8), "empty"),
        (noise(0, 3), "empty"),
        (noise(0, 3).astype(np.float32), "empty"),
        (noise(0, 3 * 257, np.uint16), "empty"),
        (noise(0, 3) / 255, "empty"),
        (np.full((SIDE, SIDE), 16, np.uint8), "empty"),
        (noise(14, 19), "empty"),
        (np.full((SIDE, SIDE), 16 * 257, np.float32), "empty"),
        (np.full((SIDE, SIDE), 128, np.uint8), "constant"),
        (np.ones((SIDE, SIDE), np.uint8), "constant"),
        (np.full((SIDE, SIDE), 0.5), "constant"),
        (noise(120, 135), "marks everything"),
        (region(0, ground=255, size=(20, 20)), "marks everything"),
        (region(0, ground=1, size=(20, 20)), "marks everything"),
        (region(size=(1, 1)), "marks almost nothing"),
        (region(size=(1, 3)), "marks almost nothing"),
        (noise(0, 1), "speckled"),
        ((noise(0, 9) == 0).astype(np.uint8), "speckled"),
    ],
)
def test_what_marks_no_region_is_told(mask, why):
    marked, reason = mark(mask)
    assert marked is None
    assert reason.startswith(f"{why} (")


@pytest.mark.parametrize(
    "mask",
    [
        region(),
        region(1),
        region(1, kind=np.uint16),
        region(65535, kind=np.uint16),
        region(True, kind=bool),
        region(1.0, kind=np.float32),
        region(1.04, kind=np.float64),
        region(235, ground=16),
        region(64),
        region(0.25, kind=np.float32),
        region(size=(4, 6)),
        region(1, size=(2, 3)),
        region(0, ground=255, size=(100, 100)),
    ],
)
def test_regions_are_cut_at_half_of_the_maximum(mask):
    marked, reason = mark(mask)
    assert reason == ""
    np.testing.assert_array_equal(marked, mask.astype(float) * 2 >= mask.max())
    assert 0 < marked.mean() < 0.95


@pytest.mark.parametrize("top", [0.25, 1, 64, 255])
def test_soft_masks_are_cut_at_half_of_their_maximum(top):
    np.testing.assert_array_equal(binarise(soft(top)), soft(top) * 2 >= soft(top).max())


def test_jpeg_noise_around_a_region_changes_little():
    data = BytesIO()
    Image.fromarray(region()).save(data, "JPEG", quality=40)
    noisy = np.asarray(Image.open(data))
    assert len(np.unique(noisy)) > 2
    assert (binarise(noisy) != (region() > 0)).mean() < 0.003


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (9, 90, 200)])
def test_a_mask_in_the_alpha_channel_alone_is_read_from_it(tmp_path, colour):
    alpha = soft(255).astype(np.uint8)
    alpha[alpha < 9] = 0
    pixels = np.dstack([np.full_like(alpha, c) for c in colour] + [alpha])
    Image.fromarray(pixels, "RGBA").save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), alpha)


def test_alpha_hides_what_has_several_colours(tmp_path):
    grey = soft(255).astype(np.uint8)
    alpha = np.where(np.arange(SIDE) < 64, 0, 255) * np.ones_like(grey)
    Image.fromarray(np.dstack([grey, alpha.astype(np.uint8)]), "LA").save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), np.where(alpha == 0, 0, grey))


def test_palettes_are_read_by_their_colours(tmp_path):
    image = Image.fromarray(region(1), "P")
    image.putpalette([0, 0, 0, 128, 0, 0])
    image.save(tmp_path / "mask.png")
    np.testing.assert_array_equal(binarise(read_mask(tmp_path / "mask.png")), region() > 0)
