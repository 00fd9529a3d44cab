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
_SAID = ("out of memory", "failed to allocate memory", "bad_alloc", "bfcarena")
"""What exceptions that have no class for it say in this case."""


class DeviceOutOfMemory(XaibenchError):
    """A call of a detector does not fit into the memory of its device."""


def with_freed_memory(call: Callable[[], T]) -> T:
    """What ``call`` returns. It is called once more where the memory of a device was full.

    Torch keeps memory that is free, and programmes that ended may have left garbage.
    """
    try:
        return call()
    except Exception as error:
        if not _is_full(error):
            raise
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return call()


def out_of_memory(error: BaseException, detector: Detector, batch: int) -> DeviceOutOfMemory | None:
    """What to raise in the programmes of a call that met a full device; None for any other error."""
    if not _is_full(error):
        return None
    pictures = f"{batch} picture{'s' * (batch > 1)}"
    where = f"{detector.facts.name}: a call with {pictures} does not fit into the memory of {detector.device}"
    mend = (
        f"give --batch-size {batch // 2} or less with another --out, since it is part of the keys, or free memory"
        if batch > 1
        else "one picture is too much for it: take another --device, or free memory there"
    )
    cause = one_line(str(error))[:120]
    shortage = DeviceOutOfMemory(f"{where} ({cause})" if cause else where, mend)
    shortage.__cause__ = error
    return shortage


def _is_full(error: BaseException) -> bool:
    import torch

    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, Exception) and any(words in str(error).lower() for words in _SAID)
