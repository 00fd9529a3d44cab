"""The demo detector's network: a small CNN that looks for the most suspicious place of a 64x64 picture."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

CLASSES = ("real", "fake")
INPUT_SIZE = (64, 64)


class DemoNet(nn.Module):
    """Map RGB pictures `(N, 3, 64, 64)` in [0, 1] to the logits `(N, 2)` of real and fake.

    Four 3x3 convolutions, the last three followed by 2x2 average pooling, and a 1x1 convolution give `features`,
    `(N, 48, 8, 8)` after its ReLU, of which a cell sees at most 32x32 pixels. `evidence` weighs the features of each
    cell, and the cell with most evidence decides. Normalisation happens inside; in evaluation mode samples do not
    influence one another.
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *_block(3, 12, pool=False),
            *_block(12, 20, pool=True),
            *_block(20, 28, pool=True),
            *_block(28, 36, pool=True),
            *_block(36, 48, kernel=1, pool=False),
        )
        self.evidence = nn.Conv2d(48, 1, 1)
        self.pool = nn.MaxPool2d(8)
        self.classify = nn.Linear(1, len(CLASSES))
        with torch.no_grad():  # else a member may start, and stay, with evidence for the wrong class
            self.classify.weight.copy_(torch.tensor([[-0.5], [0.5]]))
            self.classify.bias.zero_()

    def forward(self, image: Tensor) -> Tensor:
        return self.verdict(self.evidence_map(image))

    def fused(self) -> DemoNet:
        """Fold batch normalisation into the convolutions: the same function in evaluation mode, faster."""
        layers: list[nn.Module] = []
        for layer in self.features:
            if isinstance(layer, nn.BatchNorm2d):
                layers[-1] = fuse_conv_bn_eval(layers[-1], layer)  # type: ignore[type-var]
            else:
                layers.append(layer)
        self.features = nn.Sequential(*layers)
        return self

    def evidence_map(self, image: Tensor) -> Tensor:
        """Return the evidence of every cell that it was manipulated, `(N, 1, 8, 8)`."""
        evidence: Tensor = self.evidence(self.features((image - 0.5) * 4))
        return evidence

    def verdict(self, evidence: Tensor) -> Tensor:
        """Return the logits `(N, 2)` of a map of evidence."""
        logits: Tensor = self.classify(self.pool(evidence).flatten(1))
        return logits


def _block(inputs: int, outputs: int, *, kernel: int = 3, pool: bool) -> list[nn.Module]:
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    ]
    return [*layers, nn.AvgPool2d(2)] if pool else layers
