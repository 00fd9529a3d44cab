"""From gradients of pixels to a map: over the channels, and whether there is anything to show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from torch import Tensor

from xaibench.api import Explanation

Reduction = Literal["max", "sum-abs", "norm"]
NOT_FINITE = "the gradient is not finite"
FLAT = "the gradient is zero everywhere: the detector is flat here"


def over_channels(gradient: Tensor, reduction: Reduction) -> Tensor:
    """``(..., 3, H, W)`` to ``(..., H, W)``, never negative.

    ``max``: the largest absolute value (Simonyan et al. 2013, section 3.1). ``sum-abs``: the sum of absolute values.
    ``norm``: the Euclidean norm.
    """
    if reduction == "max":
        return gradient.abs().amax(dim=-3)
    if reduction == "sum-abs":
        return gradient.abs().sum(dim=-3)
    return gradient.square().sum(dim=-3).sqrt()


def drawn(saliency: Tensor, *, zero: str = FLAT, details: Mapping[str, float] | None = None) -> Explanation:
    """A map as an explanation; none where it is not finite, nor where it is zero everywhere (``zero`` says why)."""
    shown = saliency.detach().float().cpu()
    if not shown.isfinite().all():
        return Explanation.none(NOT_FINITE)
    if not shown.any():
        return Explanation.none(zero)
    return Explanation(map=shown, details=details or {})
