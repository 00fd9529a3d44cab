"""Where detectors run: device, precision and thread count as they will be, nothing left automatic."""

from __future__ import annotations

import os
import re

from xaibench.api import Facts, PlanError, Runtime, UsageError
from xaibench.detector.torch_threads import threads_beside


def make_runtime(device: str = "auto", *, precision: str = "fp32", threads: int | None = None) -> Runtime:
    """Device, precision and thread count as they will be, nothing left automatic.

    ``device``: ``cpu``, ``cuda``, ``cuda:N``, or ``auto``, which is ``cuda`` where torch finds one. ``threads`` None is
    the number of cores. Raises :class:`UsageError` for an unknown device and :class:`PlanError` for one that is not
    there.
    """
    if device == "auto" or re.fullmatch("cuda(:[0-9]{1,3})?", device):
        import torch

        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        elif not torch.cuda.is_available():
            raise PlanError(
                "device 'cuda' was asked for and torch finds none", "use --device cpu, or see xaibench doctor"
            )
        elif int(device.partition(":")[2] or 0) >= torch.cuda.device_count():
            raise PlanError(
                f"device '{device}' was asked for and torch finds {torch.cuda.device_count()}", "count from 0"
            )
    elif device != "cpu":
        raise UsageError(f"device '{device[:80]}' is not known", "use cpu, cuda, cuda:N or auto")
    return Runtime(device=device, precision=precision, threads=threads or os.cpu_count() or 1)


def torch_threads(runtime: Runtime, facts: Facts) -> int:
    """The number of threads with which torch computes beside a detector. It changes numbers, so keys hold it."""
    return threads_beside(facts.engine, runtime.device.partition(":")[0], runtime.threads)
