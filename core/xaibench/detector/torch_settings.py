"""Settings of torch that would let two runs of the same thing differ."""

from __future__ import annotations

from xaibench.detector.allocation import reuse_freed_memory


def prepare_torch(threads: int) -> None:
    """Fix what would let two runs of the same thing differ: thread count and nondeterministic kernels.

    Freed memory is kept for reuse from here on, which changes no number (:mod:`xaibench.detector.allocation`).
    """
    import torch

    reuse_freed_memory()
    torch.set_num_threads(threads)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
