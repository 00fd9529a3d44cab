"""Files to arrays: every kind of picture by exact values, and every kind of broken file by its one line."""

from __future__ import annotations

import contextlib
import os
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from xaibench.api import MAX_PIXELS, UnreadablePicture, read_landmarks, read_mask, read_picture

RGB = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3) * 14
GREY = np.array([[0, 100, 255], [1, 2, 3]], np.uint8)


def save(folder: Path, array: np.ndarray, name: str = "a.png", mode: str | None = None, exif: Any = b"") -> Path:
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(folder / name, exif=exif)
    return folder / name


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def reason(read: object, path: Path, **options: object) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UnreadablePicture) as caught:
            read(path, **options)  # type: ignore[operator]
    assert "\n" not in caught.value.what
    assert caught.value.what.startswith(f"{path}: ")
    return caught.value.what.removeprefix(f"{path}: ")


# ---- pictures ----


def test_rgb_is_read_as_it_is(tmp_path: Path) -> None:
    picture = read_picture(save(tmp_path, RGB))
    assert picture.dtype == np.uint8
    assert picture.flags.writeable
    np.testing.assert_array_equal(picture, RGB)


def test_grey_is_repeated(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read_picture(save(tmp_path, GREY)), np.stack([GREY] * 3, -1))


def test_transparency_is_dropped(tmp_path: Path) -> None:
    alpha = np.concatenate([RGB, np.full((2, 3, 1), 7, np.uint8)], -1)
    np.testing.assert_array_equal(read_picture(save(tmp_path, alpha)), RGB)


def test_a_palette_is_looked_up_even_with_transparent_entries(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8), "L").convert("P")
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    image.save(tmp_path / "a.png", transparency=b"\x00\xff\x80")
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png"), [[[10, 20, 30], [40, 50, 60], [70, 80, 90]]])


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    image = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    image.save(tmp_path / "a.jpg", quality=100)
    np.testing.assert_allclose(read_picture(tmp_path / "a.jpg"), np.full((16, 16, 3), [255, 0, 0]), atol=2)


def test_sixteen_bits_are_cut_to_the_upper_byte(tmp_path: Path) -> None:
    values = np.array([[0, 255, 256, 65535]], np.uint16)
    np.testing.assert_array_equal(read_picture(save(tmp_path, values))[..., 0], [[0, 0, 1, 255]])


def test_one_bit_is_black_and_white(tmp_path: Path) -> None:
    path = save(tmp_path, np.array([[0, 255]], np.uint8), mode="1")
    np.testing.assert_array_equal(read_picture(path)[..., 1], [[0, 255]])


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (1, [[1, 2, 3], [4, 5, 6]]),
        (2, [[3, 2, 1], [6, 5, 4]]),
        (3, [[6, 5, 4], [3, 2, 1]]),
        (4, [[4, 5, 6], [1, 2, 3]]),
        (5, [[1, 4], [2, 5], [3, 6]]),
        (6, [[4, 1], [5, 2], [6, 3]]),
        (7, [[6, 3], [5, 2], [4, 1]]),
        (8, [[3, 6], [2, 5], [1, 4]]),
        (99, [[1, 2, 3], [4, 5, 6]]),
    ],
)
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int, upright: list[list[int]]) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path, np.array([[1, 2, 3], [4, 5, 6]], np.uint8), exif=exif)
    np.testing.assert_array_equal(read_picture(path)[..., 0], upright)
    np.testing.assert_array_equal(read_mask(path), upright)


