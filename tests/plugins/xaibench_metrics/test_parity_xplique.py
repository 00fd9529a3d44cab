"""Parity with xplique: our numbers beside its own, frozen by ``xplique_numbers.py``, on a small smooth network."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
import xplique_numbers as inputs
from robustness_toys import case_of, make, run, values_of
from torch import Tensor

from xaibench.api import Facts, Native, Picture, Sample, Scores
from xaibench_metrics.faithfulness import correlation
from xaibench_metrics.faithfulness.average_drop import AverageDrop, average_drop, average_gain, mask_of
from xaibench_metrics.faithfulness.correlation import MuFidelity
from xaibench_metrics.faithfulness.removal import Deletion, Insertion
from xaibench_metrics.robustness import sensitivity
from xaibench_metrics.robustness.sensitivity import MaxSensitivity
from xaibench_metrics.salience.complexity import Complexity, Sparseness
from xaibench_testing import drawn_by, score, value

pytestmark = pytest.mark.parity

NUMBERS: dict[str, Any] = json.loads(inputs.NUMBERS.read_text(encoding="utf-8"))
IMAGES, MAPS = torch.from_numpy(inputs.pictures()), torch.from_numpy(inputs.maps())
ANYWHERE = range(len(inputs.TARGETS))


class Net:
    """``V tanh(W x + b)``, as in ``xplique_numbers``."""

    device = torch.device("cpu")

    def __init__(self) -> None:
        self.first, self.bias, self.second = map(torch.from_numpy, inputs.weights())
        size = (inputs.HEIGHT, inputs.WIDTH)
        self.facts = Facts(name="net", classes=("real", "fake"), real_class=0, input_size=size, digest="net")

    def scores(self, images: Tensor) -> Tensor:
        return torch.tanh(images.flatten(1) @ self.first.T + self.bias) @ self.second.T

    def probabilities(self, images: Tensor) -> Tensor:
        return self.scores(images).softmax(dim=1)


def picture(i: int) -> Picture:
    return Picture(
        sample=Sample(id=str(i), label="fake", group="g"), image=IMAGES[i], mask=None, landmarks=None, digest=str(i),
        native=lambda: Native(np.zeros((1, 1, 3), np.uint8)), counterpart=lambda: None,
    )  # fmt: skip


def scored(metric: Any, maps: Tensor = MAPS) -> list[Scores]:
    """The scores of every picture's map, as a run has them."""
    drawn = drawn_by(lambda request: maps[int(request.picture.sample.id)])
    found = score(metric, drawn, Net(), [picture(i) for i in ANYWHERE], inputs.TARGETS)
    return [value(done) for done in found]


def numbers(metric: Any, name: str) -> list[float | None]:
    return [next(s.value for s in scores.values if s.name == name) for scores in scored(metric)]


def of_xplique(name: str, within: float = 1e-5) -> Any:
    return pytest.approx(NUMBERS[name], abs=within)


def even_area(points: Sequence[float]) -> float:
    """The trapezoid rule where all steps are taken for equal."""
    return sum(points[1:-1], (points[0] + points[-1]) / 2) / (len(points) - 1)


# ---- deletion and insertion -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("fill", inputs.FILLS)
@pytest.mark.parametrize(("metric", "name"), [(Deletion, "deletion"), (Insertion, "insertion")])
def test_deletion_and_insertion_are_xpliques(metric: Any, name: str, fill: str) -> None:
    found = scored(make(metric, steps=inputs.EQUAL, fill=fill))
    assert [s.values[0].value for s in found] == of_xplique(f"{name} {fill} {inputs.EQUAL}")
    for scores, theirs in zip(found, NUMBERS[f"{name} {fill} {inputs.EQUAL} curves"], strict=True):
        assert list(scores.curves[0].y) == pytest.approx(theirs, abs=1e-5)


@pytest.mark.parametrize("fill", inputs.FILLS)
@pytest.mark.parametrize(("metric", "name"), [(Deletion, "deletion"), (Insertion, "insertion")])
def test_steps_that_do_not_divide_the_pixels_give_xpliques_curve_and_their_own_area(
    metric: Any, name: str, fill: str
) -> None:
    # 96 pixels in 10 steps: of 9 and of 10 pixels, which xplique integrates as if they were all of one width
    found = scored(make(metric, steps=inputs.UNEQUAL, fill=fill))
    for scores, theirs in zip(found, NUMBERS[f"{name} {fill} {inputs.UNEQUAL} curves"], strict=True):
        assert list(scores.curves[0].y) == pytest.approx(theirs, abs=1e-5)
    assert [even_area(s.curves[0].y) for s in found] == of_xplique(f"{name} {fill} {inputs.UNEQUAL}")
    ours = [s.values[0].value for s in found]
    assert ours == pytest.approx(NUMBERS[f"{name} {fill} {inputs.UNEQUAL}"], abs=0.01)
    assert ours != of_xplique(f"{name} {fill} {inputs.UNEQUAL}", 1e-4)


