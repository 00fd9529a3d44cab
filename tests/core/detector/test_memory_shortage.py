"""A detector call that runs out of memory says what to set, and nothing else changes."""

from __future__ import annotations

import pytest
import torch

from xaibench.api import Forward
from xaibench.detector.engine import ProbeEngine
from xaibench.detector.memory_shortage import MemoryShortage, name_shortage
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
    shown = name_shortage(error, 64, "cuda:0")
    assert isinstance(shown, MemoryShortage) and shown.__cause__ is error
    assert "64 pictures took more memory than cuda:0 has; give --batch-size 32 or less" in str(shown)


def test_one_picture_and_other_errors():
    assert "another --device" in str(name_shortage(MemoryError(), 1, "cpu"))
    other = ValueError("3 rows came back")
    assert name_shortage(other, 8, "cpu") is other


def test_the_calls_fail_and_the_batch_stays(monkeypatch):
    detector, asked = LinearDetector(torch.ones(3, 4, 6)), []

    def short(images):
        asked.append(len(images))
        raise torch.cuda.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(detector, "probabilities", short)

    def programme():
        return (yield Forward(torch.zeros(8, 3, 4, 6)))

    ((_, done),) = ProbeEngine(detector, 4).run([(0, programme)])
    assert isinstance(done.error, MemoryShortage) and "--batch-size 2 or less" in str(done.error)
    assert set(asked) == {4}
