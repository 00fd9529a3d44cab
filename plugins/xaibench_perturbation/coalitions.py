"""Designs over segments: which segments stay on, rendered to masks in chunks as they are needed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from xaibench.api import to_device


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
        return Coalitions(to_device(self.members, device), to_device(self.labels, device))

    def render(self, start: int, stop: int) -> Tensor:
        """Masks ``start`` to ``stop`` as ``(n, H, W)`` float32 in [0, 1]."""
        rows = self.members[start:stop]
        return rows.index_select(1, self.labels.flatten()).view(len(rows), *self.labels.shape)


def random_members(count: int, segments: int, keep: float, generator: torch.Generator) -> Tensor:
    """``(count, segments)`` float32 of 0 and 1, each 1 with probability ``keep`` by itself."""
    return (torch.rand((count, segments), generator=generator) < keep).float()


def balanced_members(count: int, segments: int, generator: torch.Generator) -> Tensor:
    """``(count, segments)`` float32 of 0 and 1: each column is on in half of the rows, in an order of its own.

    A Latin hypercube (every column has one value in each of ``count`` equal steps of [0, 1]) cut at one half; where
    ``count`` is odd, chance decides the row in the middle.
    """
    order = torch.rand((count, segments), generator=generator).argsort(dim=0)
    within = torch.rand((count, segments), generator=generator)
    return ((order + within) / count >= 0.5).float()


def cell_labels(cells: int, size: tuple[int, int]) -> Tensor:
    """``(H, W)`` int64: the cell that each pixel lies in, of ``cells x cells`` counted along rows.

    A side of fewer pixels than cells leaves some cells without a pixel.
    """
    down, across = (torch.arange(n) * cells // n for n in size)
    labels: Tensor = down[:, None] * cells + across[None]
    return labels


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
