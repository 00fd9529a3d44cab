"""Two small detectors of blending in photographs of faces, and for each the cards that say one thing wrong of it.

Both are trained on the people of the split ``train`` in a minute, and look at noise, which blending smoothes. ``blend``:
convolutions with two logits, pictures (N, H, W, 3), blue first, with ImageNet's mean and std. ``noise``: a linear map
of pooled noise and one hidden layer, with one logit, pictures in 0..255.
"""

from __future__ import annotations

import csv
import shutil
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from shared_faces import FACES
from torch import nn

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def _row(values):
    return torch.tensor(values).view(1, 3, 1, 1)


class Blend(nn.Module):
    """``(N, H, W, 3)``, blue first, normalised as ImageNet is -> {verdict: logits of real and fake, tone: no verdict}.

    Convolutions over the residuals of skin.
    """

    def __init__(self, probability: bool = False) -> None:
        super().__init__()
        self.probability = probability
        self.high_pass = nn.Conv2d(3, 9, 3, bias=False).requires_grad_(False)
        kernels = torch.tensor(
            [
                [[0, -1, 0], [-1, 4, -1], [0, -1, 0]],
                [[0, 0, 0], [-2, 4, -2], [0, 0, 0]],
                [[0, -2, 0], [0, 4, 0], [0, -2, 0]],
            ]
        )
        self.high_pass.weight.data = torch.zeros(9, 3, 3, 3)
        for channel in range(3):
            self.high_pass.weight.data[channel::3, channel] = kernels / 8
        widths = (10, 12, 24, 24)
        self.body = nn.Sequential(nn.BatchNorm2d(10))
        for before, after in pairwise(widths):
            self.body.extend((nn.Conv2d(before, after, 3, 2, 1), nn.BatchNorm2d(after), nn.ReLU()))
        self.drop, self.head = nn.Dropout(0.3), nn.Linear(2 * widths[-1], 2)

    def residuals(self, x):
        """``(N, 10, H - 2, W - 2)`` of normalised pictures ``(N, 3, H, W)``, red first."""
        skin = torch.sigmoid(4 * (x[:, :1] - x[:, 2:]))[:, :, 1:-1, 1:-1]
        return torch.cat([self.high_pass(x).abs().clamp(max=1) * skin, skin], 1)

    def verdict(self, residuals):
        z = self.body(residuals)
        mean = z.mean((2, 3))
        spread = (z - mean[:, :, None, None]).square().mean((2, 3)).add(1e-6).sqrt()
        return self.head(self.drop(torch.cat([mean, spread], 1)))

    def forward(self, x):
        rgb = x.permute(0, 3, 1, 2).flip(1)
        verdict = self.verdict(self.residuals(rgb))
        tone = rgb.mean((2, 3))[:, :2] * 4 - 2
        return {"tone": tone, "verdict": verdict.softmax(1) if self.probability else verdict}


class Noise(nn.Module):
    """``(N, 3, H, W)`` in 0..255 -> {sharpness: no verdict, score: one logit of fake}."""

    def __init__(self, probability: bool = False) -> None:
        super().__init__()
        self.probability = probability
        high_pass = torch.zeros(6, 3, 3, 3)
        laplace = torch.tensor([[0, -1, 0], [-1, 4, -1], [0, -1, 0.0]]) / 4
        across = torch.tensor([[0, 0, 0], [-1, 2, -1], [0, 0, 0.0]]) / 2
        for channel in range(3):
            high_pass[channel, channel] = laplace
        high_pass[3], high_pass[4], high_pass[5] = laplace / 3, across / 3, across.T / 3
        self.high_pass = nn.Conv2d(3, 6, 3, padding=1, bias=False)
        self.high_pass.weight.data = high_pass
        self.head = nn.Sequential(nn.Linear(7 * 64, 16), nn.Tanh(), nn.Linear(16, 1))

    def features(self, x):
        x = ((x / 255).clamp(0, 1) - _row(MEAN)) / _row(STD)
        energy = self.high_pass(x).abs().clamp(max=1.0)
        skin = torch.sigmoid(4 * (x[:, :1] - x[:, 2:]))
        seen, skin = self.pool(energy * skin), self.pool(skin)
        return torch.cat([seen / (skin + 0.3), skin], 1).flatten(1)

    def pool(self, x):
        """To 8 x 8, whatever the size, in a form that ONNX takes at any size."""
        height, width = x.shape[2] // 8, x.shape[3] // 8
        return x.unflatten(3, (8, width)).unflatten(2, (8, height)).mean((3, 5))

    def forward(self, x):
        z = self.features(x)
        score = self.head(z)
        return {"sharpness": z[:, 100:101] * 10 - 3, "score": score.sigmoid() if self.probability else score}


