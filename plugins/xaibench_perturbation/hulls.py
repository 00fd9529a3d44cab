"""The convex hull of landmarks."""

from __future__ import annotations

import torch
from torch import Tensor

HULL_SLACK = 1e-4
"""Pixels by which a pixel's middle may lie outside the hull: float32 landmarks are no more exact."""


def hull_mask(landmarks: Tensor | None, size: tuple[int, int]) -> Tensor | None:
    """``(H, W)`` bool: pixels whose middle lies in the convex hull of ``(L, 2)`` points x, y, its border included.

    Pixel (row i, column j) has its middle at x = j, y = i. None where there are no points, or they span no area.
    """
    from scipy.spatial import ConvexHull, QhullError

    if landmarks is None or len(landmarks) < 3:
        return None
    try:
        hull = ConvexHull(landmarks.double().cpu().numpy())
    except QhullError:  # all points on one line
        return None
    sides = torch.from_numpy(hull.equations)  # (F, 3): a x + b y + c <= 0 inside, (a, b) of length 1
    y, x = (torch.arange(n, dtype=torch.float64) for n in size)
    distances = sides[:, 0, None, None] * x + sides[:, 1, None, None] * y[:, None] + sides[:, 2, None, None]
    return (distances <= HULL_SLACK).all(dim=0)
