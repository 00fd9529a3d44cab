"""Xception (Chollet, CVPR 2017), with the parameter names of Cadene's pretrained models and timm's legacy_xception."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from xaibench_training.networks.pooled import HALF, Plan

MIDDLE = 728


class SeparableConv2d(nn.Module):
    """A 3 x 3 convolution of each channel by itself, then a 1 x 1 convolution across channels."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False)
        self.pointwise = nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.pointwise(self.conv1(x))
        return y


class Block(nn.Module):
    """``repeats`` separable convolutions beside a shortcut, which is a 1 x 1 convolution where the shape changes."""

    def __init__(
        self, inputs: int, outputs: int, repeats: int, stride: int, *, relu_first: bool = True, grow_first: bool = True
    ) -> None:
        super().__init__()
        same = inputs == outputs and stride == 1
        self.skip = None if same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)
        self.skipbn = None if same else nn.BatchNorm2d(outputs)
        middle = outputs if grow_first else inputs
        widths = [inputs, *[middle] * (repeats - 1), outputs]
        layers: list[nn.Module] = []
        for a, b in pairwise(widths):
            layers += [nn.ReLU(), SeparableConv2d(a, b), nn.BatchNorm2d(b)]
        pool = [nn.MaxPool2d(3, stride, 1)] if stride != 1 else []
        self.rep = nn.Sequential(*layers[0 if relu_first else 1 :], *pool)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.skip is None or self.skipbn is None else self.skipbn(self.skip(x))
        y: Tensor = self.rep(x) + shortcut
        return y


class XceptionBody(nn.Module):
    """``(N, 3, H, W)`` to ``(N, 2048, h, w)`` at or above 0; 299 pixels give 10 x 10 cells."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1, self.relu1 = nn.Conv2d(3, 32, 3, 2, bias=False), nn.BatchNorm2d(32), nn.ReLU()
        self.conv2, self.bn2, self.relu2 = nn.Conv2d(32, 64, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU()
        self.block1 = Block(64, 128, 2, 2, relu_first=False)
        self.block2 = Block(128, 256, 2, 2)
        self.block3 = Block(256, MIDDLE, 2, 2)
        for index in range(4, 12):
            self.add_module(f"block{index}", Block(MIDDLE, MIDDLE, 3, 1))
        self.block12 = Block(MIDDLE, 1024, 2, 2, grow_first=False)
        self.conv3, self.bn3, self.relu3 = SeparableConv2d(1024, 1536), nn.BatchNorm2d(1536), nn.ReLU()
        self.conv4, self.bn4, self.relu4 = SeparableConv2d(1536, 2048), nn.BatchNorm2d(2048), nn.ReLU()
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.children():
            x = layer(x)
        return x


def plan() -> Plan:
    return Plan(body=XceptionBody, channels=2048, last_convolution="conv4", mean=HALF, std=HALF)
