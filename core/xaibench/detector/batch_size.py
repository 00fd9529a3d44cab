"""The compute batch: the number of pictures in every call of a detector."""

from __future__ import annotations

from xaibench.api import Detector

LARGEST_BATCH, SMALLEST_BATCH = 64, 8
CPU_PIXELS = 2**20
"""Most pixels in one call on a CPU by default: 64 pictures of 64 x 64, 16 of 224 x 224.

Larger batches are not faster there (measured on a ResNet-18), and take more memory and padding.
"""


def compute_batch(detector: Detector, requested: int | None = None) -> int:
    """The number of pictures in every call of a detector.

    It is the model's fixed batch, or the requested one, limited to the model's maximum. None requests
    ``LARGEST_BATCH``, and on a CPU the largest power of two within ``CPU_PIXELS``, at least ``SMALLEST_BATCH``.
    """
    batch = detector.facts.batch
    if requested is None:
        height, width = detector.facts.input_size
        fits = max(1, CPU_PIXELS // (height * width)) if detector.device.type == "cpu" else LARGEST_BATCH
        requested = min(LARGEST_BATCH, max(SMALLEST_BATCH, 1 << fits.bit_length() - 1))
    return batch.fixed or min(requested, batch.maximum or requested)
