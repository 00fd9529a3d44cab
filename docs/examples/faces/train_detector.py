"""Train a small deepfake detector on a folder with a manifest and export it to ONNX with its card.

    python docs/examples/faces/train_detector.py ../shared/data/faces --out faces-detector
    xaibench eval --model faces-detector/faces.onnx --dataset ../shared/data/faces --split test

The network sees each picture beside its high-pass residual, since what manipulations leave behind is mostly fine
texture and seams. Real pictures and fakes are drawn in equal numbers. The last epoch is kept; the validation AUC is
printed for the eye alone, so nothing is chosen on it.
"""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from xaibench import open_dataset, show_picture
from xaibench.api import Facts
from xaibench_statistics import roc_auc

SIZE = 256
SHOWN_TO = Facts(name="faces", classes=("real", "fake"), real_class=0, input_size=(SIZE, SIZE), digest="")


class FacesNet(nn.Module):
    """Logits (N, 2) of real and fake from RGB pictures (N, 3, 256, 256) in [0, 1]; about 90,000 parameters."""

    def __init__(self) -> None:
        super().__init__()
        blur = torch.tensor([1.0, 2.0, 1.0])
        self.register_buffer("blur", (blur[:, None] * blur / 16).expand(3, 1, 3, 3).clone())
        widths = (6, 16, 32, 48, 64, 64)
        self.features = nn.Sequential(*(self._block(a, b) for a, b in pairwise(widths)))
        self.head = nn.Linear(2 * widths[-1], 2)

    @staticmethod
    def _block(inputs: int, outputs: int) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
        )

    def forward(self, images: Tensor) -> Tensor:
        residual = images - functional.conv2d(images, self.blur, padding=1, groups=3)
        features = self.features(torch.cat([(images - 0.5) * 2, residual * 8], dim=1))
        return self.head(torch.cat([features.mean((2, 3)), features.amax((2, 3))], dim=1))


def load(folder: str, split: str) -> tuple[Tensor, Tensor, list[str]]:
    """Pictures (n, 3, 256, 256), labels (n,) with 1 = fake, and methods of one split."""
    source = open_dataset(folder).instance
    chosen = [s for s in source.samples() if s.split == split]
    images = [show_picture(source, s, SHOWN_TO).image for s in chosen]
    return (
        torch.stack(images),
        torch.tensor([s.label == "fake" for s in chosen]).long(),
        [s.method or "" for s in chosen],
    )


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror, move by up to 8 pixels, and change brightness and contrast, each picture for itself."""
    moved = []
    for image in functional.pad(images, (8, 8, 8, 8), mode="replicate"):
        y, x, mirror = (int(torch.randint(n, (), generator=generator)) for n in (17, 17, 2))
        crop = image[:, y : y + SIZE, x : x + SIZE]
        moved.append(crop.flip(2) if mirror else crop)
    gain = 0.85 + 0.3 * torch.rand(len(images), 1, 1, 1, generator=generator)
    shift = 0.1 * torch.rand(len(images), 1, 1, 1, generator=generator) - 0.05
    return (torch.stack(moved) * gain + shift).clamp(0, 1)


def train(images: Tensor, labels: Tensor, epochs: int, seed: int) -> FacesNet:
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    net = FacesNet()
    batches = len(labels) // 32
    optimiser = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=4e-3, total_steps=epochs * batches)
    weights = torch.where(labels == 1, 1 / (labels == 1).sum(), 1 / (labels == 0).sum()).double()
    for epoch in range(epochs):
        net.train()
        total = 0.0
        for _ in range(batches):
            index = torch.multinomial(weights, 32, replacement=True, generator=generator)
            loss = functional.cross_entropy(net(augment(images[index], generator)), labels[index], label_smoothing=0.02)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += float(loss.detach())
        print(f"epoch {epoch + 1}/{epochs}: loss {total / batches:.4f}", flush=True)
    return net.eval()


@torch.inference_mode()
def p_fake(net: FacesNet, images: Tensor) -> np.ndarray:
    return torch.cat([net(part).softmax(1)[:, 1] for part in images.split(32)]).double().numpy()


def report(name: str, scores: np.ndarray, labels: Tensor, methods: list[str]) -> None:
    fake = labels.numpy() == 1
    print(f"{name} AUC {roc_auc(scores[fake], scores[~fake]):.3f}")
    for method in sorted({m for m in methods if m}):
        chosen = np.array([m == method for m in methods])
        print(f"  {method}: {roc_auc(scores[chosen], scores[~fake]):.3f} ({chosen.sum()} fakes)")


def export(net: FacesNet, out: Path) -> None:
    """Write ``faces.onnx`` and the card ``faces.toml`` beside it."""
    out.mkdir(parents=True, exist_ok=True)
    example = torch.rand(2, 3, SIZE, SIZE)
    torch.onnx.export(
        net, (example,), str(out / "faces.onnx"), input_names=["image"], output_names=["logits"], dynamo=False,
        dynamic_axes={"image": {0: "n"}, "logits": {0: "n"}},
    )  # fmt: skip
    (out / "faces.toml").write_text(
        'classes = ["real", "fake"]\nreal = "real"\nactivation = "logit"\nlayout = "NCHW"\n'
        f'colour = "RGB"\nrange = [0.0, 1.0]\nsize = [{SIZE}, {SIZE}]\n'
        'training_data = "split train of the folder it was trained on"\n'
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", help="folder with manifest.csv, split into train, val and test")
    parser.add_argument("--out", type=Path, default=Path("faces-detector"))
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    images, labels, _ = load(arguments.folder, "train")
    net = train(images, labels, arguments.epochs, arguments.seed)
    for split in ("val", "test"):
        pictures, truth, methods = load(arguments.folder, split)
        report(split, p_fake(net, pictures), truth, methods)
    export(net, arguments.out)
    print(f"wrote {arguments.out / 'faces.onnx'} and its card")


if __name__ == "__main__":
    main()
