"""Pictures that are none, or not what their header says."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from fuzzing.base import Base, Command, check, cut, eval_data, explain, flipped, save_folder

_FORMATS = {"png": "PNG", "jpg": "JPEG", "webp": "WEBP", "bmp": "BMP", "tif": "TIFF", "gif": "GIF", "ppm": "PPM"}


def _encoded(rng: Random, suffix: str) -> bytes:
    pixels = np.random.default_rng(rng.randrange(10**6)).integers(0, 256, (40, 48, 3), np.uint8)
    out = BytesIO()
    Image.fromarray(pixels).save(out, _FORMATS[suffix])
    return out.getvalue()


def _commands(rng: Random, here: Path, name: str, data: bytes) -> Sequence[Command]:
    """One bad picture among six sound ones, and alone."""
    save_folder(here / "data")
    (here / "data" / rng.choice(("real", "fake")) / name).write_bytes(data)
    (here / name).write_bytes(data)
    more = rng.choice((explain(name), check("toy", "-D", "data", "--limit", "4")))
    return eval_data("data", "--limit", "8"), more


def _mutated(rng: Random, here: Path, base: Base) -> Sequence[Command]:
    suffix = rng.choice(list(_FORMATS))
    data = _encoded(rng, suffix)
    return _commands(
        rng, here, f"bad.{suffix}", rng.choice((cut(rng, data), flipped(rng, data), flipped(rng, data, 3)))
    )


def _wrong_suffix(rng: Random, here: Path, base: Base) -> Sequence[Command]:
    suffix, other = rng.sample(list(_FORMATS), 2)
    return _commands(rng, here, f"bad.{other}", _encoded(rng, suffix))


def _no_picture(rng: Random, here: Path, base: Base) -> Sequence[Command]:
    data = rng.choice((b"", b"\0", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"<svg/>", rng.randbytes(500)))
    return _commands(rng, here, f"bad.{rng.choice(list(_FORMATS))}", data)


def _giant_png(rng: Random, here: Path, base: Base) -> Sequence[Command]:
    """A header of many pixels before few or zipped ones."""
    width, height = rng.choice(((2**31 - 1, 2**31 - 1), (60_000, 60_000), (10**6, 1), (0, 5), (12_000, 12_000)))

    def part(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    body = zlib.compress(b"\0" * rng.choice((10, 10_000_000)))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    text = part(b"zTXt", b"k\0\0" + zlib.compress(b"x" * 50_000_000)) if rng.random() < 0.3 else b""
    data = b"\x89PNG\r\n\x1a\n" + part(b"IHDR", header) + text + part(b"IDAT", body) + part(b"IEND", b"")
    return _commands(rng, here, "giant.png", data)


def _giant_bmp(rng: Random, here: Path, base: Base) -> Sequence[Command]:
    width, height = rng.choice(((2**31 - 1, 2**31 - 1), (-5, 10), (10, -(2**31)), (50_000, 50_000)))
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 1, 1, 0, 0)
    return _commands(rng, here, "giant.bmp", b"BM" + struct.pack("<IHHI", 60, 0, 0, 54) + info + b"\0" * 12)


def _animated(rng: Random, here: Path, base: Base) -> Sequence[Command]:
    out, kind = BytesIO(), rng.choice(("gif", "webp", "png"))
    sizes = [(rng.randrange(1, 60), rng.randrange(1, 60)) for _ in range(5)]
    frames = [Image.new("P", sizes[0] if kind == "webp" else size, i) for i, size in enumerate(sizes)]
    frames[0].save(out, _FORMATS[kind], save_all=True, append_images=frames[1:], duration=10)
    return _commands(rng, here, f"moving.{kind}", rng.choice((out.getvalue(), cut(rng, out.getvalue()))))


def _modes(rng: Random, here: Path, base: Base) -> Sequence[Command]:
    """16 bits, CMYK, floats, one bit, palettes with transparency, and the like."""
    mode, suffix = rng.choice((
        ("I;16", "png"), ("I", "tif"), ("F", "tif"), ("CMYK", "jpg"), ("CMYK", "tif"), ("1", "png"), ("LA", "png"),
        ("P", "png"), ("L", "jpg"), ("RGBA", "webp"), ("YCbCr", "jpg"), ("LAB", "tif"),
    ))  # fmt: skip
    out, size = BytesIO(), rng.choice(((1, 1), (1, 900), (33, 31)))
    if mode == "F":
        values = np.full(size, rng.choice((np.nan, np.inf, -1.0, 1e38)), np.float32)
        Image.fromarray(values).save(out, "TIFF")
    elif mode == "P":
        Image.new("P", size).save(out, "PNG", transparency=bytes(range(7)))
    else:
        Image.new(mode, size).save(out, _FORMATS[suffix])
    return _commands(rng, here, f"mode.{suffix}", out.getvalue())


def _odd_names(rng: Random, here: Path, base: Base) -> Sequence[Command]:
    save_folder(here / "data")
    for name in ("\udcff.png", "a\nb.png", "a\x1b[31mb.png", "a" * 200 + ".png", " .png", "a,b.png", "%s.png", "é.png"):
        (here / "data" / "fake" / name).write_bytes(_encoded(rng, "png"))
    return eval_data("data", "--limit", "20"), check("toy", "-D", "data", "--limit", "4")


def _no_files(rng: Random, here: Path, base: Base) -> Sequence[Command]:
    """Folders, links in a circle, pipes and files without permission where pictures are expected."""
    import os

    save_folder(here / "data")
    fake = here / "data" / "fake"
    (fake / "folder.png").mkdir()
    (fake / "loop.png").symlink_to("loop.png")
    (fake / "up").symlink_to("..")
    (fake / "gone.png").symlink_to("nowhere")
    os.mkfifo(fake / "pipe.png")
    (fake / "secret.png").write_bytes(_encoded(rng, "png"))
    (fake / "secret.png").chmod(0)
    return eval_data("data", "--limit", "20"), explain(
        f"data/fake/{rng.choice(('folder', 'loop', 'gone', 'pipe'))}.png"
    )


def _one_kind(rng: Random, here: Path, base: Base) -> Sequence[Command]:
    save_folder(here / "data", reals=rng.choice((0, 1)), fakes=rng.choice((0, 1)))
    (here / "data").mkdir(exist_ok=True)
    return eval_data("data"), check("toy", "-D", "data")


def _masks(rng: Random, here: Path, base: Base) -> Sequence[Command]:
    """Masks and landmarks of other shapes and values than the picture's."""
    save_folder(here / "data")
    masks, points = here / "data" / "masks", here / "data" / "landmarks"
    masks.mkdir()
    points.mkdir()
    Image.new("L", (rng.randrange(1, 99), 3), 255).save(masks / "f0.png")
    Image.fromarray(np.full((32, 32), rng.choice((np.nan, -1.0, np.inf, 1e30)), np.float32)).save(masks / "f1.tif")
    (masks / "f2.png").write_bytes(rng.choice((b"", b"x", cut(rng, _encoded(rng, "png")))))
    texts = ("", "x,y\n", "1,2,3\n", "nan,1\n", "1e999,1\n", "1;2\n", '"1', "\0", "x" * 2_000_000, "1,2\n" * 99_999,
             "9" * 5000 + ",1\n", "\ufeffx,y\n1,2\n")  # fmt: skip
    for name in ("f0", "f1", "r0"):
        (points / f"{name}.csv").write_text(rng.choice(texts), encoding=rng.choice(("utf-8", "utf-16")))
    return eval_data("data", "--limit", "8"), check("toy", "-D", "data", "--limit", "8")


def _metadata(rng: Random, here: Path, base: Base) -> Sequence[Command]:
    """Broken EXIF, a broken profile, and an orientation that is none."""
    out = BytesIO()
    exif = Image.Exif()
    exif[0x0112] = rng.choice((0, 9, 65535, 6))
    body = rng.choice((exif.tobytes(), b"Exif\0\0" + rng.randbytes(40), b"Exif\0\0MM\0*" + b"\xff" * 40))
    Image.new("RGB", (20, 30)).save(out, "JPEG", exif=body, icc_profile=rng.randbytes(70_000))
    return _commands(rng, here, "meta.jpg", out.getvalue())


MAKERS = (
    _mutated, _giant_png, _modes, _no_picture, _no_files, _animated, _masks, _mutated, _giant_bmp, _odd_names,
    _wrong_suffix, _metadata, _mutated, _one_kind,
)  # fmt: skip
