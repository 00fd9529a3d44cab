"""Designs over segments: which segments stay on, rendered to masks in chunks as they are needed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Coalitions:
    """``N`` coalitions of ``S`` segments; 1 keeps a segment, 0 switches it off, values between dim it.

    ``members``: ``(N, S)`` float32 in [0, 1]. ``labels``: ``(H, W)`` int64 from 0 to S - 1.
    """

    members: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.members)

    def to(self, device: torch.device) -> Coalitions:
        return Coalitions(self.members.to(device), self.labels.to(device))

    def render(self, start: int, stop: int) -> Tensor:
        """Masks ``start`` to ``stop`` as ``(n, H, W)`` float32 in [0, 1]."""
        return self.members[start:stop][:, self.labels]


def per_pixel(weights: Tensor, labels: Tensor) -> Tensor:
    """Segment weights ``(S,)`` painted on the picture: ``(H, W)``."""
    return weights[labels]


def per_segment_mean(values: Tensor, labels: Tensor) -> Tensor:
    """Mean of ``(..., H, W)`` values over each segment: ``(..., S)`` in float64."""
    flat = labels.flatten()
    count = int(flat.max()) + 1
    areas = torch.bincount(flat, minlength=count).double()
    sums = torch.zeros(*values.shape[:-2], count, dtype=torch.float64, device=values.device)
    sums.index_add_(-1, flat, values.flatten(-2).double())
    return sums / areas
