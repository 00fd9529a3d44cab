"""What the makers of hostile inputs start from: sound files, and the command lines for each of them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from PIL import Image

TOY = Path(__file__).parents[1] / "plugins" / "toy.py"

Command = Sequence[str]


@dataclass(frozen=True, slots=True)
class Base:
    """Sound files: a run, and a detector as ONNX, as ``torch.export`` and as TorchScript."""

    run: Path
    onnx: Path
    pt2: Path
    torchscript: Path


Maker = Callable[[Random, Path, Base], Sequence[Command]]

_TOY = ("--plugin", str(TOY), "-e", "rows")
_EVAL = ("eval", *_TOY, "-x", "range", "--no-controls", "--threads", "1", "--limit", "2", "-q", "-y", "-o", "out")
EVAL = (*_EVAL, "-m", "toy", "-D", "demo:identities=2")
"""A run of two demo samples by the toy detector."""
_EXPLAIN = ("explain", *_TOY, "--device", "cpu", "-o", "maps")


def eval_data(dataset: str, *more: str) -> Command:
    return (*_EVAL, "-m", "toy", "-D", dataset, *more)


def eval_model(model: str, *more: str) -> Command:
    return (*_EVAL, "-m", model, "-D", "demo:identities=2", *more)


def check(what: str, *more: str) -> Command:
    return ("check", what, "--plugin", str(TOY), "--device", "cpu", *more)


def explain(picture: str, *more: str) -> Command:
    return (*_EXPLAIN, picture, "-m", "toy", *more)


def save_picture(file: Path, seed: int = 0, size: tuple[int, int] = (32, 32)) -> None:
    """A sound picture of noise."""
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(file)


def save_folder(folder: Path, *, reals: int = 3, fakes: int = 3) -> None:
    """A sound folder of pictures."""
    for i in range(reals):
        save_picture(folder / "real" / f"r{i}.png", i)
    for i in range(fakes):
        save_picture(folder / "fake" / f"f{i}.png", 100 + i)


def flipped(rng: Random, data: bytes, count: int = 0, first: int = 0) -> bytes:
    """``data`` with some bytes changed, by default about one in a hundred, from ``first`` on."""
    changed = bytearray(data)
    for _ in range(count or max(1, len(data) // 100)):
        changed[rng.randrange(min(first, len(data) - 1), len(data))] = rng.randrange(256)
    return bytes(changed)


def cut(rng: Random, data: bytes) -> bytes:
    """The beginning of ``data``."""
    return data[: rng.randrange(len(data))]


def varint(number: int) -> bytes:
    """A number as protobuf writes it."""
    parts = []
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    return bytes([*parts, number])


def chunk(field: int, data: bytes) -> bytes:
    """A protobuf field of bytes."""
    return varint(field << 3 | 2) + varint(len(data)) + data


def make_base(folder: Path) -> Base:
    """Write the sound files."""
    import torch
    from toy_runs import toy_run

    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3, stride=2), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(),
        torch.nn.Linear(4, 2),
    ).eval()  # fmt: skip
    base = Base(folder / "run", folder / "m.onnx", folder / "m.pt2", folder / "m.pt")
    toy_run(base.run, dataset=["demo:identities=2"], explainer=["rows"], metric=["range"], limit=2, maps="keep")
    picture = torch.rand(2, 3, 32, 32)
    count = torch.export.Dim("n", min=1, max=64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(network, (picture,), dynamic_shapes=({0: count},)), base.pt2)
        torch.jit.trace(network, picture).save(str(base.torchscript))
    _save_onnx(network.state_dict(), base.onnx)
    return base


def _save_onnx(state: dict[str, Any], file: Path) -> None:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weights = [numpy_helper.from_array(value.numpy(), name) for name, value in state.items()]
    nodes = [
        helper.make_node("Conv", ["x", "0.weight", "0.bias"], ["c"], strides=[2, 2]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "4.weight", "4.bias"], ["y"], transB=1),
    ]
    picture = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 32, 32])
    scores = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])
    graph = helper.make_graph(nodes, "g", [picture], [scores], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), file)
