"""A call of a detector that took more memory than its device has, and what to set then.

The compute batch is part of the key of every result: it is never made smaller while a run goes on, and the calls fail.
"""

from __future__ import annotations

_TELLING = ("out of memory", "failed to allocate memory", "bad_alloc", "bfcarena")


class MemoryShortage(RuntimeError):
    """A detector call ran out of memory."""


def name_shortage(error: Exception, batch: int, device: str) -> Exception:
    """The error of a failed call: one that says what to set where memory was short, else the same."""
    told = str(error).lower()
    if not isinstance(error, MemoryError) and not any(words in told for words in _TELLING):
        return error
    if batch > 1:
        mend = f"give --batch-size {batch // 2} or less with another --out, or free memory there"
    else:
        mend = "one picture is too much for it: take another --device, or free memory there"
    shortage = MemoryShortage(
        f"a call of {batch} picture{'s' * (batch > 1)} took more memory than {device} has; {mend}"
    )
    shortage.__cause__ = error
    return shortage
