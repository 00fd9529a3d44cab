"""Layers that run several times in one forward pass: which run to look at, and where none stands for the verdict."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from itertools import pairwise

import torch
from torch import Tensor

import xaibench_operations as operations


def gradients_at(value: Tensor, tensors: Sequence[Tensor]) -> list[Tensor | None]:
    """The gradient of ``value`` at each, None where it does not depend on it; the graph is kept."""
    inside = [t for t in tensors if t.requires_grad]
    found = iter(torch.autograd.grad(value, inside, retain_graph=True, allow_unused=True) if inside else ())
    return [next(found) if t.requires_grad else None for t in tensors]


def acting(
    runs: Sequence[Tensor], gradients: Sequence[Tensor | None], preferred: Collection[int] = ()
) -> tuple[int | None, bool]:
    """The number of the last run with a gradient, of the ``preferred`` ones if one has any; and whether there are
    others with a gradient that neither feed it nor are fed by it."""
    used = [i for i, gradient in enumerate(gradients) if gradient is not None]
    if len(used) < 2:
        return (used[0] if used else None), False
    chosen = max((i for i in used if i in preferred), default=used[-1])
    before, after = [i for i in used if i < chosen], [i for i in used if i > chosen]
    fed = gradients_at(runs[chosen].sum(), [runs[i] for i in before])
    feeds = [gradients_at(runs[i].sum(), [runs[chosen]])[0] for i in after]
    return chosen, any(gradient is None for gradient in (*fed, *feeds))


def attention_limit(forward: Callable[[Tensor], Tensor], images: Tensor) -> str:
    """As :func:`xaibench_operations.attention_limit`, and why where one attention does not feed the next.

    Rollout multiplies the matrices, which means nothing for those of two runs side by side.
    """
    if limit := operations.attention_limit(forward, images):
        return limit
    watching = operations.Attention(len(images), (images.shape[-2], images.shape[-1]))
    with torch.enable_grad():
        with watching:
            forward(images.clone().requires_grad_(True))
        inside = [m for m in watching.matrices if m.requires_grad]
        if any(gradients_at(later.sum(), [earlier]) == [None] for earlier, later in pairwise(inside)):
            return "the network's attentions do not feed one another, as where it runs several times in a forward pass"
    return ""
