"""Files of maps that say more of themselves than they hold."""

from __future__ import annotations

import struct
import time
import zipfile

import numpy as np
import pytest

from xaibench_explainers.maps import MapProblem, read_map


def npy(header: str, body: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header) + 1) + header.encode() + b"\n" + body


def header(shape: str, kind: str = "'<f4'", order: str = "False") -> str:
    return f"{{'descr': {kind}, 'fortran_order': {order}, 'shape': {shape}, }}"


WRONG = {
    "giant": (npy(header("(10000000, 10000000)")), "more than the limit"),
    "overflow": (npy(header("(9223372036854775807, 9223372036854775807)")), "more than the limit"),
    "negative": (npy(header("(-5, 4)")), "more than the limit"),
    "short": (npy(header("(4, 4)"), bytes(20)), "cannot be read"),
    "objects": (npy(header("(2, 2)", "'|O'"), bytes(64)), "holds object, not numbers"),
    "text": (npy(header("(1, 1)", "'<U1000000000'")), "cannot be read"),
    "complex": (npy(header("(1, 1)", "'<c8'"), bytes(8)), "not numbers"),
    "nested": (npy("(" * 400 + ")" * 400), "cannot be read"),
    "version": (b"\x93NUMPY\x09\x00" + bytes(20), "cannot be read"),
    "three axes": (npy(header("(1, 2, 2)"), bytes(16)), "shape (1, 2, 2)"),
}


@pytest.mark.parametrize("how", WRONG)
@pytest.mark.parametrize("packed", [False, True])
def test_a_wrong_array_is_refused_by_what_it_says(tmp_path, how, packed):
    data, what = WRONG[how]
    file = tmp_path / ("m.npz" if packed else "m.npy")
    if packed:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("map.npy", data)
    else:
        file.write_bytes(data)
    began = time.monotonic()
    with pytest.raises(MapProblem) as problem:
        read_map(file)
    assert what in str(problem.value) and "\n" not in str(problem.value)
    assert time.monotonic() - began < 1


def test_arrays_in_either_order_are_read(tmp_path):
    values = np.arange(12, dtype=np.int16).reshape(3, 4)
    np.save(tmp_path / "rows.npy", values)
    np.save(tmp_path / "columns.npy", np.asfortranarray(values))
    np.savez_compressed(tmp_path / "packed.npz", map=values, other=values.T)
    for file in tmp_path.iterdir():
        assert read_map(file).tolist() == values.tolist()


def test_a_picture_is_one_by_its_contents(tmp_path):
    (tmp_path / "m.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n")
    with pytest.raises(MapProblem, match="cannot be read"):
        read_map(tmp_path / "m.png")
