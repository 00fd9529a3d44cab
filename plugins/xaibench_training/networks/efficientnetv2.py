"""EfficientNetV2-B0 (Tan and Le, ICML 2021), structure and parameter names of timm's tf_efficientnetv2_b0."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from xaibench_training.networks.pooled import Plan

STEM, HEAD = 32, 1280
EPSILON = 1e-3
"""Of the batch normalisations, as in TensorFlow."""


class Stage(NamedTuple):
    """``depth`` blocks of ``kind``, the first with ``stride``; ``expansion``: how much wider a block is inside."""

    kind: Callable[..., nn.Module]
    depth: int
    stride: int
    expansion: int
    outputs: int


class SameConv2d(nn.Conv2d):
    """A 3 x 3 convolution of stride 2 whose even input is padded as TensorFlow does it: right and below alone."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(functional.pad(input, (0, 1, 0, 1)))


class SqueezeExcite(nn.Module):
    """Scale each channel by a gate in (0, 1) that all channels' means decide."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.conv_reduce = nn.Conv2d(channels, squeezed, 1)
        self.act1 = nn.SiLU()
        self.conv_expand = nn.Conv2d(squeezed, channels, 1)
        self.gate = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        gate = self.conv_expand(self.act1(self.conv_reduce(x.mean((2, 3), keepdim=True))))
        scaled: Tensor = x * self.gate(gate)
        return scaled


class ConvBlock(nn.Module):
    """One 3 x 3 convolution, normalised and activated."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        self.conv, self.bn1, self.act1 = convolution(inputs, outputs, 3, stride), norm(outputs), nn.SiLU()
        self.skips = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.act1(self.bn1(self.conv(x)))
        return shortcut(x, y, self.skips)


class EdgeResidual(nn.Module):
    """Widen by a 3 x 3 convolution, narrow by a 1 x 1 one (fused MBConv)."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        middle = inputs * expansion
        self.conv_exp, self.bn1, self.act1 = convolution(inputs, middle, 3, stride), norm(middle), nn.SiLU()
        self.conv_pwl, self.bn2 = convolution(middle, outputs, 1), norm(outputs)
        self.skips = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = self.act1(self.bn1(self.conv_exp(x)))
        y = self.bn2(self.conv_pwl(y))
        return shortcut(x, y, self.skips)


class InvertedResidual(nn.Module):
    """Widen by 1 x 1, 3 x 3 for each channel by itself, squeeze and excite, narrow by 1 x 1 (MBConv)."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        middle = inputs * expansion
        self.conv_pw, self.bn1, self.act1 = convolution(inputs, middle, 1), norm(middle), nn.SiLU()
        self.conv_dw, self.bn2 = convolution(middle, middle, 3, stride, groups=middle), norm(middle)
        self.act2 = nn.SiLU()
        self.se = SqueezeExcite(middle, inputs // 4)
        self.conv_pwl, self.bn3 = convolution(middle, outputs, 1), norm(outputs)
        self.skips = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = self.act1(self.bn1(self.conv_pw(x)))
        y = self.se(self.act2(self.bn2(self.conv_dw(y))))
        y = self.bn3(self.conv_pwl(y))
        return shortcut(x, y, self.skips)


STAGES = (
    Stage(ConvBlock, 1, 1, 1, 16),
    Stage(EdgeResidual, 2, 2, 4, 32),
    Stage(EdgeResidual, 2, 2, 4, 48),
    Stage(InvertedResidual, 3, 2, 4, 96),
    Stage(InvertedResidual, 5, 1, 6, 112),
    Stage(InvertedResidual, 8, 2, 6, 192),
)


class EfficientNetBody(nn.Module):
    """``(N, 3, H, W)``, sides multiples of 32, to ``(N, 1280, H/32, W/32)`` after the last SiLU (so above -0.28)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_stem, self.bn1, self.act1 = convolution(3, STEM, 3, 2), norm(STEM), nn.SiLU()
        inputs, stages = STEM, list[nn.Module]()
        for stage in STAGES:
            stages.append(_blocks(stage, inputs))
            inputs = stage.outputs
        self.blocks = nn.Sequential(*stages)
        self.conv_head, self.bn2, self.act2 = convolution(inputs, HEAD, 1), norm(HEAD), nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.children():
            x = layer(x)
        return x


def shortcut(x: Tensor, y: Tensor, skips: bool) -> Tensor:
    return x + y if skips else y


def _blocks(stage: Stage, inputs: int) -> nn.Sequential:
    first = stage.kind(inputs, stage.outputs, stage.stride, stage.expansion)
    more = (stage.kind(stage.outputs, stage.outputs, 1, stage.expansion) for _ in range(stage.depth - 1))
    return nn.Sequential(first, *more)


def convolution(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """Without bias, padded to keep the grid; drawn from N(0, 2 / fan_out) as the reference implementation does."""
    make = partial(nn.Conv2d, padding=kernel // 2) if stride == 1 else SameConv2d
    layer = make(inputs, outputs, kernel, stride=stride, groups=groups, bias=False)
    nn.init.normal_(layer.weight, std=math.sqrt(2 * groups / (kernel * kernel * outputs)))
    return layer


norm = partial(nn.BatchNorm2d, eps=EPSILON)


def plan() -> Plan:
    return Plan(body=EfficientNetBody, channels=HEAD, last_convolution="conv_head")
