"""Threads of torch where another engine computes the detector: one, so that the two do not wait on the same cores.

After a parallel loop the threads of torch (OpenMP) and of ONNX Runtime spin for a while in the hope of more work. Where
the two engines take turns, the one that rests takes cores from the one that works.

The rule follows from a detector's facts alone, so that a detector's numbers do not depend on the other detectors of a
run. ``OMP_WAIT_POLICY=PASSIVE`` would change no number, but it is read when torch is imported and holds for the whole
process.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


def threads_beside(engine: str, device: str, threads: int) -> int:
    """The number of threads with which torch computes between calls of a detector and in calls without gradients.

    Parameters
    ----------
    engine: the library that computes the detector (:attr:`xaibench.api.Facts.engine`).
    device: type of the detector's device, ``cpu`` or ``cuda``.
    threads: number of threads of the run.

    It is ``threads`` where torch computes the detector or the detector is on a GPU, and 1 elsewhere.
    """
    return threads if engine == "torch" or device != "cpu" else 1


@contextmanager
def torch_with_threads(threads: int) -> Iterator[None]:
    """Let torch compute with ``threads`` threads inside the block, and with as many as before after it."""
    import torch

    before = torch.get_num_threads()
    if threads != before:  # setting takes longer than asking, and most calls of a detector change nothing
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        if torch.get_num_threads() != before:
            torch.set_num_threads(before)
