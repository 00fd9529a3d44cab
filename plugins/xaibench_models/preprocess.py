"""From pictures to what a model eats: layout, channel order, range, normalisation and number type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from xaibench_models.card import Colour, Layout, Three

Number: TypeAlias = Literal["float32", "float16", "float64", "uint8"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """Maps pictures to a model's input: ``(x * (high - low) + low - mean) / std`` for each channel.

    ``range`` are the values of black and white. ``mean`` and ``std`` are in units of ``range`` and in the channel
    order of ``colour``. For ``uint8`` the result is rounded and there is no mean and std.
    """

    layout: Layout = "NCHW"
    colour: Colour = "RGB"
    range: tuple[float, float] = (0.0, 1.0)
    mean: Three = (0.0, 0.0, 0.0)
    std: Three = (1.0, 1.0, 1.0)
    number: Number = "float32"

    def __call__(self, images: Tensor) -> Tensor:
        """``(N, 3, H, W)`` float32 RGB in [0, 1] to the model's input. Differentiable unless ``uint8``.

        The result may be ``images`` itself where there is nothing to do.
        """
        x = images.flip(1) if self.colour == "BGR" else images
        x = self._scaled(x)
        if self.number == "uint8":
            x = x.round().clamp(0, 255)
        x = x.to(getattr(torch, self.number))
        return x.permute(0, 2, 3, 1).contiguous() if self.layout == "NHWC" else x

    def _scaled(self, x: Tensor) -> Tensor:
        low, high = self.range
        if (low, high) != (0.0, 1.0):
            x = x * (high - low) + low
        if any(self.mean):
            x = x - x.new_tensor(self.mean).view(1, 3, 1, 1)
        if self.std != (1.0, 1.0, 1.0):
            x = x / x.new_tensor(self.std).view(1, 3, 1, 1)
        return x
