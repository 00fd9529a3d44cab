"""From the map of a layer to the map of a picture."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from xaibench.api import Explanation, Facts


def upsample(native: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear interpolation (half-pixel centres) of ``(h, w)`` to ``size``."""
    return F.interpolate(native[None, None], size=size, mode="bilinear", align_corners=False)[0, 0]


def native_size(facts: Facts, layer: str | None) -> tuple[int, int] | None:
    """The (h, w) of the map of ``layer`` before upsampling: known before the run for the target layer alone."""
    return facts.target_grid if layer is None else None


def upsampled(native: Tensor, size: tuple[int, int], zero: str) -> Explanation:
    """The map of a layer as an explanation; none where it is not finite, nor where it is zero (``zero`` says why)."""
    native = native.cpu()
    if not native.isfinite().all():
        return Explanation.none("the layer's activations or gradients are not finite")
    if not native.any():
        return Explanation.none(zero)
    return Explanation(map=upsample(native, size), native_map=native)
