"""How many pictures stand in every call of a detector."""

from __future__ import annotations

from xaibench.api import Detector

LARGEST_BATCH, SMALLEST_BATCH = 64, 8
CPU_PIXELS = 2**20
"""Most pixels in one call on a CPU, where nobody says how many pictures: 64 of 64 x 64, 16 of 224 x 224. More gain
nothing there (a ResNet-18 takes as long for each picture), while memory and the padding of ragged tails grow."""


def compute_batch(detector: Detector, wanted: int | None = None) -> int:
    """The batch of every call: the model's fixed one, or the wanted one as far as the model takes it.

    None wants ``LARGEST_BATCH``; on a CPU, the largest power of two within ``CPU_PIXELS``.
    """
    batch = detector.facts.batch
    if wanted is None:
        height, width = detector.facts.input_size
        fits = max(1, CPU_PIXELS // (height * width)) if detector.device.type == "cpu" else LARGEST_BATCH
        wanted = min(LARGEST_BATCH, max(SMALLEST_BATCH, 1 << fits.bit_length() - 1))
    return batch.fixed or min(wanted, batch.maximum or wanted)
