"""Random numbers for a device: drawn on the CPU, so that every device sees the same, while the device computes."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import cache

import torch
from torch import Tensor

from xaibench.api import to_device

_THREADS = 4
"""Programmes that may draw at the same time. A draw takes one core; 64 pictures of 224 px take it 0.1 s."""


def drawn_ahead(draws: Iterator[Callable[[], Tensor]], device: torch.device) -> Generator[Tensor, None, None]:
    """What each of ``draws`` returns, in their order, on ``device``.

    Beside another device than the CPU the next draw is made by a thread while the programme goes on, so that at most
    one is made that nobody asks for. A generator that draws must belong to these draws alone, then its numbers are
    those that it gives without threads. Close what this returns before the generator draws anything else.
    """
    if device.type == "cpu":
        for draw in draws:
            yield draw()
        return
    pending = _begun(draws)
    try:
        while pending is not None:
            tensor = pending.result()
            pending = _begun(draws)
            yield to_device(tensor, device)
    finally:
        if pending is not None and not pending.cancel():
            wait([pending])


def _begun(draws: Iterator[Callable[[], Tensor]]) -> Future[Tensor] | None:
    draw = next(draws, None)
    return None if draw is None else _pool().submit(draw)


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_THREADS, thread_name_prefix="xaibench-draws")
