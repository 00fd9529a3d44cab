"""The compute batch: the number of pictures in every call of a detector."""

from __future__ import annotations

from xaibench.api import Detector, Facts

LARGEST_BATCH, SMALLEST_BATCH = 64, 8
CPU_PIXELS = 2**20
"""Most pixels in one call on a CPU by default: 64 pictures of 64 x 64, 16 of 224 x 224.

Larger batches are not faster there (measured on a ResNet-18), and take more memory and padding.
"""
LARGEST_ONNX_BATCH = 16
"""Most pictures in one call of ONNX Runtime on a CPU by default.

ONNX Runtime finishes one layer for the whole batch before the next. A picture of 128 x 128 pixels takes a small graph
half as long again in a batch of 64 as in one of 16, since the activations of 64 do not stay in the cache.
"""


def compute_batch(detector: Detector, requested: int | None = None) -> int:
    """The number of pictures in every call of a detector.

    It is the model's fixed batch, or the requested one, limited to the model's maximum. None requests
    ``LARGEST_BATCH``, and on a CPU the largest power of two within ``CPU_PIXELS``, at least ``SMALLEST_BATCH`` and
    under ONNX Runtime at most ``LARGEST_ONNX_BATCH``. The rule uses no clock, so that every machine chooses alike.
    """
    batch = detector.facts.batch
    if requested is None:
        requested = _cpu_batch(detector.facts) if detector.device.type == "cpu" else LARGEST_BATCH
    return batch.fixed or min(requested, batch.maximum or requested)


def _cpu_batch(facts: Facts) -> int:
    height, width = facts.input_size
    fits = max(1, CPU_PIXELS // (height * width))
    most = LARGEST_ONNX_BATCH if facts.engine == "onnxruntime" else LARGEST_BATCH
    return min(most, max(SMALLEST_BATCH, 1 << fits.bit_length() - 1))