def test_xpliques_deletion_of_half_is_the_first_half_of_our_curve() -> None:
    curves = [s.curves[0].y for s in scored(make(Deletion, steps=inputs.EQUAL))]
    assert [even_area(y[: inputs.EQUAL // 2 + 1]) for y in curves] == of_xplique("deletion of half")


def test_xpliques_area_of_the_mean_curve_is_our_mean_area() -> None:
    areas = [a for a in numbers(make(Deletion, steps=inputs.EQUAL), "deletion") if a is not None]
    assert sum(areas) / len(areas) == of_xplique("deletion of all pictures")


# ---- muFidelity -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("output", "name"), [("logit", "mufidelity"), ("probability", "mufidelity of the softmax")])
def test_mufidelity_is_xpliques_given_the_same_cells(monkeypatch: pytest.MonkeyPatch, output: str, name: str) -> None:
    def same(count: int, cells: int, off: float, _: torch.Generator) -> Tensor:
        assert inputs.draws().shape == (count, cells)
        return (torch.from_numpy(inputs.draws()) < off).float()

    monkeypatch.setattr(correlation, "random_members", same)
    metric = make(MuFidelity, cells=inputs.CELLS, subsets=inputs.SUBSETS, output=output)
    assert numbers(metric, "mufidelity") == of_xplique(name)


def test_mufidelity_without_a_correlation_is_undefined_and_not_xpliques_zero() -> None:
    assert NUMBERS["mufidelity of maps of zeros"] == [0, 0, 0]
    found = scored(make(MuFidelity, cells=inputs.CELLS, subsets=inputs.SUBSETS), torch.zeros_like(MAPS))
    assert [s.values[0].status for s in found] == ["undefined"] * 3


# ---- average drop ---------------------------------------------------------------------------------------------------


def test_average_drop_increase_and_gain_are_xpliques() -> None:
    metric = make(AverageDrop)
    assert numbers(metric, "average-drop") == of_xplique("average drop")
    assert numbers(metric, "increase") == NUMBERS["average increase"] == [1, 1, 0]
    assert numbers(metric, "average-gain") == of_xplique("average gain")


def test_average_drop_of_tiny_maps_is_that_of_large_ones_and_xpliques_is_of_a_darker_picture() -> None:
    # xplique adds 1e-8 to what it stretches by, which halves the mask of a map of that size; we do not
    net, tiny = Net(), 1e-8 * MAPS
    for i, target in enumerate(inputs.TARGETS):
        assert torch.allclose(mask_of(tiny[i], "absolute"), mask_of(MAPS[i], "absolute"), atol=1e-6)
        sizes = tiny[i].abs().double()
        span = float(sizes.max() - sizes.min())
        mask = mask_of(tiny[i], "absolute") * (span / (span + 1e-8))
        p, masked = net.probabilities(torch.stack([IMAGES[i], mask * IMAGES[i]]))[:, target].tolist()
        assert average_drop(p, masked) == pytest.approx(NUMBERS["average drop of tiny maps"][i], abs=1e-5)
        assert average_gain(1 - p, 1 - masked) == pytest.approx(NUMBERS["average gain of tiny maps"][i], abs=1e-5)
    assert NUMBERS["average gain of tiny maps"] != of_xplique("average gain", 0.01)


# ---- stability ------------------------------------------------------------------------------------------------------


def test_average_sensitivity_times_the_norm_of_the_map_is_xpliques_average_stability(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # ours is a share of the map's norm; the noise is xplique's: of one side, the same for every picture
    def gradient(image: Tensor, target: int, _: Any) -> Tensor:
        return torch.from_numpy(inputs.gradients(image[None].numpy(), np.array([target]))[0])

    found = []
    for i, target in enumerate(inputs.TARGETS):
        left = iter(torch.from_numpy(inputs.noise()))
        monkeypatch.setattr(sensitivity, "uniform", lambda *_, left=left: next(left))
        case = case_of(gradient, IMAGES[i], detector=Net(), target=target)
        _, average = values_of(make(MaxSensitivity, samples=inputs.COPIES), case)
        found.append(average * float(gradient(IMAGES[i], target, None).norm()))
    assert found == of_xplique("average stability")


# ---- sparseness and complexity --------------------------------------------------------------------------------------


def test_sparseness_and_complexity_are_xpliques() -> None:
    found: dict[Any, list[float | None]] = {Sparseness: [], Complexity: []}
    for saliency in torch.from_numpy(inputs.gradients(inputs.pictures(), np.array(inputs.TARGETS))):
        for metric, values in found.items():
            case = case_of(lambda *_, saliency=saliency: saliency, IMAGES[0], detector=Net())
            scores = run(make(metric), case).value
            assert scores is not None
            values.append(scores.values[0].value)
    assert found[Sparseness] == of_xplique("sparseness")
    # xplique's guard of 1e-8 in the logarithm takes up to 1e-8 for each of the 96 pixels
    assert found[Complexity] == of_xplique("complexity")
    assert math.log(96) > max(NUMBERS["complexity"])
