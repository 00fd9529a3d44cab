"""Small detectors that are in order, each of another kind, trained in seconds on pictures drawn here.

A fake is a picture of which an oval was made redder, and of one method smoother too. By how much differs from fake to
fake, and people differ in redness, so that no detector is right on every picture: other readings of its card are tried.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
import torch
import torch.nn.functional as F
from architectures import ARCHITECTURES, conv_norm, head
from exporting import export
from numpy.typing import NDArray
from onnxruntime import quantization
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

SIZE = 32
FILE_SIZE = 64
METHODS = ("warm", "smooth")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CARD: dict[str, Any] = {"size": SIZE, "mean": list(MEAN), "std": list(STD)}
TWO = {**CARD, "classes": ["real", "fake"]}
ONE = {**CARD, "high": "fake"}


# ---- pictures ---------------------------------------------------------------------------------------------------


def person(generator: np.random.Generator) -> dict[str, NDArray[np.uint8]]:
    """One person: the real picture, a fake of each method, and the mask of both."""
    side = FILE_SIZE
    rows, columns = np.mgrid[:side, :side] / side - 0.5
    mask = ((rows / 0.34) ** 2 + (columns / 0.26) ** 2 < 1)[..., None]
    coarse = torch.from_numpy(generator.random((1, 3, 6, 6)))
    ground = F.interpolate(coarse, (side, side), mode="bicubic")[0].permute(1, 2, 0).numpy()
    skin = np.array([0.62, 0.5, 0.42]) + generator.normal(0, 0.025) * np.array([1, -0.5, 0])
    noise = generator.normal(0, 0.05, (side, side, 3))
    base = np.where(mask, skin + 0.15 * (ground - 0.5), 0.2 + 0.6 * ground)
    change = max(0.0, generator.normal(0.11, 0.04)) * np.array([1, -0.5, 0])
    pictures = {
        "real": base + noise,
        "warm": base + np.where(mask, change, 0) + noise,
        "smooth": base + np.where(mask, change, 0) + np.where(mask, 0.4, 1) * noise,
    }
    drawn = {name: (values.clip(0, 1) * 255).round().astype(np.uint8) for name, values in pictures.items()}
    return {**drawn, "mask": (mask[..., 0] * 255).astype(np.uint8)}


def write_people(folder: Path, count: int, labels: Sequence[str] = ("real", "fake"), seed: int = 1) -> str:
    """A dataset of a real picture and one fake of each of some people; with one label the others are left out."""
    generator, rows = np.random.default_rng(seed), []
    folder.mkdir(parents=True)
    for number in range(count):
        pictures, method = person(generator), METHODS[number % 2]
        for name in ("real", method):
            label = "real" if name == "real" else "fake"
            if label not in labels:
                continue
            row = {"id": f"{label}-{number}", "image": f"{label}-{number}.png", "label": label, "identity": number}
            Image.fromarray(pictures[name]).save(folder / row["image"])
            if label == "fake":
                row |= {"method": method, "mask": f"mask-{number}.png"}
                row |= {"pair": f"real-{number}"} if "real" in labels else {}
                Image.fromarray(pictures["mask"]).save(folder / row["mask"])
            rows.append(row)
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["id", "image", "label", "method", "identity", "pair", "mask"])
        writer.writeheader()
        writer.writerows(rows)
    return str(folder)


@cache
def training_pictures() -> tuple[Tensor, Tensor]:
    """Normalised pictures ``(N, 3, 32, 32)`` and their classes: real, warm, smooth."""
    generator, pixels, classes = np.random.default_rng(0), [], []
    for _ in range(150):
        drawn = person(generator)
        for number, name in enumerate(("real", *METHODS)):
            pixels.append(torch.from_numpy(drawn[name]).permute(2, 0, 1))
            classes.append(number)
    images = F.interpolate(torch.stack(pixels).float() / 255, (SIZE, SIZE), mode="bilinear", antialias=True)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    return (images - mean) / std, torch.tensor(classes)


# ---- networks ---------------------------------------------------------------------------------------------------


def convolutional(outputs: int = 2) -> nn.Sequential:
    steps = (*conv_norm(3, 12, 3, 2), nn.ReLU(), *conv_norm(12, 24, 3, 2), nn.ReLU())
    return nn.Sequential(*steps, *head(24)[:2], nn.Linear(24, outputs))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "convolutional": convolutional,
    "one logit": lambda: convolutional(1),
    "three classes": lambda: convolutional(3),
    "vit": ARCHITECTURES["vit"].build,
    "swin": ARCHITECTURES["swin"].build,
}


@cache
def trained(name: str, seed: int = 0) -> nn.Module:
    """The network of that name, trained, in evaluation mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return train(NETWORKS[name]())