def test_broken_exif_leaves_the_picture_as_stored(tmp_path: Path) -> None:
    path = save(tmp_path, np.full((8, 8, 3), 9, np.uint8), "a.jpg", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xffjunk")
    assert read_picture(path).shape == (8, 8, 3)


def test_of_an_animation_the_first_picture_is_taken(tmp_path: Path) -> None:
    frames = [Image.new("L", (4, 4), value) for value in (0, 255)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert read_picture(tmp_path / "a.gif").max() == 0


# ---- broken files ----


def test_a_missing_file(tmp_path: Path) -> None:
    assert reason(read_picture, tmp_path / "none.png") == "does not exist"


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    assert reason(read_picture, tmp_path / "a.png") == "is empty"


def test_a_folder(tmp_path: Path) -> None:
    assert reason(read_picture, tmp_path) == "is no file"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_named_pipe_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    assert reason(read_picture, tmp_path / "a.png") == "is no file"


@pytest.mark.parametrize(
    "content", [b"hello, I am text", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"%!PS-Adobe-3.0 EPSF"]
)
def test_no_picture(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    assert "decoded" in reason(read_picture, tmp_path / "a.png")


def test_formats_that_are_not_pictures_of_a_data_set(tmp_path: Path) -> None:
    """Pillow would hand EPS to an interpreter; whatever is not asked for is not tried."""
    Image.fromarray(RGB).save(tmp_path / "a.png", format="PCX")
    assert reason(read_picture, tmp_path / "a.png") == "is no picture that can be decoded"


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.bmp", "a.tif"])
@pytest.mark.parametrize("keep", [0.3, 0.7])
def test_a_truncated_picture(tmp_path: Path, name: str, keep: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    path = save(tmp_path, noise, name)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    assert "decoded" in reason(read_picture, path)


def test_flipped_bytes_never_raise_anything_else(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for name in ("a.png", "a.jpg", "a.gif", "a.tif"):
        path = save(tmp_path, rng.integers(0, 256, (16, 16, 3), np.uint8), name)
        whole = np.frombuffer(path.read_bytes(), np.uint8)
        for _ in range(40):
            broken = whole.copy()
            broken[rng.integers(0, len(whole), 8)] = rng.integers(0, 256, 8)
            path.write_bytes(broken.tobytes())
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                with contextlib.suppress(UnreadablePicture):
                    assert read_picture(path).shape[2] == 3


def test_the_limit_in_pixels_is_inclusive(tmp_path: Path) -> None:
    path = save(tmp_path, RGB)
    assert read_picture(path, max_pixels=6).shape == (2, 3, 3)
    assert reason(read_picture, path, max_pixels=5) == "has 3 x 2 pixels, more than the limit of 5"


@pytest.mark.parametrize("side", [8_001, 10_000, 14_000, 60_000])
def test_a_bomb_is_refused_before_it_is_decoded(tmp_path: Path, side: int) -> None:
    """Pillow itself says nothing, warns, or raises, depending on the size; here all are one error."""
    (tmp_path / "a.png").write_bytes(png_header(side, side))
    assert f"limit of {MAX_PIXELS}" in reason(read_picture, tmp_path / "a.png")


def test_floating_point_pictures_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path, np.ones((2, 2), np.float32), "a.tif")
    assert "8 and 16 bits" in reason(read_picture, path)


# ---- masks ----


def test_a_grey_mask_is_its_bytes(tmp_path: Path) -> None:
    mask = read_mask(save(tmp_path, GREY))
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, GREY)


def test_of_a_coloured_mask_the_largest_channel_counts(tmp_path: Path) -> None:
    path = save(tmp_path, np.array([[[0, 0, 0], [1, 200, 3]], [[9, 8, 7], [0, 0, 255]]], np.uint8))
    np.testing.assert_array_equal(read_mask(path), [[0, 200], [9, 255]])


def test_transparent_parts_of_a_mask_weigh_nothing(tmp_path: Path) -> None:
    path = save(tmp_path, np.array([[[255, 255, 255, 0], [255, 255, 255, 255]]], np.uint8))
    np.testing.assert_array_equal(read_mask(path), [[0, 255]])


def test_a_deep_mask_keeps_its_depth(tmp_path: Path) -> None:
    mask = read_mask(save(tmp_path, np.array([[0, 300, 65535]], np.uint16)))
    assert mask.dtype == np.float32
    np.testing.assert_array_equal(mask, [[0, 300, 65535]])
    floating = read_mask(save(tmp_path, np.array([[0, 0.25]], np.float32), "b.tif"))
    np.testing.assert_array_equal(floating, [[0, 0.25]])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1])
def test_a_mask_of_impossible_weights(tmp_path: Path, bad: float) -> None:
    path = save(tmp_path, np.array([[0, bad]], np.float32), "a.tif")
    assert "finite and not negative" in reason(read_mask, path)


# ---- landmarks ----


@pytest.mark.parametrize("text", ["x,y\n1,2\n3.5,-4\n", "1,2\n3.5,-4", "\ufeffX, Y\r\n1,2\r\n\r\n3.5,-4\r\n"])
def test_landmarks(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.csv").write_text(text, encoding="utf-8", newline="")
    points = read_landmarks(tmp_path / "a.csv")
    assert points.dtype == np.float32
    np.testing.assert_array_equal(points, [[1, 2], [3.5, -4]])


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is empty"),
        (b"x,y\n", "holds no landmarks"),
        (b"x,y\n1,2,3\n", "row 2 is not 'x,y': '1,2,3'"),
        (b"y,x\n1,2\n", "row 1 is not 'x,y': 'y,x'"),
        (b"1,2\n3,four\n", "row 2 is not 'x,y': '3,four'"),
        (b"1,2\n3\n", "row 2 is not 'x,y': '3'"),
        (b"1,nan\n", "row 1 is not finite"),
        (b"\xff\xfe\x00", "is no CSV of landmarks"),
        (b"1,2\n" * 300_000, "holds more than 1000000 bytes"),
    ],
)
def test_broken_landmarks(tmp_path: Path, content: bytes, expected: str) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    assert reason(read_landmarks, tmp_path / "a.csv").startswith(expected)


def test_missing_landmarks(tmp_path: Path) -> None:
    assert reason(read_landmarks, tmp_path / "a.csv") == "does not exist"
