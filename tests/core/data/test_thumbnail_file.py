"""Thumbnails in a file: what is kept comes back, and the file holds no more than were kept at once."""

from __future__ import annotations

import numpy as np
import pytest

from xaibench.data.thumbnail_file import ThumbnailFile


def pixels(seed):
    return np.random.default_rng(seed).integers(0, 256, (64, 64, 3), dtype=np.uint8)


def test_what_is_kept_comes_back_and_places_are_used_again():
    kept = ThumbnailFile()
    for i in range(5):
        kept.keep(f"s{i}", pixels(i))
    kept.drop("s1")
    kept.drop("s1")  # forgotten already
    kept.drop("s3")
    kept.keep("s5", pixels(5))
    kept.keep("s0", pixels(10))  # in place of the first
    kept.keep("s6", pixels(6))
    assert [f"s{i}" in kept for i in range(8)] == [True, False, True, False, True, True, True, False]
    for name, seed in {"s0": 10, "s2": 2, "s4": 4, "s5": 5, "s6": 6}.items():
        assert np.array_equal(kept.pixels(name), pixels(seed))
    assert kept._file.seek(0, 2) == 5 * 64 * 64 * 3
    with pytest.raises(KeyError):
        kept.pixels("s1")
    kept.clear()


def test_nothing_is_left_when_it_is_cleared():
    kept = ThumbnailFile()
    kept.clear()
    kept.keep("a", pixels(0))
    kept.clear()
    assert "a" not in kept
    kept.keep("b", pixels(1))
    with kept:
        assert np.array_equal(kept.pixels("b"), pixels(1))
    assert "b" not in kept