def train(network: nn.Module, steps: int = 150) -> nn.Module:
    images, classes = training_pictures()
    optimiser = torch.optim.AdamW(network.parameters(), 5e-3)
    network.train()
    for _ in range(steps):
        rows = torch.randint(len(images), (64,))
        loss = _loss(network(images[rows]), classes[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return network.eval().requires_grad_(False)


def _loss(scores: Tensor, classes: Tensor) -> Tensor:
    fake = (classes > 0).long()
    if scores.shape[1] == 1:
        return F.binary_cross_entropy_with_logits(scores[:, 0], fake.float(), pos_weight=torch.tensor(0.5))
    if scores.shape[1] == 2:
        return F.cross_entropy(scores, fake, weight=torch.tensor([1.0, 0.5]))
    return F.cross_entropy(scores, classes, weight=torch.tensor([1.0, 0.5, 0.5]))


class Wrapped(nn.Module):
    """A trained network behind another ending or number type."""

    def __init__(self, network: str = "convolutional", kind: str = "", number: str = "float32") -> None:
        super().__init__()
        self.net, self.kind = NETWORKS[network](), kind
        self.to(getattr(torch, number))

    def forward(self, x: Tensor) -> Any:
        if self.kind == "remote":  # the pictures leave the process of the caller: no gradient comes back
            x = torch.from_numpy(np.frombuffer(x.detach().numpy().tobytes(), np.float32).copy()).view(x.shape)
        if self.kind == "stochastic":
            x = x + 0.2 * torch.randn_like(x)
        z = self.net(x)
        if self.kind == "saturated":
            return 400 * z
        return {"features": x.mean((2, 3)), "cls": z, "prob": z.softmax(1)[:, 1]} if self.kind == "dict" else z


def wrapped(network: str = "convolutional", kind: str = "", number: str = "float32") -> nn.Module:
    """A :class:`Wrapped` with the trained weights."""
    built = Wrapped(network, kind)
    built.net.load_state_dict(trained(network).state_dict())
    return built.to(getattr(torch, number)).eval()


# ---- files ------------------------------------------------------------------------------------------------------


def write_card(path: Path, card: dict[str, Any]) -> Path:
    path.with_suffix(".toml").write_text(tomli_w.dumps(card))
    return path


def onnx_file(path: Path, module: nn.Module, card: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_card(export(module, (SIZE, SIZE), path, dynamo=False), card)


def factory(folder: Path, card: dict[str, Any], network: str = "convolutional", **kwargs: str) -> Path:
    """A ``.toml`` that names :class:`Wrapped` and its weights."""
    folder.mkdir(parents=True, exist_ok=True)
    state = wrapped(network, **kwargs).state_dict()
    save_file({name: value.contiguous() for name, value in state.items()}, folder / "w.safetensors")
    build = {
        "factory": "sound_detectors:Wrapped", "kwargs": {"network": network, **kwargs}, "weights": "w.safetensors",
        "pythonpath": [str(Path(__file__).parent)],
    }  # fmt: skip
    return write_card(folder / "m.toml", {**card, **build})


class Calibration(quantization.CalibrationDataReader):  # type: ignore[misc]
    """Pictures of the training, once."""

    def __init__(self, pictures: Tensor) -> None:
        self.left = [{"x": part.numpy()} for part in pictures.split(16)]

    def get_next(self) -> dict[str, Any] | None:
        return self.left.pop() if self.left else None


def dynamic_int8(folder: Path) -> Path:
    source = onnx_file(folder / "source" / "m.onnx", trained("convolutional"), TWO)
    quantization.quantize_dynamic(source, folder / "m.onnx", weight_type=quantization.QuantType.QUInt8)
    return write_card(folder / "m.onnx", {**TWO, "batch": {"fixed": 1}})


def static_int8(folder: Path) -> Path:
    source = onnx_file(folder / "source" / "m.onnx", trained("convolutional"), TWO)
    quantization.quantize_static(source, folder / "m.onnx", Calibration(training_pictures()[0][:128]))
    return write_card(folder / "m.onnx", TWO)


def half_onnx(folder: Path) -> Path:
    """The float16 form of ONNX Runtime's own converter, from its input to its output."""
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    source = onnx_file(folder / "source" / "m.onnx", trained("convolutional"), TWO)
    onnx.save(convert_float_to_float16(onnx.load(source)), folder / "m.onnx")
    return write_card(folder / "m.onnx", TWO)


def fixed_batch(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(
        trained("one logit"), (torch.rand(1, 3, SIZE, SIZE),), folder / "m.onnx", dynamo=False, input_names=["x"]
    )
    return write_card(folder / "m.onnx", ONE)


def family(folder: Path) -> Path:
    for seed in range(3):
        onnx_file(folder / f"seed-{seed}.onnx", trained("convolutional", seed), TWO)
    return folder


def random_onnx(folder: Path) -> Path:
    """Draws noise in the graph."""
    path = onnx_file(folder / "m.onnx", wrapped(kind="stochastic"), TWO)
    return write_card(path, {**TWO, "stochastic": True})


def torch_script(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    traced = torch.jit.trace(trained("convolutional"), torch.rand(2, 3, SIZE, SIZE))
    traced.save(str(folder / "m.pt"))
    return write_card(folder / "m.pt", TWO)


def exported_program(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    shapes = ({0: torch.export.Dim("n")},)
    program = torch.export.export(trained("vit"), (torch.rand(2, 3, SIZE, SIZE),), dynamic_shapes=shapes)
    torch.export.save(program, folder / "m.pt2")
    return write_card(folder / "m.pt2", TWO)


THREE = {**CARD, "classes": ["original", *METHODS], "real": "original"}
BUILD: dict[str, Callable[[Path], Path]] = {
    "dynamic int8": dynamic_int8,
    "static int8": static_int8,
    "float16 ONNX": half_onnx,
    "float16 module": lambda f: factory(f, TWO, number="float16"),
    "bfloat16 module": lambda f: factory(f, TWO, number="bfloat16"),
    "one logit": lambda f: onnx_file(f / "m.onnx", trained("one logit"), ONE),
    "three classes": lambda f: onnx_file(f / "m.onnx", trained("three classes"), THREE),
    "saturated": lambda f: onnx_file(f / "m.onnx", wrapped(kind="saturated"), TWO),
    "saturated module": lambda f: factory(f, TWO, kind="saturated"),
    "fixed batch of 1": fixed_batch,
    "family": family,
    "stochastic ONNX": random_onnx,
    "stochastic module": lambda f: factory(f, {**TWO, "stochastic": True}, kind="stochastic"),
    "remote": lambda f: factory(f, {**TWO, "remote": True}, kind="remote"),
    "ViT": lambda f: factory(f, TWO, "vit"),
    "ViT ONNX": lambda f: onnx_file(f / "m.onnx", trained("vit"), TWO),
    "Swin": lambda f: factory(f, TWO, "swin"),
    "Swin ONNX": lambda f: onnx_file(f / "m.onnx", trained("swin"), TWO),
    "dict output": lambda f: factory(f, {**CARD, "output_key": "cls", "fake_index": 1}, kind="dict"),
    "TorchScript": torch_script,
    "torch.export": exported_program,
}
