"""Procedural pictures of the audit: textured grounds, the manipulations that make fakes of them, and their masks.

Everything is drawn from ``(seed, number of the pair)``, so that the same seed gives the same bytes on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from xaibench.api import Native, Problem, Sample
from xaibench_testing import Patch

Floats = NDArray[np.float64]
Change = Literal["contrast", "brightness", "frequency", "smooth", "seam"]

SIZE = (48, 64)
"""Height and width: not square, and small enough for thousands of maps a minute."""

PERIOD = 6
"""Pixels of one wave of the planted frequency."""

_CONTRAST, _BRIGHTNESS, _FREQUENCY, _STEP = 0.08, 0.16, 0.08, 0.2
_SMOOTHING = 2.0
_MARGIN = 4
_GRAIN = 0.05
_GROUND = 0.05


@dataclass(frozen=True, slots=True)
class Manipulation:
    """What turns a real picture into a fake, and where; ``place`` None: somewhere else in every pair, off ``clear``.

    ``contrast``: a checkerboard of single pixels. ``brightness``: lighter. ``frequency``: vertical stripes of
    :data:`PERIOD` pixels. ``smooth``: Gaussian blur, which takes the fine texture away. ``seam``: lighter or darker,
    so that the outline is a step.
    """

    change: Change
    place: Patch | None = None
    extent: tuple[int, int] = (14, 18)
    clear: Patch | None = None


@dataclass(frozen=True)
class AuditPictures:
    """Pairs ``real/NNN`` and ``fake/NNN``, a group each: a dataset in memory.

    A fake is its counterpart with every manipulation of ``manipulations`` in its place; nothing else differs. Its mask
    is the union of the places, which is where pixels were changed, not necessarily where a detector looks.
    """

    pairs: int
    manipulations: tuple[Manipulation, ...]
    size: tuple[int, int] = SIZE
    seed: int = 0

    def samples(self) -> Sequence[Sample]:
        return tuple(s for i in range(self.pairs) for s in _pair(i))

    def read(self, sample: Sample) -> Native:
        number = int(sample.id.partition("/")[2])
        pixels = textured(self.size, np.random.Generator(np.random.PCG64([self.seed, number, 0])))
        if sample.label == "real":
            return Native(_bytes(pixels))
        mask = np.zeros(self.size, dtype=bool)
        for patch, m in zip(self.places(number), self.manipulations, strict=True):
            pixels = changed(pixels, m.change, patch, sign=1 - 2 * (number % 2))
            mask |= patch.mask(self.size).numpy()
        return Native(_bytes(pixels), mask.astype(np.uint8) * 255)

    def problems(self) -> Sequence[Problem]:
        return ()

    def places(self, number: int) -> tuple[Patch, ...]:
        """Where each manipulation of a pair is."""
        draw = np.random.Generator(np.random.PCG64([self.seed, number, 1]))
        return tuple(m.place or somewhere(self.size, m.extent, m.clear, draw) for m in self.manipulations)


def textured(size: tuple[int, int], draw: np.random.Generator) -> Floats:
    """``(H, W, 3)`` in [0, 1]: a ground whose amplitudes fall as f^-1.5, as in photographs, and grain as a camera's.

    The grain is what keeps the fine texture of every real place well above that of a smoothed one.
    """
    height, width = size
    across = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    across[0, 0] = np.inf
    phases = draw.uniform(0, 2 * np.pi, across.shape)
    ground = np.fft.irfft2(across**-1.5 * np.exp(1j * phases), s=size)
    ground *= _GROUND / ground.std()
    tint = draw.uniform(-0.05, 0.05, 3)
    grain = draw.uniform(-_GRAIN, _GRAIN, (height, width, 1)) + draw.uniform(-0.01, 0.01, (height, width, 3))
    return np.asarray(np.clip(0.5 + tint + ground[..., None] + grain, 0, 1))


def changed(pixels: Floats, change: Change, patch: Patch, sign: int = 1) -> Floats:
    """``(H, W, 3)`` with one manipulation in ``patch``; ``sign`` says whether a seam is lighter (1) or darker (-1)."""
    height, width = pixels.shape[:2]
    inside = patch.mask((height, width)).numpy()[..., None]
    rows, columns = np.arange(height)[:, None, None], np.arange(width)[None, :, None]
    if change == "smooth":
        return np.where(inside, gaussian_filter(pixels, (_SMOOTHING, _SMOOTHING, 0), mode="nearest"), pixels)
    added = {
        "contrast": _CONTRAST * (1.0 - 2.0 * ((rows + columns) % 2)),
        "brightness": np.full((1, 1, 1), _BRIGHTNESS),
        "frequency": _FREQUENCY * np.cos(2 * np.pi * columns / PERIOD) + 0 * rows,
        "seam": np.full((1, 1, 1), _STEP * sign),
    }[change]
    return np.asarray(np.clip(pixels + inside * added, 0, 1))


def somewhere(size: tuple[int, int], extent: tuple[int, int], clear: Patch | None, draw: np.random.Generator) -> Patch:
    """A patch of ``extent`` (height, width) within the picture that keeps off ``clear``."""
    while True:
        row, column = (int(draw.integers(1, n - e)) for n, e in zip(size, extent, strict=True))
        patch = Patch(row, column, *extent)
        if clear is None or _apart(patch, clear):
            return patch


def _apart(a: Patch, b: Patch) -> bool:
    rows = a.row >= b.row + b.height + _MARGIN or b.row >= a.row + a.height + _MARGIN
    columns = a.column >= b.column + b.width + _MARGIN or b.column >= a.column + a.width + _MARGIN
    return rows or columns


def _pair(index: int) -> tuple[Sample, Sample]:
    number = f"{index:03d}"
    real = Sample(id=f"real/{number}", label="real", group=f"group-{number}")
    fake = Sample(
        id=f"fake/{number}", label="fake", group=real.group, method="planted", pair=real.id, has_mask=True
    )  # fmt: skip
    return real, fake


def _bytes(pixels: Floats) -> NDArray[np.uint8]:
    shown: NDArray[np.uint8] = np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8)
    return shown
