"""``torch.export`` and TorchScript archives and safetensors files that are not what they say."""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path
from random import Random

from fuzzing.base import Base, Command, check, cut, eval_model, flipped


def _commands(rng: Random, name: str) -> Sequence[Command]:
    return (check(name), eval_model(name))[: 1 + (rng.random() < 0.5)]


def _archive(rng: Random, here: Path, base: Base) -> Sequence[Command]:
    """Bytes of the archive cut or flipped."""
    source = rng.choice((base.pt2, base.torchscript))
    data = source.read_bytes()
    ways = (
        cut(rng, data),
        flipped(rng, data),
        flipped(rng, data, 3),
        flipped(rng, data, 2, len(data) - 400),
        b"PK\3\4" + rng.randbytes(500),
    )
    (here / f"m{source.suffix}").write_bytes(rng.choice(ways))
    return _commands(rng, f"m{source.suffix}")


def _rewritten(source: Path, target: Path, change: dict[str, bytes | None]) -> None:
    """The archive with records replaced or, where None, left out."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as new:
        for name in old.namelist():
            data = change.get(name, old.read(name))
            if data is not None:
                new.writestr(name, data)


def _record(rng: Random, here: Path, base: Base) -> Sequence[Command]:
    """One record lost, emptied, cut or flipped."""
    source = rng.choice((base.pt2, base.pt2, base.torchscript))
    with zipfile.ZipFile(source) as archive:
        name = rng.choice(archive.namelist())
        data = archive.read(name) or b"x"
    changed = rng.choice(
        (None, b"", cut(rng, data), flipped(rng, data), flipped(rng, data, 1), b"{}", b"[" * 20_000, b"null")
    )
    _rewritten(source, here / f"m{source.suffix}", {name: changed})
    return _commands(rng, f"m{source.suffix}")


def _program(rng: Random, here: Path, base: Base) -> Sequence[Command]:
    """Values in the JSON of an exported program: other types, huge numbers, bombs of nesting."""
    with zipfile.ZipFile(base.pt2) as archive:
        name = next(n for n in archive.namelist() if "/models/" in n and n.endswith(".json"))
        tree = json.loads(archive.read(name))
    places: list[tuple[object, object]] = []

    def walk(node: object) -> None:
        items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        for key, inner in items:
            places.append((node, key))
            walk(inner)

    walk(tree)
    for _ in range(rng.choice((1, 1, 3))):
        holder, key = rng.choice(places)
        holder[key] = rng.choice(
            (None, -1, 10**18, 10**400, "x", [], {}, True, 1.5, "\x1b", "torch.ops.aten.add.Tensor")
        )  # type: ignore[index]
    text = json.dumps(tree)
    if rng.random() < 0.2:
        text = text.replace("null", "[" * 20_000 + "]" * 20_000, 1)
    _rewritten(base.pt2, here / "m.pt2", {name: text.encode()})
    return _commands(rng, "m.pt2")


def _zip(rng: Random, here: Path, base: Base) -> Sequence[Command]:
    """Archives of other things, and a small one of much."""
    with zipfile.ZipFile(here / "m.pt2", "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for name in rng.sample(
            ("m/models/model.json", "m/code/a.py", "m/data.pkl", "../x", "/etc/x", "m/version", "m/" + "x" * 5000), 3
        ):
            archive.writestr(name, rng.choice((b"", b"{}", b"\x80\x02.", b"0" * 50_000_000)))
    return _commands(rng, "m.pt2")


def _pickle(rng: Random, here: Path, base: Base) -> Sequence[Command]:
    data = rng.choice(
        (b"\x80\x02.", b"\x80\x04\x95" + b"\xff" * 8, b"\x80\x02cos\nsystem\n(S'exit 9'\ntR.", b"(" * 50_000)
    )
    name = rng.choice(("m.pt", "m.pt2", "m.ts", "m.torchscript"))
    (here / name).write_bytes(data)
    return _commands(rng, name)


def _safetensors(rng: Random, here: Path, base: Base) -> Sequence[Command]:
    """Headers that are too long, overlap, say giant shapes, or nest."""
    (here / "maker.py").write_text(
        "import torch\n\n\ndef make():\n"
        "    return torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())\n"
    )
    entry = {"dtype": "F32", "shape": [2, 3, 3, 3], "data_offsets": [0, 216]}
    bias = {"dtype": "F32", "shape": [2], "data_offsets": [216, 224]}
    headers = (
        {"0.weight": entry, "0.bias": bias}, {"0.weight": entry, "0.bias": {**bias, "data_offsets": [0, 8]}},
        {"0.weight": {**entry, "shape": [2**62, 2**62]}, "0.bias": bias}, {"0.weight": {**entry, "dtype": "F99"}, "0.bias": bias},
        {"0.weight": {**entry, "data_offsets": [0, 2**63]}, "0.bias": bias}, {"0.weight": 1}, [], {"0.weight": {**entry, "shape": [-1]}},
        {"0.weight": {**entry, "shape": []}, "0.bias": bias}, {}, {"0.weight": {**entry, "dtype": "I64"}, "0.bias": bias},
        {"0.weight": {**entry, "dtype": "F16", "shape": [4, 3, 3, 3]}, "0.bias": bias}, {"__metadata__": {"x": "y" * 10**6}},
    )  # fmt: skip
    text = json.dumps(rng.choice(headers)).encode() if rng.random() < 0.85 else b"[" * 20_000
    length = rng.choice((len(text), len(text), len(text), 2**63, 2**64 - 1, 0, 7, 10**9))
    values = b"\0\0\xc0\x7f" * 56 if rng.random() < 0.3 else b"\0" * 224  # NaN or nought
    name = rng.choice(("w.safetensors", "w.safetensors", "w.pt"))
    (here / name).write_bytes(struct.pack("<Q", length) + text + values)
    (here / "m.toml").write_text(
        f'factory = "maker:make"\npythonpath = ["."]\nweights = "{name}"\nsize = 32\nclasses = ["real", "fake"]\nreal = "real"\n'
    )
    return _commands(rng, "m.toml")


MAKERS = (_program, _safetensors, _archive, _record, _program, _zip, _safetensors, _pickle, _program, _record, _archive)
