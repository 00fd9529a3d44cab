"""Published detectors' architectures in their real sizes, written out in plain torch, with random weights.

``LARGE[name]`` is ``(how to build one, the size of its pictures, the grid of the layer to look at)``; ``SMALL`` are the
same at a fraction of the width and depth. Modules are reused and work in place as in the published code.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from architectures import Block, quick_gelu
from torch import Tensor, nn
from torch.nn import functional as F


class Meso4(nn.Module):
    """MesoNet-4 (Afchar et al. 2018) as in DeepfakeBench: ReLU and pooling are one module each."""

    def __init__(self, side: int = 256) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.relu, self.leakyrelu = nn.ReLU(inplace=True), nn.LeakyReLU(0.1)
        self.conv2, self.bn2 = nn.Conv2d(8, 16, 5, padding=2, bias=False), nn.BatchNorm2d(16)
        self.conv3, self.conv4 = (nn.Conv2d(16, 16, 5, padding=2, bias=False) for _ in range(2))
        self.maxpooling1, self.maxpooling2 = nn.MaxPool2d(2), nn.MaxPool2d(4)
        self.dropout = nn.Dropout(0.5)
        self.fc1, self.fc2 = nn.Linear(16 * (side // 32) ** 2, 16), nn.Linear(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpooling1(self.bn1(self.relu(self.conv1(x))))
        x = self.maxpooling1(self.bn2(self.relu(self.conv2(x))))
        x = self.maxpooling1(self.bn2(self.relu(self.conv3(x))))
        x = self.maxpooling2(self.bn2(self.relu(self.conv4(x))))
        x = self.leakyrelu(self.fc1(self.dropout(x.view(x.size(0), -1))))
        return self.fc2(F.dropout(x, 0.5, self.training))


class SeparableConv(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, inputs, 3, 1, 1, groups=inputs, bias=False)
        self.pointwise = nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.pointwise(self.conv1(x))


class XceptionBlock(nn.Module):
    """One ReLU in place is all activation functions of a block."""

    def __init__(self, inputs: int, outputs: int, reps: int, stride: int, relu_first: bool, grow_first: bool) -> None:
        super().__init__()
        change = outputs != inputs or stride != 1
        self.skip = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if change else None
        self.skipbn = nn.BatchNorm2d(outputs) if change else None
        self.relu = nn.ReLU(inplace=True)
        widths = [inputs] + [outputs] * reps if grow_first else [inputs] * reps + [outputs]
        steps: list[nn.Module] = []
        for before, after in pairwise(widths):
            steps += [self.relu, SeparableConv(before, after), nn.BatchNorm2d(after)]
        steps = steps if relu_first else steps[1:]
        steps[0] = nn.ReLU(inplace=False) if relu_first else steps[0]
        self.rep = nn.Sequential(*steps, *([nn.MaxPool2d(3, stride, 1)] if stride != 1 else []))

    def forward(self, x: Tensor) -> Tensor:
        short = x if self.skip is None or self.skipbn is None else self.skipbn(self.skip(x))
        return self.rep(x) + short


class Xception(nn.Module):
    """Xception (Chollet 2017) as in DeepfakeBench: one ReLU in place serves the stem and the end."""

    def __init__(self, share: int = 1, middle: int = 8) -> None:
        super().__init__()
        a, b, c, d, e, f, g = (w // share for w in (32, 64, 128, 256, 728, 1024, 1536))
        self.conv1, self.bn1 = nn.Conv2d(3, a, 3, 2, 0, bias=False), nn.BatchNorm2d(a)
        self.relu = nn.ReLU(inplace=True)
        self.conv2, self.bn2 = nn.Conv2d(a, b, 3, bias=False), nn.BatchNorm2d(b)
        entry = (XceptionBlock(b, c, 2, 2, False, True), XceptionBlock(c, d, 2, 2, True, True))
        centre = (XceptionBlock(e, e, 3, 1, True, True) for _ in range(middle))
        self.blocks = nn.Sequential(
            *entry, XceptionBlock(d, e, 2, 2, True, True), *centre, XceptionBlock(e, f, 2, 2, True, False)
        )
        self.conv3, self.bn3 = SeparableConv(f, g), nn.BatchNorm2d(g)
        self.conv4, self.bn4 = SeparableConv(g, 2 * f), nn.BatchNorm2d(2 * f)
        self.last_linear = nn.Linear(2 * f, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x))))))
        x = self.relu(self.bn3(self.conv3(self.blocks(x))))
        x = self.relu(self.bn4(self.conv4(x)))
        return self.last_linear(F.adaptive_avg_pool2d(x, (1, 1)).view(x.size(0), -1))


class _Heads(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.attn(x, x, x, need_weights=False)[0]


class ClipViT(nn.Module):
    """The picture half of CLIP (Radford et al. 2021) with a linear head on the class token."""

    def __init__(self, patch: int, size: int, width: int = 768, depth: int = 12, heads: int = 12) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, patch, patch, bias=False)
        scale, cells = width**-0.5, (size // patch) ** 2
        self.class_embedding = nn.Parameter(scale * torch.randn(width))
        self.positional_embedding = nn.Parameter(scale * torch.randn(cells + 1, width))
        self.ln_pre, self.ln_post = nn.LayerNorm(width), nn.LayerNorm(width)
        self.resblocks = nn.Sequential(*(Block(_Heads(width, heads), width, quick_gelu) for _ in range(depth)))
        self.head = nn.Linear(width, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x).flatten(2).transpose(1, 2)
        token = self.class_embedding.expand(x.shape[0], 1, -1)
        x = self.ln_pre(torch.cat((token, x), 1) + self.positional_embedding)
        return self.head(self.ln_post(self.resblocks(x)[:, 0]))


Entry = tuple[Callable[[], nn.Module], int, tuple[int, int]]
LARGE: dict[str, Entry] = {
    "meso4": (Meso4, 256, (32, 32)),
    "xception": (Xception, 299, (10, 10)),
    "clip-b32": (lambda: ClipViT(32, 224), 224, (7, 7)),
    "clip-b16": (lambda: ClipViT(16, 224), 224, (14, 14)),
}
SMALL: dict[str, Entry] = {
    "meso4": (lambda: Meso4(64), 64, (8, 8)),
    "xception": (lambda: Xception(16, 0), 96, (3, 3)),
    "clip": (lambda: ClipViT(16, 64, 24, 1, 2), 64, (4, 4)),
}


def network(entry: Entry) -> nn.Module:
    """Built the same each time, its normalisations fitted to noise, in evaluation mode."""
    build, size, _ = entry
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        made = build()
        for module in made.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 0.5
        made.train()(torch.rand(4, 3, size, size))
    return made.eval().requires_grad_(False)
