"""Readers of picture, mask and landmark files, local or of any file system of fsspec.

A file that is missing, empty, broken, truncated, too large or no picture raises
:class:`~xaibench.api.UnreadablePicture`, which names the file and the reason in one line. Warnings of decoders are
suppressed. The first picture of a file with several (GIF, TIFF) is read. Colour profiles are ignored, as training
pipelines do. The EXIF orientation is applied.
"""

from __future__ import annotations

import csv
import math
import stat
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from os import PathLike
from pathlib import Path

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError, features

from xaibench.api.errors import UnreadablePicture
from xaibench.api.locations import Location, RemotePath, location

MAX_PIXELS = 64_000_000
"""Pictures of more pixels than this are refused before they are decoded."""

PICTURE_SUFFIXES = frozenset(
    (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm", ".jp2")
)
"""Suffixes, in lower case, of the files that a dataset lists as pictures."""

_DECODERS = ("libjpeg_turbo", "jpg", "jpg_2000", "webp", "zlib", "libtiff")
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "JPEG2000")
_MAX_LANDMARK_BYTES = 1_000_000
_EXIF_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# warnings.catch_warnings changes the state of the process; two threads in it at once would leave it changed.
_decoding = threading.RLock()


@cache
def decoder_versions() -> str:
    """Versions of Pillow and of its decoders in one line; other ones may decode a file to other pixels."""
    versions = [f"{name} {version}" for name in _DECODERS if (version := features.version(name))]
    return ", ".join([f"Pillow {PIL.__version__}", *versions])


