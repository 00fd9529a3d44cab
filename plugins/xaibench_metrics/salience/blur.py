"""The arithmetic of salience-guided degradation: from a map to a blur at every pixel, and the blur itself."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, gaussian_filter1d
from torch import Tensor
from torch.nn import functional

from xaibench.api import to_device
from xaibench_metrics.salience.blur_device import degraded_on_device
from xaibench_perturbation import ascending

Array = NDArray[np.float64]
Mode = Literal["object", "background"]
MODES: tuple[Mode, ...] = ("object", "background")

TOP = 10.0
"""Levels go from 0.0 (least salient) to 10.0 in tenths."""

Bytes = NDArray[np.uint8]
_NEARLY_WHOLE = 1e-9
"""Far more than rounding leaves of a sum of weighted bytes, and far less than a weight that is no rounding."""


def gaussian_of_bytes(levels: Bytes, sigma: Sequence[float]) -> Bytes:
    """scipy's Gaussian of whole numbers, one ``sigma`` an axis, cut to whole numbers after each axis.

    ``scipy.ndimage.gaussian_filter`` on bytes cuts 254.99999999999997 to 254, and whether the weights of a level area
    sum to 1 or to that hangs on the processor's exponential. What is whole but for the last digits stays whole here.
    """
    for axis, one in enumerate(sigma):
        if one > 0:
            smooth = gaussian_filter1d(levels, one, axis, output=np.float64)
            levels = np.floor(smooth + _NEARLY_WHOLE).astype(np.uint8)
    return levels


def byte_levels(levels: Tensor, mode: Mode, sigma: float) -> Array | None:
    """Levels of Explain To Me: ``(H, W)`` in 0.0 to 10.0, None where smoothing leaves nothing.

    ``s = S / (max(S) / 10)`` rounded to tenths, with S the 8-bit map (``background``) or 255 less the map
    (``object``) after a Gaussian of ``sigma`` pixels, itself in 8 bits.
    """
    chosen = levels.numpy().astype(np.uint8)
    smooth = gaussian_of_bytes(255 - chosen if mode == "object" else chosen, (sigma, sigma))
    top = int(smooth.max())
    return None if top == 0 else np.round(smooth / (top / TOP), 1)


def rank_levels(saliency: Tensor, mode: Mode, sigma: float, ties: Tensor) -> Array:
    """Levels of equal area: ``s = 10 rank / (n - 1)`` of the smoothed map in tenths; 10 less that for ``object``.

    Every level is as frequent in both modes and for every map. Equal values rank by ``ties`` ``(H, W)``.
    """
    smooth = gaussian_filter(saliency.numpy().astype(np.float64), sigma)
    order = ascending(ties.numpy())
    order = order[ascending(smooth.ravel()[order])]
    ranks = np.empty(smooth.size)
    ranks[order] = np.arange(smooth.size)
    tenths = np.round(10 * TOP * ranks / max(1, smooth.size - 1)).reshape(smooth.shape)
    return np.asarray((10 * TOP - tenths if mode == "object" else tenths) / 10)


def smooth_random(size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """A smooth random field ``(H, W)`` float64: 7x7 uniform values, bilinear in between."""
    grid = torch.rand((1, 1, 7, 7), generator=generator, dtype=torch.float64)
    return functional.interpolate(grid, size=size, mode="bilinear", align_corners=False)[0, 0]


def rearranged(levels: Array, order: Tensor) -> Array:
    """The same levels, as often each, lowest where ``order`` ``(H, W)`` is lowest: a random map of equal area."""
    found = np.empty(levels.size)
    found[ascending(order.numpy())] = np.sort(tenths(levels), axis=None) / 10
    return found.reshape(levels.shape)


def shifted(levels: Array) -> Array:
    """The same levels half a picture further, right and down, around the edges: a map of equal area and texture."""
    return np.roll(levels, (levels.shape[0] // 2, levels.shape[1] // 2), axis=(0, 1))


def sigmas(levels: Array, largest: float) -> Array:
    """``largest ((10 - s) / 10)^4`` in pixels: for 10 px, ``(10 - s)^4 / 10^3``."""
    return np.asarray(largest * ((TOP - levels) / TOP) ** 4)


def tenths(levels: Array) -> NDArray[np.uint8]:
    """Levels as whole numbers from 0 to 100."""
    return np.rint(levels * 10).astype(np.uint8)


def degraded_area(levels: Array) -> float:
    """Mean of sigma over the largest sigma, in [0, 1]: how much is blurred, counted by strength."""
    return float((((TOP - levels) / TOP) ** 4).mean())


def degrade(image: Tensor, fields: Sequence[Array], largest: float, in_bytes: bool) -> Tensor:
    """``(n, 3, H, W)`` in [0, 1], each pixel from the picture blurred by the sigma of that pixel's level in the n
    ``fields``, up to ``largest`` pixels.

    scipy's Gaussian (reflected borders, cut at 4 sigma), each level once for all fields, as many at a time as torch may
    use threads. A picture on a device is blurred there, within rounding. ``in_bytes``: the picture is blurred in 8
    bits, as in the original, always on the CPU, since its cuts to whole numbers hang on the last bit; else in float64.
    """
    strengths = sigmas(np.arange(10 * TOP + 1) / 10, largest)
    if image.device.type != "cpu" and not in_bytes:
        levels = torch.from_numpy(tenths(np.stack(fields)).astype(np.int64))
        return degraded_on_device(image, levels, strengths.tolist())
    pixels = image.detach().cpu().double().numpy()
    before = np.round(pixels * 255).astype(np.uint8) if in_bytes else pixels
    after = np.repeat(before.reshape(1, 3, -1), len(fields), axis=0)
    codes = tenths(np.stack(fields)).ravel()
    places = np.argsort(codes, kind="stable")
    ends = np.cumsum(np.bincount(codes, minlength=len(strengths)))

    def blurred(sigma: float) -> Array | Bytes:
        across = (0.0, sigma, sigma)
        return gaussian_of_bytes(before, across) if in_bytes else gaussian_filter(before, across)

    def blur(code: int) -> None:
        """Writes where no other level does."""
        here = places[ends[code - 1] if code else 0 : ends[code]]
        sigma = strengths[code]
        if len(here) and int(4 * sigma + 0.5) > 0:  # else the kernel is a single tap
            field, pixel = np.divmod(here, after.shape[2])
            after[field, :, pixel] = blurred(sigma).reshape(3, -1).T[pixel]

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        list(pool.map(blur, range(len(ends))))
    scaled = (after / 255 if in_bytes else after.clip(0, 1)).reshape(len(fields), *before.shape)
    return to_device(torch.from_numpy(scaled.astype(np.float32)), image.device)
