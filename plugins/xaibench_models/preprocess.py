"""From pictures to what a model eats: layout, channel order, range, normalisation and number type."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from xaibench_models.card import Colour, Layout, Three

Number: TypeAlias = Literal["float32", "float16", "bfloat16", "float64", "uint8"]


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

    def __call__(self, images: Tensor, out: Tensor | None = None) -> Tensor:
        """``(N, 3, H, W)`` float32 RGB in [0, 1] to the model's input. Differentiable unless ``uint8``.

        The result may be ``images`` itself where there is nothing to do. ``out``, of the shape and type of ``images``,
        may be written to, and the result may be ``out``; nothing is differentiated then.
        """
        x = images.flip(1) if self.colour == "BGR" else images
        x = self._scaled(x, out)
        if self.number == "uint8":
            x = x.round().clamp(0, 255)
        x = x.to(getattr(torch, self.number))
        return x.permute(0, 2, 3, 1).contiguous() if self.layout == "NHWC" else x

    def _scaled(self, x: Tensor, out: Tensor | None) -> Tensor:
        low, high = self.range
        if out is not None and (factor := self._exact_factor()):
            # (x - mean) / std, bit by bit: a power of two commutes with rounding, and the picture is read once.
            return torch.add(_kept(tuple(-m * factor for m in self.mean), x.dtype, x.device), x, alpha=factor, out=out)
        if (low, high) != (0.0, 1.0):
            x = torch.mul(x, high - low, out=out)
            x = torch.add(x, low, out=out)
        if any(self.mean):
            x = torch.sub(x, _of_channels(self.mean, x, out), out=out)
        if self.std != (1.0, 1.0, 1.0):
            x = torch.div(x, _of_channels(self.std, x, out), out=out)
        return x

    def _exact_factor(self) -> float:
        """``1 / std`` where it is one power of two from 2 on and a mean is subtracted from [0, 1]; else 0."""
        factor = 1 / self.std[0]
        plain = self.range == (0.0, 1.0) and len(set(self.std)) == 1 and all(self.mean)
        return factor if plain and factor > 1 and math.frexp(factor)[0] == 0.5 else 0.0


def _of_channels(values: Three, x: Tensor, out: Tensor | None) -> Tensor:
    """``(1, 3, 1, 1)`` of the type and device of ``x``."""
    # Inside autograd, or while a network is traced, a tensor must not outlive the call. A device would be waited for.
    if out is None and x.device.type == "cpu":
        return x.new_tensor(values).view(1, 3, 1, 1)
    return _kept(values, x.dtype, x.device)


@lru_cache(maxsize=64)
def _kept(values: Three, number: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(mode=False):  # what is made inside may not enter autograd
        return torch.tensor(values, dtype=number).to(device).view(1, 3, 1, 1)