def train_noise() -> Noise:
    """Train on the people of the faces that are for training; the features are computed once."""
    rows = [r for r in faces() if r["trained"]]
    images = torch.stack([_picture(FACES / r["image"]) for r in rows])
    fake = torch.tensor([float(r["label"] == "fake") for r in rows])
    network = Noise()
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        seen = network.features(images)
        mean, spread = seen.mean(0), seen.std(0) + 1e-3
        z = (seen - mean) / spread
    first = network.head[0]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        optimiser = torch.optim.Adam(network.head.parameters(), 3e-3, weight_decay=0.05)
        for _ in range(150):
            loss = F.binary_cross_entropy_with_logits(network.head(z + 0.3 * torch.randn_like(z))[:, 0], fake)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    with torch.no_grad():  # the standardisation goes into the first layer
        first.bias -= first.weight @ (mean / spread)
        first.weight /= spread
    return network.eval()


def train_blend() -> Blend:
    """Train on the people of the faces that are for training; the residuals are computed once."""
    rows = [r for r in faces() if r["trained"]]
    images = torch.stack([_picture(FACES / r["image"]) for r in rows]) / 255
    fake = torch.tensor([int(r["label"] == "fake") for r in rows])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network, size, epochs = Blend(), 24, 24
        with torch.no_grad():
            residuals = network.residuals((images - _row(MEAN)) / _row(STD))
        trainable = [p for p in network.parameters() if p.requires_grad]
        optimiser = torch.optim.AdamW(trainable, weight_decay=0.02)
        steps = epochs * -(-len(rows) // size)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-2, total_steps=steps)
        for _ in range(epochs):
            for batch in torch.randperm(len(rows)).split(size):
                x = residuals[batch].flip(3) if torch.rand(()) < 0.5 else residuals[batch]
                loss = F.cross_entropy(network.verdict(x), fake[batch])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
    return network.eval()


def _picture(path: Path) -> torch.Tensor:
    pixels = torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1)[None].float()
    return F.interpolate(pixels, (128, 128), mode="nearest")[0]


def faces() -> list[dict[str, Any]]:
    """Real pictures and self-blends; ``trained`` says whether the person was trained on."""
    with (FACES / "manifest.csv").open(newline="") as file:
        rows = [r for r in csv.DictReader(file) if r["method"] in ("", "self_blend")]
    return [{**r, "trained": r["split"] == "train"} for r in rows]


