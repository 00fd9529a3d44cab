"""A detector call that runs out of memory says what to set, and nothing else changes."""

from __future__ import annotations

import pytest
import torch

from xaibench.api import Forward
from xaibench.detector.device_memory import DeviceOutOfMemory, out_of_memory
from xaibench.detector.engine import ProbeEngine
from xaibench_testing.planted import LinearDetector


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Failed to allocate memory for requested buffer"),
        RuntimeError("std::bad_alloc"),
    ],
)
def test_shortage_names_a_smaller_batch(error):
    shown = out_of_memory(error, LinearDetector(torch.ones(3, 4, 6)), 64)
    assert shown.__cause__ is error
    assert "a call with 64 pictures does not fit into the memory of cpu" in shown.what
    assert "give --batch-size 32 or less" in shown.mend


def test_one_picture_and_other_errors():
    detector = LinearDetector(torch.ones(3, 4, 6))
    assert "another --device" in out_of_memory(MemoryError(), detector, 1).mend
    assert out_of_memory(ValueError("3 rows came back"), detector, 8) is None


def test_the_calls_fail_and_the_batch_stays(monkeypatch):
    detector, asked = LinearDetector(torch.ones(3, 4, 6)), []

    def short(images):
        asked.append(len(images))
        raise torch.cuda.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(detector, "probabilities", short)

    def programme():
        return (yield Forward(torch.zeros(8, 3, 4, 6)))

    ((_, done),) = ProbeEngine(detector, 4).run([(0, programme)])
    assert isinstance(done.error, DeviceOutOfMemory)
    assert "--batch-size 2 or less" in done.error.mend
    assert set(asked) == {4}
