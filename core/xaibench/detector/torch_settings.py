"""Settings of torch for reproducible and fast detector calls."""

from __future__ import annotations

from xaibench.detector.allocation import reuse_freed_memory


def prepare_torch(threads: int) -> None:
    """Set the thread count and disable nondeterministic kernels, so that two runs give equal numbers.

    The process also keeps freed memory from now on, which changes no number (:mod:`xaibench.detector.allocation`).
    """
    import torch

    reuse_freed_memory()
    torch.set_num_threads(threads)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
