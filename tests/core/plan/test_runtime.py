"""Where detectors run."""

from __future__ import annotations

import os

import pytest
import torch

from xaibench.api import Facts, PlanError, Runtime, UsageError
from xaibench.plan.runtime import make_runtime, torch_threads


def test_nothing_is_left_automatic(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert make_runtime() == Runtime(device="cpu", precision="fp32", threads=os.cpu_count() or 1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert make_runtime(precision="fp16", threads=3) == Runtime(device="cuda", precision="fp16", threads=3)
    assert make_runtime("cuda:1").device == "cuda:1"


def test_a_device_that_is_unknown_or_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="device 'tpu' is not known"):
        make_runtime("tpu")
    with pytest.raises(PlanError, match="'cuda' was asked for and torch finds none"):
        make_runtime("cuda:1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(PlanError, match="'cuda:1' was asked for and torch finds 1"):
        make_runtime("cuda:1")


@pytest.mark.parametrize(
    ("engine", "device", "threads"),
    [("torch", "cpu", 4), ("onnxruntime", "cpu", 1), ("onnxruntime", "cuda:1", 4), ("torch", "cuda", 4)],
)
def test_torch_has_one_thread_beside_another_engine_on_the_cpu(engine, device, threads):
    facts = Facts(name="a", classes=("real", "fake"), real_class=0, input_size=(8, 8), digest="d", engine=engine)
    assert torch_threads(Runtime(device=device, threads=4), facts) == threads
