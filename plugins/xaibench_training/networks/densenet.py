"""DenseNet-121 (Huang et al., CVPR 2017), with torchvision's parameter names."""

from __future__ import annotations

import re
from collections import OrderedDict

import torch
from torch import Tensor, nn

from xaibench_training.networks.pooled import Plan

GROWTH, BOTTLENECK, FIRST = 32, 4, 64
DEPTHS = (6, 12, 24, 16)
_OLD_NAME = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.(\d)")


class DenseLayer(nn.Module):
    """32 channels more: normalise, ReLU, 1 x 1, normalise, ReLU, 3 x 3, put beside what came in."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.relu1 = nn.ReLU()
        self.conv1 = convolution(inputs, BOTTLENECK * GROWTH, 1)
        self.norm2 = nn.BatchNorm2d(BOTTLENECK * GROWTH)
        self.relu2 = nn.ReLU()
        self.conv2 = convolution(BOTTLENECK * GROWTH, GROWTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(self.relu1(self.norm1(x)))
        return torch.cat([x, self.conv2(self.relu2(self.norm2(y)))], dim=1)


class DenseNetBody(nn.Module):
    """``(N, 3, H, W)`` to ``(N, 1024, H/32, W/32)`` at or above 0: after norm5 and its ReLU."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[tuple[str, nn.Module]] = [
            ("conv0", convolution(3, FIRST, 7, 2)),
            ("norm0", nn.BatchNorm2d(FIRST)),
            ("relu0", nn.ReLU()),
            ("pool0", nn.MaxPool2d(3, stride=2, padding=1)),
        ]
        width = FIRST
        for index, depth in enumerate(DEPTHS, start=1):
            layers.append((f"denseblock{index}", dense_block(width, depth)))
            width += depth * GROWTH
            if index < len(DEPTHS):
                layers.append((f"transition{index}", transition(width)))
                width //= 2
        layers.append(("norm5", nn.BatchNorm2d(width)))
        self.features = nn.Sequential(OrderedDict(layers))
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        activation: Tensor = self.relu(self.features(x))
        return activation


def dense_block(inputs: int, depth: int) -> nn.Sequential:
    return nn.Sequential(OrderedDict((f"denselayer{i + 1}", DenseLayer(inputs + i * GROWTH)) for i in range(depth)))


def transition(inputs: int) -> nn.Sequential:
    """Half the channels on half the grid."""
    return nn.Sequential(
        OrderedDict(
            norm=nn.BatchNorm2d(inputs), relu=nn.ReLU(), conv=convolution(inputs, inputs // 2, 1), pool=nn.AvgPool2d(2)
        )
    )


def convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    layer = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
    nn.init.kaiming_normal_(layer.weight)
    return layer


def renamed(key: str) -> str:
    """torchvision's published file says ``norm.1`` for what has been ``norm1`` in its code for long."""
    return _OLD_NAME.sub(r"\1\2", key)


def plan() -> Plan:
    """``last_convolution`` is norm5: the last convolution proper gives 32 channels of the 1,024 that are pooled."""
    return Plan(body=DenseNetBody, channels=1024, last_convolution="features.norm5", renamed=renamed)
