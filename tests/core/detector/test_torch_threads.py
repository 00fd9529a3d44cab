"""Threads of torch: which calls and programmes have how many, and that they are as before afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from xaibench.api import Apply, Backward, Facts, Forward, Programme
from xaibench.detector.engine import ProbeEngine
from xaibench.detector.torch_threads import torch_with_threads
from xaibench_testing.planted import LinearDetector

MANY = 3


@pytest.fixture(autouse=True)
def _many_threads() -> Iterator[None]:
    with torch_with_threads(MANY):
        yield


class Seen(LinearDetector):
    """A detector of an engine that notes the threads of torch in its calls."""

    def __init__(self, engine: str) -> None:
        super().__init__(torch.ones(3, 4, 4).double(), 0.0)
        self.engine = engine
        self.threads: dict[str, set[int]] = {}

    @property
    def facts(self) -> Facts:
        return replace(super().facts, engine=self.engine)

    def note(self, name: str) -> None:
        self.threads.setdefault(name, set()).add(torch.get_num_threads())

    def scores(self, images: Tensor) -> Tensor:
        self.note("scores")
        return super().scores(images)

    def probabilities(self, images: Tensor) -> Tensor:
        self.note("probabilities")
        return super().probabilities(images)

    def logits(self, images: Tensor) -> Tensor:
        self.note("logits")
        return super().logits(images)


def _added(detector: Any, images: Tensor, targets: Tensor, extras: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    detector.note("apply")
    return (images.sum(dim=(1, 2, 3)),)


def _everything(detector: Seen, other: Seen | None = None) -> Programme[None]:
    images = torch.rand(3, 3, 4, 4)
    detector.note("programme")
    yield Forward(images, output="logit", detector=other)
    detector.note("programme")
    yield Forward(images)
    yield Backward(images, 1)
    yield Apply(_added, images, 1)
    detector.note("programme")


def test_torch_computes_with_one_thread_beside_onnx_runtime_except_where_it_differentiates() -> None:
    detector = Seen("onnxruntime")
    assert ProbeEngine(detector, 2).run_one(lambda: _everything(detector)).error is None
    assert detector.threads == {
        "programme": {1}, "scores": {1}, "probabilities": {1}, "logits": {MANY}, "apply": {MANY},
    }  # fmt: skip
    assert torch.get_num_threads() == MANY


def test_a_detector_of_torch_has_all_threads() -> None:
    detector = Seen("torch")
    assert ProbeEngine(detector, 2).run_one(lambda: _everything(detector)).error is None
    assert set().union(*detector.threads.values()) == {MANY}


def test_a_call_has_the_threads_of_the_detector_that_it_names() -> None:
    detector, other = Seen("onnxruntime"), Seen("torch")
    assert ProbeEngine(detector, 2).run_one(lambda: _everything(detector, other)).error is None
    assert other.threads["scores"] == {MANY}
    assert detector.threads["programme"] == {1}


def test_the_threads_are_as_before_between_results_and_after_errors() -> None:
    detector = Seen("onnxruntime")

    def failing() -> Programme[None]:
        yield from _everything(detector)
        torch.set_num_threads(2)
        raise ValueError("wrong")

    jobs = [(i, failing) for i in range(3)]
    between = []
    for _, done in ProbeEngine(detector, 2).run(jobs):
        assert str(done.error) == "wrong"
        between.append(torch.get_num_threads())
    assert between == [MANY] * 3
    with pytest.raises(KeyboardInterrupt), torch_with_threads(1):
        raise KeyboardInterrupt
    assert torch.get_num_threads() == MANY
