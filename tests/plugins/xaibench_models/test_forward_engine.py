"""Passes without gradient by another engine than torch."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch

from xaibench.api import ModelError, Runtime
from xaibench.discovery.components import open_component
from xaibench.discovery.registry import load_registry
from xaibench_models.torch_detector import TorchDetector


@cache
def demo(precision: Any = "fp32") -> TorchDetector:
    use = open_component("model", "demo", registry=load_registry())
    return use.open(use.instance.members()[0], Runtime(precision=precision))


def pictures(n: int) -> torch.Tensor:
    return torch.rand((n, 3, *demo().facts.input_size), generator=torch.Generator().manual_seed(n))


@pytest.mark.parametrize("n", [1, 5])
def test_onnx_runtime_gives_the_numbers_of_the_module_for_any_batch(n: int) -> None:
    modes = [module.training for module in demo().network.module.modules()]
    other = demo().with_engine("onnxruntime", 1)
    assert [module.training for module in demo().network.module.modules()] == modes
    torch.testing.assert_close(other.probabilities(pictures(n)), demo().probabilities(pictures(n)), rtol=0, atol=1e-5)
    torch.testing.assert_close(other.scores(pictures(n)), demo().scores(pictures(n)), rtol=1e-4, atol=1e-4)
    assert other.forward is not None
    assert (other.facts.engine, other.facts.digest) == ("onnxruntime", demo().facts.digest)


def test_gradients_and_randomised_copies_stay_with_torch() -> None:
    other, images = demo().with_engine("onnxruntime", 1), pictures(2)
    assert torch.equal(other.logits(images), demo().logits(images))
    layer = other.facts.layers[-1]
    copy = other.randomised([layer], torch.Generator().manual_seed(0))
    assert copy.facts.engine == "torch"
    expected = demo().randomised([layer], torch.Generator().manual_seed(0))
    assert torch.equal(copy.probabilities(images), expected.probabilities(images))


def test_a_compiled_module_computes_the_forward_passes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda module, **options: lambda x: module(x) + 1)
    other, images = demo().with_engine("compile", 1), pictures(2)
    torch.testing.assert_close(other.scores(images), demo().scores(images) + 1)
    assert torch.equal(other.logits(images), demo().logits(images))
    assert other.facts.engine == "torch"


def test_what_cannot_be_exported_says_why_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: object, **options: object) -> None:
        raise NotImplementedError("aten::fold is not known\nand more")

    monkeypatch.setattr(torch.onnx, "export", fails)
    with pytest.raises(ModelError) as refusal:
        demo().with_engine("onnxruntime", 1)
    assert refusal.value.what == "onnxruntime does not run it: NotImplementedError: aten::fold is not known"
    with pytest.raises(ModelError, match="float32 on a CPU"):
        demo("bf16").with_engine("onnxruntime", 1)
