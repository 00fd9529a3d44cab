"""Parity of the randomisation tests with Quantus's own metrics, both given the same re-initialised networks."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from robustness_toys import case_of, make, rand, run, values_of
from torch import Tensor, nn

from xaibench.api import MapCase, Runtime, build_parameters
from xaibench_metrics.robustness import random_logit
from xaibench_metrics.robustness.random_logit import RandomLogit
from xaibench_metrics.robustness.randomisation import (
    ParameterRandomisation,
    cascading_steps,
    independent_steps,
    shared_streams,
)
from xaibench_models.torch_detector import TorchDetector
from xaibench_models.torch_model import TorchModel, TorchParameters

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]

SIZE = 12
IMAGES = rand(3, 3, SIZE, SIZE)


def network(outputs: int = 2) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Softplus(), nn.Flatten(), nn.Linear(4 * 10 * 10, outputs)).eval()


def opened(monkeypatch: pytest.MonkeyPatch, classes: Sequence[str] = ("real", "fake")) -> TorchDetector:
    module = types.ModuleType("xaibench_test_two_layers")
    module.build = network  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    card = {
        "factory": f"{module.__name__}:build", "weights": "factory", "kwargs": {"outputs": len(classes)}, "size": SIZE,
        "classes": list(classes), "real": "real", "activation": "logit",
    }  # fmt: skip
    model = TorchModel(build_parameters(TorchParameters, card, "torch"))
    return model.open(model.members()[0], Runtime())


def gradient(logits: Any, image: Tensor, target: int) -> Tensor:
    """``(H, W)``: the gradient of the target's logit, summed over the channels."""
    x = image[None].clone().requires_grad_()
    return torch.autograd.grad(logits(x)[0, target], x)[0][0].sum(dim=0).double()


def ours(image: Tensor, target: int, detector: TorchDetector) -> Tensor:
    return gradient(detector.logits, image, target)


def theirs(model: nn.Module, inputs: Any, targets: Any, **_: Any) -> np.ndarray:
    found = [gradient(model, torch.as_tensor(x), int(y)) for x, y in zip(inputs, targets, strict=True)]
    return torch.stack(found)[:, None].numpy()


def cases_of(detector: TorchDetector, target: int = 1) -> list[MapCase]:
    return [case_of(ours, x, detector=detector, target=target, id=str(i)) for i, x in enumerate(IMAGES)]


def ask(metric: Any, detector: TorchDetector, explain: Any = theirs, target: int = 1) -> Any:
    """Quantus's answers; it explains the pictures itself."""
    y = np.full(len(IMAGES), target)
    return metric(
        model=detector.network.module, x_batch=IMAGES.numpy(), y_batch=y, a_batch=None, explain_func=explain,
        channel_first=True, device="cpu",
    )  # fmt: skip


@pytest.fixture
def detector(quantus: Any, monkeypatch: pytest.MonkeyPatch) -> TorchDetector:
    """A detector of two layers whose re-initialised copies are those that Quantus gets too."""
    from quantus.helpers.model.pytorch_model import PyTorchModel

    found = opened(monkeypatch)
    streams = shared_streams(cases_of(found)[0])

    def same(_: Any, order: str = "top_down", seed: int = 42) -> Iterator[tuple[str, nn.Module]]:
        steps = independent_steps if order == "independent" else cascading_steps
        for layer, drawn in steps(found.facts.layers, 10).items():
            yield layer, found.randomised(drawn, streams.torch("weights")).network.module

    monkeypatch.setattr(PyTorchModel, "get_random_layer_generator", same)
    return found


def items(metric: Any, case: MapCase) -> dict[tuple[str, str], float | None]:
    scores = run(metric, case).value
    assert scores is not None
    return {(s.name, s.item): s.value for s in scores.values}


@pytest.mark.parametrize("absolute", [True, False])
@pytest.mark.parametrize(("order", "name"), [("top_down", "cascading"), ("independent", "independent")])
def test_randomised_layers_are_as_alike_as_in_quantus(
    quantus: Any, detector: TorchDetector, order: str, name: str, absolute: bool
) -> None:
    layers = detector.facts.layers
    found = ask(quantus.MPRT(layer_order=order, abs=absolute, disable_warnings=True), detector)
    assert list(found) == ["original", *layers[::-1]]
    assert len(layers) == 2
    for i, case in enumerate(cases_of(detector)):
        scores = items(make(ParameterRandomisation, absolute=absolute), case)
        assert found["original"][i] == pytest.approx(1, abs=1e-12)
        assert [scores[name, layer] for layer in layers] == pytest.approx([found[n][i] for n in layers], abs=1e-6)


def test_quantus_counts_the_untouched_network_into_its_mean_and_we_do_not(
    quantus: Any, detector: TorchDetector
) -> None:
    found = ask(quantus.MPRT(return_average_correlation=True, disable_warnings=True), detector)
    for case, mean in zip(cases_of(detector), found, strict=True):
        score = items(make(ParameterRandomisation), case)["parameter-randomisation", ""]
        assert score is not None
        assert mean == pytest.approx((1 + 2 * score) / 3, abs=1e-6)


def test_the_rise_of_the_entropy_is_efficient_mprts(quantus: Any, detector: TorchDetector) -> None:
    found = ask(quantus.EfficientMPRT(disable_warnings=True), detector)
    rises = [items(make(ParameterRandomisation), case)["efficient", ""] for case in cases_of(detector)]
    assert rises == pytest.approx(found, abs=1e-6)
    assert max(map(abs, found)) > 0.01


@pytest.mark.parametrize("absolute", [True, False])
@pytest.mark.parametrize("target", [0, 1])
def test_random_logit_of_two_classes_is_quantuss(
    quantus: Any, monkeypatch: pytest.MonkeyPatch, target: int, absolute: bool
) -> None:
    from quantus.functions.similarity_func import correlation_spearman

    detector = opened(monkeypatch)
    metric = quantus.RandomLogit(
        num_classes=2, similarity_func=correlation_spearman, abs=absolute, disable_warnings=True
    )
    found = ask(metric, detector, target=target)
    alike = [values_of(make(RandomLogit, absolute=absolute), case)[0] for case in cases_of(detector, target)]
    assert alike == pytest.approx(list(found), abs=1e-6)


def test_random_logit_of_many_classes_is_quantuss_given_the_same_class(
    quantus: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from quantus.functions.similarity_func import correlation_spearman

    detector, asked = opened(monkeypatch, ("real", "a", "b", "c", "d")), []

    def noting(model: nn.Module, inputs: Any, targets: Any, **_: Any) -> np.ndarray:
        asked.append(list(map(int, targets)))
        return theirs(model, inputs, targets)

    metric = quantus.RandomLogit(num_classes=5, similarity_func=correlation_spearman, disable_warnings=True)
    found = ask(metric, detector, noting, target=2)
    others = asked[-1]
    assert 2 not in others
    assert len(set(others)) > 1
    left = iter(others)
    monkeypatch.setattr(random_logit, "other_class", lambda *_: next(left))
    alike = [values_of(make(RandomLogit), case)[0] for case in cases_of(detector, 2)]
    assert alike == pytest.approx(list(found), abs=1e-6)
