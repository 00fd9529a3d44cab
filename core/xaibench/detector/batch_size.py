"""The compute batch: the number of pictures in every call of a detector."""

from __future__ import annotations

from xaibench.api import Detector, Facts

LARGEST_BATCH, SMALLEST_BATCH = 64, 8
CPU_PIXELS, LARGEST_CPU_BATCH = 2**20, 16
"""Most pixels and pictures in one call on a CPU by default.

Larger batches are not faster there (measured on a ResNet-18 and on the demo), and take more memory and padding: a
method that asks for one picture a step leaves most of a large batch empty.
"""
SMALLEST_GROUP = 8
"""Pictures of one request that the engine forwards in a row before it turns to its queues again, in calls of a smaller
batch: a detector that takes one picture at a time may spend less time on it than the engine on a turn."""
PICTURES_OF_A_CALLER = 4
"""The same for each of several callers (:attr:`xaibench.api.Facts.parallel_calls`), so that few of them wait for the
last picture."""
ONNX_CPU_PIXELS, SMALLEST_ONNX_BATCH = 2**16, 4
"""The same for ONNX Runtime: 16 pictures of 64 x 64, 4 of 128 x 128 and larger.

ONNX Runtime finishes one layer for the whole batch before the next, and the activations of many pictures do not stay in
the cache. A small graph of 128 x 128 pixels takes up to a sixth longer for a picture in a batch of 8 than in one of 4,
and a third longer in one of 32; a ResNet-18 of 224 x 224 takes the same.
"""


def compute_batch(detector: Detector, requested: int | None = None) -> int:
    """The number of pictures in every call of a detector.

    It is the model's fixed batch, or the requested one, limited to the model's maximum. None requests
    ``LARGEST_BATCH``, and on a CPU the largest power of two within ``CPU_PIXELS``, or ``ONNX_CPU_PIXELS`` where ONNX
    Runtime computes the detector, at least ``SMALLEST_BATCH`` or ``SMALLEST_ONNX_BATCH`` and at most
    ``LARGEST_CPU_BATCH``. The rule uses no clock, so that every machine chooses alike.
    """
    batch = detector.facts.batch
    if requested is None:
        requested = _cpu_batch(detector.facts) if detector.device.type == "cpu" else LARGEST_BATCH
    return batch.fixed or min(requested, batch.maximum or requested)


def calls_in_a_row(facts: Facts, batch: int) -> int:
    """The number of full batches of one request that are forwarded in a row, at least 1. It changes no number."""
    callers = facts.parallel_calls
    pictures = SMALLEST_GROUP if callers == 1 else max(SMALLEST_GROUP, PICTURES_OF_A_CALLER * callers)
    return max(1, pictures // batch)


def _cpu_batch(facts: Facts) -> int:
    height, width = facts.input_size
    is_onnx = facts.engine == "onnxruntime"
    pixels, smallest = (ONNX_CPU_PIXELS, SMALLEST_ONNX_BATCH) if is_onnx else (CPU_PIXELS, SMALLEST_BATCH)
    fits = max(1, pixels // (height * width))
    return min(LARGEST_CPU_BATCH, max(smallest, 1 << fits.bit_length() - 1))
