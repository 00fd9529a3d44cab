"""A small detector on the CPU and on the fake device, and where programmes wait for the device.

A *pass* is a call of a detector. A *step* of a programme is what it computes between two replies. Setting up a map
before its first request, and closing it after the last reply, happen once a map.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import pytest
import torch
from tests.plugins.xaibench_testing.conformance.test_registered import BUDGETS
from tests.support import fake_device
from tests.support.fake_device import Wait
from tests.support.token_networks import Tokens
from torch import nn

from xaibench import hold_component
from xaibench.api import Detector, ExplainerRecord, MetricRecord, Picture, Runtime, Streams, parameter_class
from xaibench.detector import engine
from xaibench.discovery.components import Use
from xaibench_models.live_model import LiveModel
from xaibench_testing.planted_data import pictures_of, planted_samples

SIZE = (32, 48)
CARD = {"size": list(SIZE), "classes": ["real", "fake"], "activation": "logit", "mean": [0.5] * 3, "std": [0.2] * 3}


def network() -> nn.Module:
    """Two convolutions; it calls the planted pictures fake, by little."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        body = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2))
        head = nn.Sequential(nn.Conv2d(8, 12, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        last = nn.Linear(12, 2)
    with torch.no_grad():
        last.weight.mul_(8)
        last.bias.copy_(torch.tensor([0.0, 2.5]))
    return nn.Sequential(*body, *head, last).eval()


@cache
def detectors(kind: str = "convolutions") -> tuple[Detector, Detector]:
    """On the CPU, and on the fake device."""
    module = network() if kind == "convolutions" else Tokens("fused").eval()
    live = LiveModel(module, kind, CARD, "1")
    here, there = (
        live.open(kind, Runtime(device=d, precision="fp32", threads=1)) for d in ("cpu", str(fake_device.device()))
    )
    return here, there


def pictures() -> list[Picture]:
    """A real picture and the fake made of it."""
    return pictures_of(planted_samples(1, SIZE), detectors()[0])


def component(kind: str, record: ExplainerRecord | MetricRecord, **values: Any) -> Use:
    """A registered component with the budgets of the conformance tests."""
    module, _, name = record.target.partition(":")
    target = getattr(__import__(module, fromlist=[name]), name)
    budget = {**record.parameters, **BUDGETS.get((kind, record.name), {}), **values}
    return hold_component(record, target(parameter_class(target).model_validate(budget)), version="1")


def streams() -> Streams:
    return Streams.of(0, 0, "test", "sample")


@dataclass(slots=True)
class Programmes:
    """What the engine did: the waits of passes, and of each step of a programme by its number."""

    in_passes: list[Wait] = field(default_factory=list)
    in_steps: dict[Any, list[list[Wait]]] = field(default_factory=dict)

    def between(self) -> list[Wait]:
        """The waits of steps that are neither the first nor the last of their programme."""
        return [wait for steps in self.in_steps.values() for step in steps[1:-1] for wait in step]


@contextmanager
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[Programmes]:
    """Where the engine's passes and the steps of its programmes wait for the device inside the block."""
    seen, run_step, call = Programmes(), engine.ProbeEngine._run_step, engine.call_detector

    def counted_step(self: Any, account: Any, step: Any) -> Any:
        with fake_device.counted() as waits:
            try:
                return run_step(self, account, step)
            finally:
                name = getattr(step.func, "__name__", "") if isinstance(step, partial) else ""
                if name != "ready":
                    seen.in_steps.setdefault(account.key, []).append(waits.entries)

    def counted_call(*arguments: Any) -> Any:
        with fake_device.counted() as waits:
            reply = call(*arguments)
        seen.in_passes += waits.entries
        return reply

    with monkeypatch.context() as patch:
        patch.setattr(engine.ProbeEngine, "_run_step", counted_step)
        patch.setattr(engine, "call_detector", counted_call)
        yield seen
