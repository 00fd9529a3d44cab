"""Spreading workers over the GPUs of a machine: each sees one of them, and has a context on no other."""

from __future__ import annotations

import os

WORKER = "XAIBENCH_WORKER"
"""Variable that tells a worker process its number, from 0."""
_VISIBLE = "CUDA_VISIBLE_DEVICES"


def take_own_gpu(device: str) -> None:
    """Let this worker see one GPU alone, its number modulo theirs, where ``device`` is ``cuda`` without an index.

    It has no effect in a process that is no worker, where an index is named, where one GPU is seen, and where CUDA has
    started. The GPUs that the user lets the program see (``CUDA_VISIBLE_DEVICES``) are those that are shared out.
    """
    number = os.environ.get(WORKER)
    if device != "cuda" or number is None:
        return
    import torch

    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return
    gpus = _visible_gpus(os.environ.get(_VISIBLE), torch.cuda.device_count())
    if len(gpus) > 1:
        os.environ[_VISIBLE] = gpus[int(number) % len(gpus)]


def _visible_gpus(variable: str | None, count: int) -> list[str]:
    """Names of the GPUs that this process sees, as the variable writes them."""
    if variable is None:
        return [str(i) for i in range(count)]
    return [name.strip() for name in variable.split(",") if name.strip()][:count]
