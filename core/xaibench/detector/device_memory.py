"""A device that runs out of memory: one more try with what torch keeps given back, then an error that says what to set.

The compute batch is part of the keys, so that it cannot be halved in the middle of a run.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import TypeVar

from xaibench.api import Detector, XaibenchError
from xaibench.api.safe_text import one_line

T = TypeVar("T")
_SAID = ("out of memory", "failed to allocate memory")
"""What ONNX Runtime's exceptions, which have no class for it, say in this case."""


class DeviceOutOfMemory(XaibenchError):
    """A call of a detector does not fit into the memory of its device."""


def with_freed_memory(detector: Detector, call: Callable[[], T]) -> T:
    """What ``call`` returns. It is called once more where the memory of a device was full.

    Torch keeps memory that is free, and programmes that ended may have left garbage.
    """
    try:
        return call()
    except Exception as error:
        if not _is_full(error, detector):
            raise
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return call()


def out_of_memory(error: BaseException, detector: Detector, batch: int) -> DeviceOutOfMemory | None:
    """What to raise in the programmes of a call that met a full device; None for any other error."""
    if not _is_full(error, detector):
        return None
    smaller = max(1, batch // 2)
    where = f"{detector.facts.name}: a call with {batch} pictures does not fit into the memory of {detector.device}"
    mend = (
        f"start the run with --batch-size {smaller}; the batch is part of the keys, so that all of the detector is "
        "computed with it"
    )
    return DeviceOutOfMemory(f"{where} ({one_line(str(error))[:120]})", mend)


def _is_full(error: BaseException, detector: Detector) -> bool:
    import torch

    if isinstance(error, torch.OutOfMemoryError):
        return True
    return detector.device.type != "cpu" and any(words in str(error).lower() for words in _SAID)