def held_out_faces(folder: Path) -> str:
    """The people that were not trained on as a dataset."""
    rows = [r for r in faces() if not r["trained"]]
    lines = ["id,image,label,method,identity"]
    for r in rows:
        (folder / r["image"]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(FACES / r["image"], folder / r["image"])
        lines.append(",".join((r["id"], r["image"], r["label"], r["method"], r["identity"])))
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    return str(folder)


@dataclass(frozen=True)
class Wrong:
    """A card that says ``keys`` otherwise than the right one (None: leaves them out). ``cause`` is what ``check`` is to
    name. ``probability``: the network returns probabilities."""

    name: str
    keys: dict[str, Any]
    cause: str
    probability: bool = False
    right: dict[str, Any] = field(default_factory=dict)


BLEND = {
    "classes": ["real", "fake"], "layout": "NHWC", "colour": "BGR", "size": 128,
    "mean": [0.406, 0.456, 0.485], "std": [0.225, 0.224, 0.229], "resize": {"interpolation": "nearest"},
}  # fmt: skip
BLEND_WRONG = (
    Wrong("colour order", {"colour": "RGB"}, "colour"),
    Wrong("range 0..255", {"range": [0, 255]}, "range"),
    Wrong("range -128..127", {"range": [-128, 127]}, "range"),
    Wrong("no mean and std", {"mean": None, "std": None}, "mean"),
    Wrong("mean and std of .5", {"mean": 0.5, "std": 0.5}, "mean"),
    Wrong("layout", {"layout": None}, "layout"),
    Wrong("resize", {"resize": None}, "resize"),
    Wrong("classes swapped", {"classes": ["fake", "real"]}, "classes"),
    Wrong("real swapped", {"classes": ["genuine", "forged"], "real": "forged"}, "real"),
    Wrong("probability for logit", {"activation": "probability"}, "activation"),
    Wrong("logit for probability", {"activation": "logit"}, "activation", True, {"activation": "probability"}),
    Wrong("threshold", {"threshold": 0.9999}, "threshold"),
    Wrong("wrong output", {"output": "tone"}, "output"),
    Wrong("wrong size", {"size": 64}, "size"),
    Wrong("swap and range", {"classes": ["fake", "real"], "range": [0, 255]}, "classes range"),
)
BLEND_HARDLY_WRONG = (
    Wrong("range -1..1", {"range": [-1, 1]}, "range"),
    Wrong("range -.5...5", {"range": [-0.5, 0.5]}, "range"),
)
"""They cost it .037 and .005 of an AUC of .944, which 64 pictures do not tell from chance (p .02 and more)."""
NOISE = {"high": "fake", "range": [0, 255], "size": 128, "resize": {"interpolation": "nearest"}}
NOISE_WRONG = (
    Wrong("colour order", {"colour": "BGR"}, "colour"),
    Wrong("range 0..1", {"range": None}, "range"),
    Wrong("range -1..1", {"range": [-1, 1]}, "range"),
    Wrong("range -128..127", {"range": [-128, 127]}, "range"),
    Wrong("mean and std added", {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]}, "mean"),
    Wrong("mean added", {"mean": 127.5}, "mean"),
    Wrong("layout", {"layout": "NHWC"}, "layout"),
    Wrong("resize", {"resize": None}, "resize"),
    Wrong("high swapped", {"high": "real"}, "high"),
    Wrong("probability for logit", {"activation": "probability"}, "activation"),
    Wrong("logit for probability", {"activation": "logit"}, "activation", True, {"activation": "probability"}),
    Wrong("threshold", {"threshold": 0.9999}, "threshold"),
    Wrong("wrong output", {"output": "sharpness"}, "output"),
    Wrong("wrong size", {"size": 256}, "size"),
    Wrong("swap and range", {"high": "real", "range": None}, "high range"),
)


def card(base: dict[str, Any], output: str, form: str, wrong: Wrong | None = None) -> dict[str, Any]:
    values = {**base, "output": output, **(wrong.right | wrong.keys if wrong else {})}
    values = {k: v for k, v in values.items() if v is not None}
    if form == "torch":
        values["output_key"] = values.pop("output")
    return values


def export(network: nn.Module, folder: Path, name: str, example: torch.Tensor, axes: dict[int, str]) -> None:
    """``NAME.onnx`` and ``NAME.safetensors``."""
    folder.mkdir(parents=True, exist_ok=True)
    outputs = list(network(example))
    dynamic = {"x": {0: "n", **axes}, **{o: {0: "n"} for o in outputs}}
    torch.onnx.export(
        network, (example,), folder / f"{name}.onnx", input_names=["x"], output_names=outputs, dynamic_axes=dynamic,
        dynamo=False, opset_version=17,
    )  # fmt: skip
    save_file({k: v.contiguous() for k, v in network.state_dict().items()}, folder / f"{name}.safetensors")


def write_model(folder: Path, source: Path, form: str, name: str, values: dict[str, Any], probability: bool) -> Path:
    """A model with a card. ``source`` holds what :func:`export` wrote."""
    folder.mkdir(parents=True, exist_ok=True)
    kind = f"{name}-p" if probability else name
    if form == "onnx":
        shutil.copy(source / f"{kind}.onnx", folder / "m.onnx")
        (folder / "m.toml").write_text(tomli_w.dumps(values))
        return folder / "m.onnx"
    factory = {
        "factory": f"wrong_cards:{name.title()}", "weights": str(source / f"{kind}.safetensors"),
        "kwargs": {"probability": probability}, "pythonpath": [str(Path(__file__).parent)],
    }  # fmt: skip
    (folder / "m.toml").write_text(tomli_w.dumps({**values, **factory}))
    return folder / "m.toml"
