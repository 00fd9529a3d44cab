"""Calls at the batch sizes that a model accepts."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from xaibench.api import Batch


def in_batches(images: Tensor, batch: Batch, call: Callable[[Tensor], Tensor]) -> Tensor:
    """``call`` on slices that ``batch`` allows, joined. ``images``: ``(N, …)`` with N > 0; result ``(N, …)``.

    A ragged tail of a fixed batch is padded with its last row, and the padding's results are dropped.
    """
    n = images.shape[0]  # several times as fast as len(), which matters where a call takes one small picture
    step = batch.fixed or batch.maximum or n
    if n == step or (batch.fixed is None and n < step):
        return call(images)
    parts = [images[i : i + step] for i in range(0, n, step)]
    tail = len(parts[-1])
    if batch.fixed is not None and tail < step:
        parts[-1] = torch.cat([parts[-1], parts[-1][-1:].expand(step - tail, *images.shape[1:])])
    return torch.cat([call(part) for part in parts])[:n]
