"""What a call of a detector does on another device: where copies wait, what is differentiated, a full memory, own GPUs."""

from __future__ import annotations

import os
from typing import Any

import pytest
import torch
from tests.support import fake_device, on_device
from torch import Tensor, nn

from xaibench.api import Backward, Facts, Forward, Runtime, to_device
from xaibench.detector.calls import call_detector
from xaibench.detector.engine import ProbeEngine
from xaibench.detector.torch_settings import prepare_torch
from xaibench.detector.worker_gpu import WORKER, take_own_gpu
from xaibench_models.live_model import LiveModel


def asked(request: Any, times: int = 1) -> Any:
    def programme() -> Any:
        reply = None
        for _ in range(times):
            reply = yield request
        return reply

    return programme


@pytest.mark.parametrize("output", ["logit", "probability"])
@pytest.mark.parametrize("kind", [Forward, Backward])
def test_a_pass_waits_for_nothing(kind: Any, output: Any) -> None:
    """Neither with pictures on the CPU, nor with targets, padding and the constants of the preprocessing."""
    there = on_device.detectors()[1]
    images = torch.rand((3, 3, *on_device.SIZE))
    request = kind(images, output=output) if kind is Forward else kind(images, 1, output)
    call_detector(there, [(request, 0, 3)], 8)  # constants are made once
    with fake_device.counted() as waits:
        reply = call_detector(there, [(request, 0, 3)], 8)
    assert not len(waits), str(waits)
    values = reply if kind is Forward else reply.values
    assert values.device == there.device


def test_tensors_of_two_devices_are_refused_with_the_line() -> None:
    here, there = torch.ones(2, 2), torch.ones(2, 2).to(fake_device.device())
    with pytest.raises(
        RuntimeError, match=r"fakegpu and of the CPU meet at tests/core/detector/test_calls_on_device.py"
    ):
        here + there


def test_a_synchronisation_is_counted_with_its_line() -> None:
    there = to_device(torch.ones(3), fake_device.device())
    with fake_device.counted() as waits:
        float(there.sum())
        there[there > 0]
    assert [wait.kind for wait in waits.entries] == ["read", "inner"]
    assert all(line.startswith("tests/core/detector/test_calls_on_device.py:") for line in waits.lines())


def test_copies_to_a_device_do_not_wait_and_copies_back_are_whole() -> None:
    values = torch.arange(4.0)
    with fake_device.counted() as waits:
        there = to_device(values, fake_device.device())
        assert to_device(there, fake_device.device()) is there
    assert not len(waits)
    assert torch.equal(to_device(there, torch.device("cpu")), values)
    assert to_device(values, torch.device("cpu")) is values


# ---- gradients ------------------------------------------------------------------------------------------------------


def test_gradients_of_half_precision_are_taken_in_full_precision() -> None:
    """In float16 a gradient below 6e-8 is 0. Forward passes stay in the precision that was asked for."""
    module = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)).eval()
    live = LiveModel(module, "small", {"size": [64, 64], "classes": ["real", "fake"], "activation": "logit"}, "1")
    full, half = (live.open("small", Runtime(device="cpu", precision=p, threads=1)) for p in ("fp32", "bf16"))
    images = torch.rand((2, 3, 64, 64), generator=torch.Generator().manual_seed(0))
    one, two = (ProbeEngine(d, 2).run_one(asked(Backward(images, 1))).value for d in (full, half))
    assert torch.equal(one.gradients, two.gradients)
    one, two = (ProbeEngine(d, 2).run_one(asked(Forward(images, output="logit"))).value for d in (full, half))
    assert not torch.equal(one, two)


def test_deterministic_kernels_are_chosen_on_a_gpu_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[bool] = []
    monkeypatch.setattr(torch, "use_deterministic_algorithms", lambda mode, warn_only: chosen.append(mode))
    monkeypatch.setattr(torch.backends.cuda, "enable_mem_efficient_sdp", chosen.append)
    monkeypatch.setattr(torch.backends.cuda, "enable_cudnn_sdp", chosen.append)
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    prepare_torch(torch.get_num_threads(), "cpu")
    assert not chosen and "CUBLAS_WORKSPACE_CONFIG" not in os.environ
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    prepare_torch(torch.get_num_threads(), "cuda:1")
    assert chosen == [True, False, False]
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"


# ---- memory ---------------------------------------------------------------------------------------------------------


class Full:
    """A detector whose memory is full ``times`` times, for pictures that are brighter than half."""

    device = torch.device("cpu")
    facts = Facts(name="full", classes=("real", "fake"), real_class=0, input_size=(4, 4), digest="full")

    def __init__(self, times: float) -> None:
        self.times = times

    def probabilities(self, images: Tensor) -> Tensor:
        if self.times and float(images.max()) > 0.5:
            self.times -= 1
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return torch.full((len(images), 2), 0.5)


def test_a_call_that_meets_a_full_memory_is_tried_once_more() -> None:
    done = ProbeEngine(Full(1), 4).run_one(asked(Forward(torch.ones(4, 3, 4, 4))))
    assert done.error is None


def test_a_full_memory_ends_the_programmes_of_its_batch_alone_and_says_what_to_set() -> None:
    bright, dark = torch.ones(4, 3, 4, 4), torch.zeros(4, 3, 4, 4)
    jobs = [("bright", asked(Forward(bright))), ("dark", asked(Forward(dark)))]
    done = dict(ProbeEngine(Full(float("inf")), 4).run(jobs))
    assert done["dark"].error is None
    error: Any = done["bright"].error
    assert "full: a call with 4 pictures does not fit into the memory of cpu" in error.what
    assert "--batch-size 2" in error.mend


# ---- workers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("device", "number", "seen", "gpus", "expected"),
    [
        ("cuda", "0", None, 2, "0"),
        ("cuda", "3", None, 2, "1"),
        ("cuda", "1", "4,7,9", 3, "7"),
        ("cuda:1", "0", None, 2, None),
        ("cuda", None, None, 2, None),
        ("cuda", "1", None, 1, None),
        ("cpu", "1", None, 2, None),
    ],
)
def test_workers_take_one_gpu_each(
    device: str, number: str | None, seen: str | None, gpus: int, expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ((WORKER, number), ("CUDA_VISIBLE_DEVICES", seen)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    take_own_gpu(device)
    assert os.environ.get("CUDA_VISIBLE_DEVICES") == expected
