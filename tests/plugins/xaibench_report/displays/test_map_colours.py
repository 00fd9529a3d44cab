"""Scales, layers, outlines and words of maps."""

import io

import numpy as np
import pytest
from PIL import Image

from xaibench_report.displays.map_colours import laid_over, legend_stops, map_layer, outline_path, scale_map
from xaibench_report.displays.map_words import map_words, strongest_part
from xaibench_report.displays.sheet_panels import outlined, region_of


def test_each_map_is_scaled_between_its_percentiles():
    values = scale_map(np.arange(101.0).reshape(1, 101))
    assert not values.signed and values.values[0, [0, 1]].tolist() == [0, 0]
    assert values.values[0, [99, 100]].tolist() == [1, 1] and values.values[0, 50] == pytest.approx(0.5)
    signed = scale_map(np.array([[-2.0, 0.0, 1.0, 2.0]]))
    assert signed.signed and signed.values[0].tolist() == pytest.approx([-1, 0, 0.5, 1], abs=0.02)
    assert not scale_map(np.full((3, 3), 7.0)).values.any()


def test_a_layer_is_transparent_at_nothing_and_opaque_at_the_largest():
    png, signed = map_layer(np.linspace(0, 1, 64).reshape(8, 8), 112)
    rgba = np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"))
    assert not signed and rgba.shape == (8, 8, 4) and rgba[0, 0, 3] == 0 and rgba[7, 7, 3] == 255
    assert np.asarray(Image.open(io.BytesIO(map_layer(np.ones((40, 20)), 10)[0]))).shape == (10, 5)


def test_signed_noise_is_scaled_after_it_is_averaged():
    noise = np.random.default_rng(0).normal(size=(224, 224))
    alpha = np.asarray(Image.open(io.BytesIO(map_layer(noise, 28)[0])).convert("RGBA"))[..., 3]
    assert alpha.max() == 255 and alpha.mean() > 60


def test_a_map_takes_the_size_of_its_picture():
    shown = laid_over(np.full((20, 30, 3), 128, np.uint8), scale_map(np.eye(4)))
    assert shown.shape == (20, 30, 3) and shown.dtype == np.uint8


def test_the_outline_runs_along_the_edges_of_pixels():
    mask = np.zeros((4, 6), bool)
    mask[1:3, 1:4] = True
    points = [tuple(map(float, p.split())) for p in outline_path(mask)[1:-1].split("L")]
    assert {min(p) for p in zip(*points, strict=True)} == {1.0} and max(x for x, _ in points) == 4.0
    assert max(y for _, y in points) == 3.0
    assert outline_path(np.zeros((4, 4), bool)) == ""
    assert outline_path(np.ones((4, 4), bool)).count("M") == 1


def test_words_say_where_a_map_is_strong_and_how_much_is_in_the_mask():
    values = np.zeros((9, 9))
    values[7, 1] = 3.0
    values[0, 8] = 1.0
    mask = np.zeros((9, 9), bool)
    mask[6:, :3] = True
    assert map_words(values, mask) == "75 % of the relevance inside the mask; strongest in the lower left"
    assert map_words(values, None) == "strongest in the lower left"
    assert map_words(np.full((9, 9), 2.0), None) == "the same value everywhere"
    assert "nothing speaks for" in map_words(-values, None)
    ninths = {strongest_part(np.pad(np.ones((3, 3)), ((r, 6 - r), (c, 6 - c)))) for r in (0, 3, 6) for c in (0, 3, 6)}
    assert ninths == {
        "upper left",
        "upper middle",
        "upper right",
        "left",
        "middle",
        "right",
        "lower left",
        "lower middle",
        "lower right",
    }


def test_a_region_is_told_at_the_size_of_the_map():
    values = np.array([[4.0, 1.0], [-4.0, 2.0]])
    assert region_of(values, 0.5, (2, 2)).tolist() == [[True, False], [False, True]]
    assert region_of(values, -1.0, (8, 8)).all() and region_of(values, 0.5, (8, 8))[0, 0]
    assert not region_of(np.zeros((2, 2)), 0.1, (2, 2)).any()
    edge = outlined(np.full((6, 6, 3), 128, np.uint8), np.pad(np.ones((2, 2), bool), 2))
    assert (edge[2, 2] == 255).all() and (edge[1, 2] == 0).all() and (edge[0, 0] == 128).all()


def test_the_scales_of_the_legend_end_in_their_colours():
    assert legend_stops(signed=False)[-1] == "rgb(253, 231, 37)" and len(legend_stops(signed=True)) == 9
