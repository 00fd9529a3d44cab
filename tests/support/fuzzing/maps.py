"""Files of maps: ``.npy``, ``.npz`` and pictures that hold no map."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from fuzzing.base import TOY, Base, Command, cut, eval_data, flipped, save_folder


def _commands(rng: Random, here: Path, name: str, data: bytes) -> Sequence[Command]:
    save_folder(here / "data")
    for sample in ("fake/fake/f0", "fake/fake/f1", "real/r0", "real/r1"):
        file = here / "saved" / f"{sample}{Path(name).suffix}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    spec = "maps:saved"
    return (("eval", "--plugin", str(TOY), "-m", "toy", "-D", "data", "-e", spec, "-x", "range", "--no-controls",
             "--limit", "4", "--threads", "1", "-q", "-y", "-o", "out"),)  # fmt: skip


def _header(text: str, body: bytes = b"") -> bytes:
    head = text.encode("latin-1") + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head) & 0xFFFF) + head + body


def _npy(rng: Random, here: Path, base: Base) -> Sequence[Command]:
    """Headers of giant shapes, objects, other orders, and expressions."""
    shape = rng.choice(("(1000000, 1000000)", "(9223372036854775807, 2)", "(-1, 4)", "(2, 2, 2)", "()", "(0, 3)", "(4, 4)", "(100000, 200000)",
                        "1" + "0" * 400, "(" * 300 + ")" * 300, "(1" + "0" * 30 + ", 1)", "True", "(4.0, 4)"))  # fmt: skip
    kind = rng.choice(("'<f4'", "'|O'", "'<f8'", "'<c16'", "'<U100'", "'|V8'", "[('a', '<f4')]", "'<M8[s]'", "'?'", "'<f2'", "'nothing'",
                       "'<U1000000000'", "None", "[" * 300 + "]" * 300))  # fmt: skip
    order = rng.choice(("True", "False", "1"))
    data = _header(
        f"{{'descr': {kind}, 'fortran_order': {order}, 'shape': {shape}, }}", bytes(rng.choice((0, 64, 128)))
    )
    return _commands(rng, here, "m.npy", data)


def _values(rng: Random, here: Path, base: Base) -> Sequence[Command]:
    out = BytesIO()
    arrays = (
        np.full((4, 4), np.nan), np.full((4, 4), 1e300), np.zeros((0, 0)), np.zeros((1, 1)), np.zeros(4), np.zeros((32, 32), complex),
        np.zeros((2, 3, 4)), np.zeros((3, 3), "<U4"), np.asfortranarray(np.random.rand(5, 7)), np.full((32, 32), 2**63 - 1), np.float32(1),
        np.ones((32, 32), bool), np.zeros((4, 4), "M8[s]"), np.zeros((1, 2_000_000)), np.zeros((9000, 9000), np.uint8),
    )  # fmt: skip
    np.save(out, arrays[rng.randrange(len(arrays))])
    data = out.getvalue()
    return _commands(rng, here, "m.npy", rng.choice((data, data, cut(rng, data), flipped(rng, data, 3))))


def _npz(rng: Random, here: Path, base: Base) -> Sequence[Command]:
    out = BytesIO()
    way = rng.randrange(4)
    if way == 0:
        np.savez(out, other=np.zeros((4, 4)))
    elif way == 1:
        np.savez_compressed(out, map=np.zeros((12_000, 12_000), np.float32))
    elif way == 2:
        np.savez(out, map=np.array([object()], dtype=object), allow_pickle=True)
    else:
        np.savez(out, map=np.zeros((4, 4)))
    data = out.getvalue()
    return _commands(rng, here, "m.npz", rng.choice((data, data, cut(rng, data), flipped(rng, data, 3))))


def _pictures(rng: Random, here: Path, base: Base) -> Sequence[Command]:
    out = BytesIO()
    kind = rng.choice(("PNG", "TIFF", "BMP"))
    Image.new(rng.choice(("L", "1", "RGB")), (rng.choice((1, 40, 11_000)), 9)).save(out, kind)
    data = out.getvalue()
    suffix = rng.choice(("png", "tif", "jpg"))
    return _commands(rng, here, f"m.{suffix}", rng.choice((data, cut(rng, data), flipped(rng, data), b"", b"x")))


def _folders(rng: Random, here: Path, base: Base) -> Sequence[Command]:
    commands = _commands(rng, here, "m.npy", b"")
    (here / "saved" / "fake" / "fake" / "f0.npy").unlink()
    place = here / "saved" / "fake" / "fake" / "f0.npy"
    way = rng.randrange(4)
    if way == 0:
        place.mkdir()
    elif way == 1:
        place.symlink_to("f0.npy")
    elif way == 2:
        place.write_bytes(b"x")
        place.chmod(0)
    else:
        (here / "saved" / "loop").symlink_to("..")
    return *commands, eval_data(
        "data", "-e", f"maps:{rng.choice(('nowhere', '', 'data/real/r0.png', '/proc/self/fd'))}"
    )


MAKERS = (_npy, _values, _npz, _npy, _pictures, _values, _npy, _folders)
