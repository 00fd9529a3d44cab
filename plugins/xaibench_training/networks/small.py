"""The default network for CPUs: a small one that sees each picture beside its high-pass residual."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from xaibench_training.networks.pooled import HALF, Plan

WIDTHS = (6, 16, 32, 48, 64, 64)
STRIDES = (2, 2, 2, 2, 1)
RESIDUAL_GAIN = 4.0
"""Brings the residual, a few hundredths of the picture's range, to about the picture's spread."""


class SmallBody(nn.Module):
    """``(N, 3, H, W)`` in [-1, 1] to ``(N, 64, H/16, W/16)`` at or above 0; 84,000 weights.

    What manipulations leave behind is mostly fine texture and seams, so the residual ``x - blur(x)`` (binomial 3 x 3,
    edges repeated) enters beside the picture. The last convolution keeps the grid, so that 128 pixels give 8 x 8 cells.
    """

    blur: Tensor

    def __init__(self) -> None:
        super().__init__()
        taps = torch.tensor([1.0, 2.0, 1.0])
        self.register_buffer("blur", (taps[:, None] * taps / 16).expand(3, 1, 3, 3).clone())
        self.blocks = nn.Sequential(*(block(*w, s) for w, s in zip(pairwise(WIDTHS), STRIDES, strict=True)))

    def forward(self, pictures: Tensor) -> Tensor:
        around = functional.pad(pictures, (1, 1, 1, 1), mode="replicate")
        residual = pictures - functional.conv2d(around, self.blur, groups=3)
        activation: Tensor = self.blocks(torch.cat([pictures, residual * RESIDUAL_GAIN], dim=1))
        return activation


def block(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """A 3 x 3 convolution, its normalisation and a ReLU."""
    convolution = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


def plan() -> Plan:
    return Plan(body=SmallBody, channels=WIDTHS[-1], last_convolution="blocks.4.0", mean=HALF, std=HALF)
