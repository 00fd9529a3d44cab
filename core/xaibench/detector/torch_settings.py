"""Settings of torch for reproducible and fast detector calls."""

from __future__ import annotations

import os

from xaibench.detector.allocation import reuse_freed_memory

_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"


def prepare_torch(threads: int, device: str = "cpu") -> None:
    """Set the thread count and disable nondeterministic kernels, so that two runs give equal numbers.

    The process also keeps freed memory from now on, which changes no number (:mod:`xaibench.detector.allocation`).
    ``device``: where detectors compute. On a GPU backward passes get kernels that add in one order
    (:func:`_deterministic_gpu`).
    """
    import torch

    reuse_freed_memory()
    torch.set_num_threads(threads)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    if device.partition(":")[0] == "cuda":
        _deterministic_gpu()


def _deterministic_gpu() -> None:
    """Deterministic kernels wherever torch has them; a warning names an operator that has none.

    Fused attention adds in any order on the way back in float32, so that the unfused form is taken. Interpolation takes
    torch's slower form. cuBLAS needs a workspace of fixed size, which it reads from a variable at its start; the
    variable is left alone where the user has set it.
    """
    import torch

    os.environ.setdefault(_WORKSPACE, ":4096:8")
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cuda.enable_mem_efficient_sdp(False)
    torch.backends.cuda.enable_cudnn_sdp(False)
