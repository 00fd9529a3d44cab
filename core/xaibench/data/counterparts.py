"""Whether a fake and its real counterpart differ where the mask says, judged on thumbnails.

Thumbnails are means over the cells of a grid, so noise of a codec nearly cancels and a moved picture does not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

GRID = 64
"""Cells of a thumbnail along each side; 12 kB a picture."""

ALIKE = 12
"""Levels (of 255). A fake is nearly its counterpart where the four cells of the mask that differ most differ by less
than this on average, and by less than ``ALIKE_RATIO`` times what noise outside the mask reaches (its 99th percentile,
plus 1). JPEG of quality 50 alone gives 8 and a ratio of 1; the faintest blends of ``self-blend`` (ratio 1/4, no
noise) give 7 and a ratio of 7, and 13 when both are saved as JPEG of quality 30."""

ALIKE_RATIO = 2
"""See ``ALIKE``."""

ALIKE_WITHOUT_MASK = 4
"""The same in levels where no mask tells noise from manipulation: nothing but an equal picture, or one saved again at
high quality, is below it."""

MARKED_CELL = 0.25
"""Share of a cell that must be marked somewhere: a mask of smaller specks is too fine for thumbnails."""

ELSEWHERE = 10
"""Levels. Outside the mask, a counterpart is another picture where the mean difference is above this and differences
above ``DIFFERENT`` cover more than ``ELSEWHERE_SHARE``. Pairs saved as JPEG of quality 30 and 50 stay below 5; a crop
that is off by a twentieth of the picture gives 12 and more, pictures of other people 20 and more."""

DIFFERENT = 8
"""See ``ELSEWHERE``."""

ELSEWHERE_SHARE = 0.2
"""See ``ELSEWHERE``."""

FEWEST_CELLS = 16
"""Cells outside the mask that must be there to be judged. Soft edges are left out: three cells around the mask."""

_SOFT_EDGE = 3


@dataclass(frozen=True, slots=True, eq=False)
class Thumbnail:
    """``pixels`` ``(64, 64, 3)`` uint8; ``share`` ``(64, 64)`` float32 of each cell that the mask marks, or None."""

    pixels: NDArray[np.uint8]
    share: NDArray[np.float32] | None = None


def thumbnail(pixels: NDArray[np.uint8], marked: NDArray[np.bool_] | None) -> Thumbnail:
    """The thumbnail of a picture ``(H, W, 3)`` and of what its mask marks."""
    if marked is None:
        return Thumbnail(_cells(pixels))
    return Thumbnail(
        _cells(pixels), _cells(marked.astype(np.uint8) * np.uint8(255)).astype(np.float32) / np.float32(255)
    )


def compare(fake: Thumbnail, real: Thumbnail) -> str:
    """Why ``real`` is in doubt as the counterpart of ``fake``; empty where it is not."""
    signed = fake.pixels.astype(np.int16) - real.pixels
    difference = _largest_channel(signed)
    if fake.share is None:
        if _strongest(difference.ravel()) < ALIKE_WITHOUT_MASK:
            return "nearly identical to the fake"
        return ""
    outside = ~_grown(fake.share > 0)
    noise = np.quantile(difference[outside], 0.99) if outside.any() else 0
    strongest = _strongest(difference[fake.share > 0])
    if fake.share.max() >= MARKED_CELL and strongest < min(ALIKE, ALIKE_RATIO * (noise + 1)):
        return f"nearly identical to the fake where the mask marks it (by {strongest:.1f} of 255)"
    if outside.sum() < FEWEST_CELLS:
        return ""
    # A coarser grid: a cell of a small picture is one pixel, whose noise has not cancelled.
    coarse = _largest_channel(_quadrupled(signed))[_quadrupled(outside.astype(np.int16)) == 4]
    share = float((coarse > 4 * DIFFERENT).mean()) if len(coarse) else 0.0
    if share > ELSEWHERE_SHARE and coarse.mean() > 4 * ELSEWHERE:
        return f"different outside the mask (over {share:.0%} of it: another picture or another crop)"
    return ""


def _largest_channel(signed: NDArray[np.int16]) -> NDArray[np.int16]:
    size = np.abs(signed)
    largest: NDArray[np.int16] = np.maximum(np.maximum(size[:, :, 0], size[:, :, 1]), size[:, :, 2])
    return largest


def _strongest(differences: NDArray[np.int16]) -> float:
    return float(np.sort(differences)[-4:].mean())


def _quadrupled(grid: NDArray[np.int16]) -> NDArray[np.int16]:
    """Sums of two by two cells."""
    rows = grid[::2] + grid[1::2]
    sums: NDArray[np.int16] = rows[:, ::2] + rows[:, 1::2]
    return sums


def _grown(cells: NDArray[np.bool_]) -> NDArray[np.bool_]:
    for _ in range(_SOFT_EDGE):
        padded = np.pad(cells, 1)
        cells = padded[1:-1, 1:-1] | padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:]
    return cells


def _cells(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    image = Image.fromarray(array).resize((GRID, GRID), Image.Resampling.BOX, reducing_gap=1.0)
    return np.asarray(image)
