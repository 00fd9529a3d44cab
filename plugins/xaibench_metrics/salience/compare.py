"""How alike two maps are: the form in which they are compared, five similarities, and the correction by a null.

A comparison that cannot be made has a reason in words in the place of its value (:data:`Measured`): it is never a
NaN, a 0, or a value left out of a mean in silence.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field
from skimage.metrics import structural_similarity
from torch import Tensor

from xaibench.api import Explanation, Parameters, PassQuery, Score
from xaibench_metrics.salience.entropy import quantise, stretch
from xaibench_perturbation import is_constant, mean_ranks

Similarity = Literal["ssim", "pearson", "spearman", "soft-iou", "cosine"]
MapSize = Literal["native", "upscaled"]
Array = NDArray[np.float64]
Measured = float | str
"""A value, or why there is none."""

WINDOW = 7
CONSTANT = "the map is constant"
_NO_ROOM = 0.05
"""Least ``1 - s0`` by which a similarity is corrected: with less, single pictures whose null is .99 rule every mean."""


class ComparisonParameters(Parameters):
    """How maps are compared; what the salience measures have in common."""

    similarity: Similarity = Field("pearson", description="how alike two maps are")
    size: MapSize = Field("native", description="compare maps before upsampling, where there are such, or after")
    quantised: bool = Field(False, description="compare 8-bit maps instead of floats, as Explain To Me does")

    def refuses(self, query: PassQuery) -> str:
        """Why maps of this size cannot be compared, as far as it is known before the run."""
        native = query.native_size
        if self.similarity != "ssim" or self.size != "native" or native is None or min(native) >= WINDOW:
            return ""
        return (
            f"{_too_small(native)}: take a network with a larger grid (trained by xaibench: small at 128 px, others at "
            "224 px), or compare upsampled maps (size=upscaled)"
        )


# ---- the form of a map ----------------------------------------------------------------------------------------------


def shown_map(explanation: Explanation, size: MapSize, quantised: bool) -> Tensor:
    """The map to compare, ``(h, w)`` float64 on the CPU.

    Floats are left as they are (:func:`compare` stretches what it compares). ``quantised``: the stretched map before
    upsampling in 8 bits, values 0 to 255; ``upscaled`` is the bicubic enlargement (Pillow) of those bytes, as in
    Explain To Me. A constant map, which has no 8-bit form, comes back as it is.
    """
    upscaled = explanation.map
    assert upscaled is not None
    source = upscaled if explanation.native_map is None else explanation.native_map
    if not quantised:
        return (source if size == "native" else upscaled).detach().cpu().double()
    if is_constant(source):
        return source.detach().cpu().double() if size == "native" else upscaled.detach().cpu().double()
    levels = quantise(source.cpu())
    if size == "upscaled" and levels.shape != upscaled.shape:
        levels = enlarged(levels, (upscaled.shape[0], upscaled.shape[1]))
    return levels.double()


def enlarged(levels: Tensor, size: tuple[int, int]) -> Tensor:
    """Pillow's bicubic resize of ``(h, w)`` uint8 to ``size`` (height, width)."""
    picture = Image.fromarray(levels.numpy()).resize((size[1], size[0]), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(picture))


# ---- similarities ---------------------------------------------------------------------------------------------------


def ssim(a: Array, b: Array, data_range: float) -> float:
    """Mean structural similarity, scikit-image's defaults: uniform 7x7 windows, sample covariance, K1 .01, K2 .03.

    A map of 7x7 has a single window, so one value of a global SSIM.
    """
    return float(structural_similarity(a, b, data_range=data_range, win_size=WINDOW))


def pearson(a: Array, b: Array, _: float = 1.0) -> float:
    """Correlation of the values at the same places."""
    one, two = a.ravel() - a.mean(), b.ravel() - b.mean()
    return _cosine(one, two)


def spearman(a: Array, b: Array, _: float = 1.0) -> float:
    """Correlation of the ranks, ties sharing their mean rank."""
    return pearson(mean_ranks(a), mean_ranks(b))


def soft_iou(a: Array, b: Array, _: float = 1.0) -> float:
    """``sum min(a, b) / sum max(a, b)`` of maps without negative values, in [0, 1]."""
    return float(np.minimum(a, b).sum() / np.maximum(a, b).sum())


def cosine(a: Array, b: Array, _: float = 1.0) -> float:
    """Cosine of the angle between the maps as vectors, in [0, 1] for maps without negative values."""
    return _cosine(a.ravel(), b.ravel())


def _cosine(one: Array, two: Array) -> float:
    """Not by ``@``: where the command does not forbid it, its BLAS has threads that wait for the cores of torch."""
    dot, first, second = (float(np.einsum("i,i", x, y)) for x, y in ((one, two), (one, one), (two, two)))
    return dot / math.sqrt(first * second)


_SIMILARITIES: Mapping[Similarity, Callable[[Array, Array, float], float]] = {
    "ssim": ssim,
    "pearson": pearson,
    "spearman": spearman,
    "soft-iou": soft_iou,
    "cosine": cosine,
}


def compare(a: Tensor, b: Tensor, similarity: Similarity, quantised: bool) -> Measured:
    """Similarity of two maps (or crops of maps) of :func:`shown_map`, in [-1, 1], symmetric.

    Floats are stretched to [0, 1] first, each by its own least and largest value; bytes are taken as they are.
    """
    if a.shape != b.shape:
        return f"the maps are of different sizes: {tuple(a.shape)} and {tuple(b.shape)}"
    if not a.numel() or is_constant(a) or is_constant(b):
        return CONSTANT
    if similarity == "ssim" and min(a.shape) < WINDOW:
        return _too_small((a.shape[0], a.shape[1]))
    one, two = (a, b) if quantised else (stretch(a), stretch(b))
    value = _SIMILARITIES[similarity](one.numpy(), two.numpy(), 255.0 if quantised else 1.0)
    return min(1.0, max(-1.0, value))


def _too_small(size: tuple[int, int]) -> str:
    return f"SSIM needs maps of {WINDOW}x{WINDOW}, this one is {size[0]}x{size[1]}"


# ---- values and reasons ---------------------------------------------------------------------------------------------


def corrected(value: Measured, null: Measured) -> Measured:
    """``(s - s0) / (1 - s0)``: 0 what the null scores, 1 the same map; no value where the null s0 is above .95."""
    if isinstance(value, str):
        return value
    if isinstance(null, str):
        return f"no null: {null}"
    if 1 - null < _NO_ROOM:
        return f"the null is {null:.2g}: such maps are alike whatever happens"
    return (value - null) / (1 - null)


def mean_of(values: Sequence[Measured]) -> Measured:
    """The mean, or the first reason why one of the values is missing."""
    reason = next((v for v in values if isinstance(v, str)), None)
    if reason is not None:
        return reason
    return fmean(v for v in values if not isinstance(v, str)) if values else "there is nothing to average"


def as_score(name: str, value: Measured, item: str = "") -> Score:
    """A value as a score that is ok, a reason as one that is undefined."""
    if isinstance(value, str):
        return Score(name=name, item=item, status="undefined", reason=value)
    return Score(name=name, item=item, value=value)
