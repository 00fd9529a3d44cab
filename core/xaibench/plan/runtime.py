"""Where detectors run: device, precision and thread count as they will be, nothing left automatic."""

from __future__ import annotations

import os

from xaibench.api import PlanError, Runtime, UsageError
from xaibench.plan.settings import Settings


def make_runtime(settings: Settings) -> Runtime:
    """Device, precision and thread count as they will be, nothing left automatic."""
    device = settings.device
    if device == "auto" or device.startswith("cuda"):
        import torch

        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        elif not torch.cuda.is_available():
            raise PlanError(
                "device 'cuda' was asked for and torch finds none", "use --device cpu, or see xaibench doctor"
            )
    elif device != "cpu":
        raise UsageError(f"device '{device}' is not known", "use cpu, cuda, cuda:N or auto")
    return Runtime(device=device, precision=settings.precision, threads=settings.threads or os.cpu_count() or 1)
