"""How alike two maps are: by rank and by structure."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from skimage.metrics import structural_similarity
from torch import Tensor

from xaibench_perturbation import is_constant, mean_ranks

SimilarityKind = Literal["spearman", "ssim"]

WINDOW = 7
"""Side of the window of ``ssim``: scikit-image's default."""


def ranks(saliency: Tensor) -> Tensor:
    """``(H, W)`` float64 ranks on the CPU, less their mean; equal values share their mean rank."""
    found = mean_ranks(saliency.detach().cpu().numpy())
    return torch.from_numpy(found - (found.size + 1) / 2)


def rank_correlation(first: Tensor, second: Tensor) -> float:
    """Pearson correlation of centred ranks, neither of them all 0; in [-1, 1]."""
    norm = float((first.square().sum() * second.square().sum()).sqrt())
    return min(1.0, max(-1.0, float((first * second).sum()) / norm))


def spearman(first: Tensor, second: Tensor) -> float:
    """Spearman's rank correlation of two maps, neither of them constant; in [-1, 1]."""
    return rank_correlation(ranks(first), ranks(second))


def ssim(first: Tensor, second: Tensor) -> float:
    """Mean structural similarity (Wang et al. 2004) of two maps of at least 7 x 7 pixels, neither of them zero.

    Each map is divided by its largest absolute value; the data range is that of both together; 7 x 7 windows, K1 0.01,
    K2 0.03, as scikit-image has it. Two dimensions: Quantus slides its window of 7 over the flattened map, where
    neighbours above and below are strangers.
    """
    a, b = (m.detach().cpu().double().numpy() for m in (first, second))
    a, b = a / np.abs(a).max(), b / np.abs(b).max()
    spread = max(a.max(), b.max()) - min(a.min(), b.min())
    return min(1.0, max(-1.0, float(structural_similarity(a, b, win_size=WINDOW, data_range=spread))))


def similarity(first: Tensor, second: Tensor, kind: SimilarityKind, *, absolute: bool) -> float | str:
    """Likeness of two ``(H, W)`` maps in [-1, 1], or why there is none. ``absolute``: of ``|a|``, without signs."""
    if absolute:
        first, second = first.abs(), second.abs()
    if is_constant(first) or is_constant(second):
        return "a map is constant: it is like no other"
    if kind == "spearman":
        return spearman(first, second)
    if min(first.shape) < WINDOW:
        return f"the map is smaller than the {WINDOW} x {WINDOW} window of ssim"
    return ssim(first, second)
