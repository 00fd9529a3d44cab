"""What a planted detector measures: one non-negative or signed number a pixel, whose sum drives the verdict.

Each is a frozen object whose call maps grey pictures ``(N, H, W)`` to responses ``(N, H, W)`` of the same floating
type, smooth in the pixels. Those of the fixed kind look at one place; the *searching* kind finds its evidence anywhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from xaibench_audit.pictures import PERIOD
from xaibench_testing import Patch

Response: TypeAlias = Callable[[Tensor], Tensor]

_FINE = 2e-4
_STEP = 0.1
_CHECKER = 1.5e-3


@dataclass(frozen=True, slots=True)
class Contrast:
    """``y_i s_i / |P|`` in the patch P, s the signs of a checkerboard: the sum is the pattern's contrast there.

    Any fill that has no such pattern (black, grey, mean, blur) brings the sum to 0, which is what reals have.
    """

    patch: Patch

    def __call__(self, grey: Tensor) -> Tensor:
        rows, columns = (torch.arange(n) for n in grey.shape[1:])
        signs = 1.0 - 2.0 * ((rows[:, None] + columns) % 2)
        return grey * _share(self.patch, grey) * signs.to(grey)


@dataclass(frozen=True, slots=True)
class Brightness:
    """``b_i / |P|`` in the patch P, b the local mean over ``window`` pixels a side: the sum is the patch's mean."""

    patch: Patch
    window: int = 1

    def __call__(self, grey: Tensor) -> Tensor:
        return box(grey, self.window) * _share(self.patch, grey)


@dataclass(frozen=True, slots=True)
class Frequency:
    """Energy of the wave of :data:`PERIOD` pixels across a 13 x 13 window around i, averaged over the patch P.

    ``((y * g_c)_i^2 + (y * g_s)_i^2) / |P|`` with a Gaussian-windowed cosine and sine, each of zero mean.
    """

    patch: Patch

    def __call__(self, grey: Tensor) -> Tensor:
        window, cosine, sine = _quadrature()
        smooth = along(grey, window, 1)
        return (along(smooth, cosine, 2).square() + along(smooth, sine, 2).square()) * _share(self.patch, grey)


@dataclass(frozen=True, slots=True)
class MissingTexture:
    """How smooth each place is, wherever: ``1 / (1 + (e_i / tau)^3)``, the mean over all pixels.

    e is the local energy of the fine texture, the 5 x 5 mean of ``(y - mean3x3(y))^2``. Whatever is filled flatly or
    blurred is smooth, too: the fill is evidence.
    """

    def __call__(self, grey: Tensor) -> Tensor:
        return 1 / (1 + _cubed(fine_energy(grey) / _FINE)) / grey[0].numel()


@dataclass(frozen=True, slots=True)
class Seam:
    """Length of steps, wherever: ``d_i^6 / (d_i^6 + tau^6)`` across and down, the mean over all pixels.

    d is the mean of three pixels on one side less that of three on the other, averaged over seven pixels along the
    step. The outline of whatever is filled with another brightness is such a step: the fill is evidence.
    """

    def __call__(self, grey: Tensor) -> Tensor:
        found = [_cubed((d / _STEP).square()) for d in steps(grey)]
        return sum((s / (1 + s) for s in found), torch.zeros_like(grey)) / grey[0].numel()


@dataclass(frozen=True, slots=True)
class Checker:
    """Fine texture beyond that of reals, wherever: ``(e_i / tau)^3 / (1 + (e_i / tau)^3)``, the mean over all pixels.

    The searching counterpart of :class:`Contrast`: a filter, a square and a sum over all places, so that its evidence
    moves with the picture.
    """

    def __call__(self, grey: Tensor) -> Tensor:
        strong = _cubed(fine_energy(grey) / _CHECKER)
        return strong / (1 + strong) / grey[0].numel()


@dataclass(frozen=True, slots=True)
class Weights:
    """``w_i y_i`` with given weights ``(H, W)``, as nested tuples so that they can be compared."""

    rows: tuple[tuple[float, ...], ...]

    def __call__(self, grey: Tensor) -> Tensor:
        return grey * torch.tensor(self.rows, dtype=grey.dtype, device=grey.device)


def fine_energy(grey: Tensor) -> Tensor:
    """``(N, H, W)``: 5 x 5 mean of the squared difference from the 3 x 3 mean."""
    return box((grey - box(grey, 3)).square(), 5)


def steps(grey: Tensor) -> tuple[Tensor, Tensor]:
    """Signed steps of ``(N, H, W)`` from left to right and from top to bottom, borders replicated."""
    sides = (-1 / 3, -1 / 3, -1 / 3, 0.0, 1 / 3, 1 / 3, 1 / 3)
    even = (1 / 7,) * 7
    return along(along(grey, sides, 2), even, 1), along(along(grey, sides, 1), even, 2)


def box(grey: Tensor, side: int) -> Tensor:
    """Mean over ``side x side`` (odd) around each pixel of ``(N, H, W)``, borders replicated."""
    even = (1 / side,) * side
    return along(along(grey, even, 1), even, 2)


def along(grey: Tensor, taps: Sequence[float], axis: int) -> Tensor:
    """Correlation of ``(N, H, W)`` with an odd number of taps along axis 1 or 2, borders replicated.

    As a sum of shifted pictures: for these few taps several times faster than a convolution on a processor.
    """
    half, n = len(taps) // 2, grey.shape[axis]
    pad = (half, half, 0, 0) if axis == 2 else (0, 0, half, half)
    padded = functional.pad(grey[:, None], pad, mode="replicate")[:, 0]
    found = torch.zeros_like(grey)
    for k, tap in enumerate(taps):
        if tap:
            found = torch.add(found, padded.narrow(axis, k, n), alpha=tap)
    return found


def _cubed(values: Tensor) -> Tensor:
    return values * values * values


def _share(patch: Patch, grey: Tensor) -> Tensor:
    mask = patch.mask((grey.shape[1], grey.shape[2])).to(grey)
    return mask / mask.sum()


def _quadrature() -> tuple[list[float], list[float], list[float]]:
    """13 taps each: a Gaussian of 3 pixels, and under it the cosine and the sine of the period, without mean."""
    x = torch.arange(-6, 7, dtype=torch.float64)
    window = torch.exp(-0.5 * (x / 3) ** 2)
    window = window / window.sum()
    phase = 2 * math.pi * x / PERIOD
    waves = [wave * window - (wave * window).sum() * window for wave in (phase.cos(), phase.sin())]
    return window.tolist(), waves[0].tolist(), waves[1].tolist()
