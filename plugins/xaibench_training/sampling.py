"""The order in which an epoch shows its pictures: as many real as fake ones."""

from __future__ import annotations

import torch
from torch import Tensor

from xaibench.api import FAKE, REAL


def epoch_batches(labels: Tensor, batch_size: int, generator: torch.Generator) -> list[Tensor]:
    """Indices of an epoch's pictures, a batch each.

    An epoch shows ``N`` pictures (N + 1 where the data hold an odd number): real and fake in turn, so that every batch
    of even size holds as many of one as of the other. Each class goes through its pictures in random order and starts
    anew when all were shown; the rarer class repeats, the more frequent one is shown in part. A last batch of one
    picture is left out: normalisation needs two.
    """
    half = (len(labels) + 1) // 2
    both = [_cycle(torch.nonzero(labels == label).flatten(), half, generator) for label in (REAL, FAKE)]
    turns = torch.stack(both, dim=1).flatten()
    return [batch for batch in torch.split(turns, batch_size) if len(batch) > 1]


def _cycle(members: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """``count`` members: whole random orders one after the other, the last one cut."""
    rounds = -(-count // len(members))
    shuffled = [members[torch.randperm(len(members), generator=generator)] for _ in range(rounds)]
    return torch.cat(shuffled)[:count]