def read_picture(path: str | PathLike[str] | RemotePath, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Decode a picture to ``(H, W, 3)`` uint8 RGB.

    Grey is repeated, transparency is dropped, palettes and CMYK are converted, and the upper 8 of 16 bits are kept.
    ``max_pixels`` above Pillow's own limit (179 million) has no effect. Raises :class:`UnreadablePicture`.
    """
    with _opened(location(path), max_pixels) as image:
        if image.mode[0] in "IF":  # one channel of more than 8 bits
            return np.repeat(_upper_byte(image)[:, :, None], 3, axis=2)
        return np.array(_without_palette(image).convert("RGB"))


def read_mask(
    path: str | PathLike[str] | RemotePath, max_pixels: int = MAX_PIXELS
) -> NDArray[np.uint8] | NDArray[np.float32]:
    """Decode a mask to ``(H, W)`` weights.

    The weights are uint8 in 0 to 255, or float32 in the file's own unit where it has more than 8 bits. The weight of a
    colour is its largest channel; transparent pixels have weight 0. Where transparency varies and all pixels that can
    be seen have one colour, the mask is in the alpha channel alone, and the weight is alpha. Raises
    :class:`UnreadablePicture`.
    """
    with _opened(location(path), max_pixels) as image:
        if image.mode[0] in "IF":
            return _weights(image)
        if image.mode in ("1", "L") and "transparency" not in image.info:
            return np.array(image.convert("L"))
        rgba = np.array(_without_palette(image).convert("RGBA"))
    red, green, blue, alpha = (rgba[:, :, i] for i in range(4))
    weights = np.maximum(np.maximum(red, green), blue)
    seen = alpha > 0
    if alpha.min() < alpha.max():
        colours = rgba[seen][:, :3]
        if (colours == colours[0]).all():
            return alpha
    return np.where(seen, weights, np.uint8(0))


def read_landmarks(path: str | PathLike[str] | RemotePath) -> NDArray[np.float32]:
    """Read ``(L, 2)`` float32 points from a CSV file with the columns ``x,y`` in pixels; the header is optional.

    The centre of the first pixel is (0, 0). Raises :class:`UnreadablePicture`.
    """
    path = location(path)
    if _check_file(path) > _MAX_LANDMARK_BYTES:
        raise _unreadable(path, f"holds more than {_MAX_LANDMARK_BYTES} bytes, too many for landmarks")
    try:
        text = path.read_text(encoding="utf-8-sig")
        rows = [(n, row) for n, row in enumerate(csv.reader(text.splitlines(), strict=True), start=1) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _unreadable(path, f"is no CSV of landmarks ({_one_line(error)})") from None
    if rows and [cell.strip().lower() for cell in rows[0][1]] == ["x", "y"]:
        rows = rows[1:]
    if not rows:
        raise _unreadable(path, "holds no landmarks")
    return np.array([_point(path, n, row) for n, row in rows], np.float32)


def _point(path: Location, number: int, row: list[str]) -> tuple[float, float]:
    try:
        x, y = map(float, row)
    except ValueError:
        raise _unreadable(path, f"row {number} is not 'x,y': {','.join(row)[:40]!r}") from None
    if not (math.isfinite(x) and math.isfinite(y)):
        raise _unreadable(path, f"row {number} is not finite")
    return x, y


@contextmanager
def _opened(path: Location, max_pixels: int) -> Iterator[Image.Image]:
    """The decoded, upright picture. Any exception in the ``with`` block is raised as an error of the file."""
    _check_file(path)
    source = path if isinstance(path, Path) else BytesIO(_content(path))
    with _decoding, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(source, formats=_FORMATS) as image:
                _check_size(path, image.size, max_pixels)
                image.load()
                yield _upright(image)
        except UnreadablePicture:
            raise
        except Image.DecompressionBombError:
            raise _unreadable(path, f"is larger than the limit of {max_pixels} pixels") from None
        except UnidentifiedImageError:
            raise _unreadable(path, "is no picture that can be decoded") from None
        except Exception as error:  # Pillow's decoders raise almost anything on corrupt data
            raise _unreadable(path, f"cannot be decoded ({_one_line(error)})") from None


def _check_file(path: Location) -> int:
    """Size of a file that is there, in bytes; 1 where its file system does not tell."""
    try:
        is_file, size = _kind_and_size(path)
    except (FileNotFoundError, NotADirectoryError):
        raise _unreadable(path, "does not exist") from None
    except (OSError, ValueError) as error:
        raise _unreadable(path, f"cannot be opened ({_one_line(error)})") from None
    if not is_file:
        raise _unreadable(path, "is no file")
    if size == 0:
        raise _unreadable(path, "is empty")
    return size


def _kind_and_size(path: Location) -> tuple[bool, int]:
    if isinstance(path, Path):
        state = path.stat()
        return stat.S_ISREG(state.st_mode), state.st_size
    info = path.info()
    if info is None:
        raise FileNotFoundError
    size = info.get("size")
    return info["type"] == "file", 1 if size is None else size


def _content(path: RemotePath) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, f"cannot be opened ({_one_line(error)})") from None


def _check_size(path: Location, size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise _unreadable(path, f"has {width} x {height} pixels, more than the limit of {max_pixels}")


def _upright(image: Image.Image) -> Image.Image:
    try:
        orientation = image.getexif().get(_EXIF_ORIENTATION)
    except Exception:  # the pixels may be intact where the metadata are broken
        return image
    return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image


def _without_palette(image: Image.Image) -> Image.Image:
    return image.convert("RGBA") if image.mode in ("P", "PA") else image


def _weights(image: Image.Image) -> NDArray[np.float32]:
    weights = np.array(image).astype(np.float32)
    if not np.isfinite(weights).all() or weights.min() < 0:
        raise ValueError("weights must be finite and not negative")
    return weights


def _upper_byte(image: Image.Image) -> NDArray[np.uint8]:
    """``(H, W)`` from 16-bit grey, as Pillow itself reads 16-bit colour."""
    values = np.array(image)
    if image.mode == "F" or values.min() < 0 or values.max() > 0xFFFF:
        raise ValueError("only 8 and 16 bits a channel are supported")
    return (values >> 8).astype(np.uint8)


def _unreadable(path: Location, reason: str) -> UnreadablePicture:
    return UnreadablePicture(f"{path}: {reason}")


def _one_line(error: BaseException) -> str:
    text = str((isinstance(error, OSError) and error.strerror) or error)
    return " ".join(text.split())[:160] or type(error).__name__
