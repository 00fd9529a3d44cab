"""Calls of one ONNX Runtime session from several threads at once, for graphs that take one picture a call."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xaibench_models.onnx_session import OrtRunner


@dataclass(frozen=True, slots=True, kw_only=True)
class OrtPool(OrtRunner):
    """Feeds pictures one by one to a session of one thread, from ``callers`` threads at once.

    ONNX Runtime computes on the thread that calls a session of one thread, releases Python's lock meanwhile, and lets
    several threads call one session. So every picture is computed exactly as by a single caller, and the weights are in
    memory once. ``helpers`` are the other ``callers - 1`` threads. They call ONNX Runtime alone, since torch keeps its
    number of threads for each thread that calls it.
    """

    callers: int
    helpers: ThreadPoolExecutor

    def __call__(self, batch: Tensor, output: str) -> Tensor:
        """``(N, …)`` as the model eats it, N of any size; returns the N rows of the tensor ``output``."""
        if len(batch) == 1:
            return OrtRunner.__call__(self, batch, output)
        pictures = batch.contiguous().numpy()
        rows: dict[int, NDArray[Any]] = {}
        pending = deque(range(len(pictures)))

        def work() -> None:
            while pending:
                try:
                    i = pending.popleft()
                except IndexError:  # another thread was faster
                    return
                rows[i] = self._row(pictures[i : i + 1], output)

        others = [self.helpers.submit(work) for _ in range(min(self.callers, len(pictures)) - 1)]
        try:
            work()
        finally:
            pending.clear()  # where a call failed; nobody may read the pictures after the return
            wait(others)
        for other in others:
            other.result()
        return torch.from_numpy(np.concatenate([rows[i] for i in range(len(pictures))]))

    def _row(self, picture: NDArray[Any], output: str) -> NDArray[Any]:
        value = OrtRunner.__call__(self, torch.from_numpy(picture), output).numpy()
        return value if value.ndim > 1 else value.reshape(1, -1)  # one picture may come without its axis


def pool(runner: OrtRunner, callers: int) -> OrtPool:
    """A pool over the session of ``runner``, which computes with one thread on the CPU."""
    helpers = ThreadPoolExecutor(callers - 1, thread_name_prefix="xaibench-onnx")
    return OrtPool(session=runner.session, input=runner.input, device=runner.device, callers=callers, helpers=helpers)
