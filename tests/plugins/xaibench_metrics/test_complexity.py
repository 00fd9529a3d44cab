"""Sparseness and complexity: numbers worked out by hand, landmarks, and Quantus."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from xaibench.api import Explanation, Score, build_parameters, parameter_class
from xaibench_metrics.salience.complexity import (
    Complexity,
    EffectiveComplexity,
    Sparseness,
    effective_count,
    entropy,
    gini,
    hoyer,
)


class Case:
    """The part of a case that these measures look at."""

    def __init__(self, saliency: Tensor, native: Tensor | None = None) -> None:
        self.explanation = Explanation(map=saliency, native_map=native)


def scores_of(cls: Any, saliency: Tensor, native: Tensor | None = None, **values: Any) -> dict[str, Score]:
    metric = cls(build_parameters(parameter_class(cls), values, "x"))
    scores = metric.score(Case(saliency, native))
    assert [s.name for s in scores.values] == [s.name for s in metric.scores]
    return {s.name: s for s in scores.values}


def values_of(cls: Any, saliency: Tensor, **values: Any) -> list[float | None]:
    return [s.value for s in scores_of(cls, saliency, **values).values()]


def uniform(seed: int, *size: int) -> Tensor:
    return torch.rand(size or (32, 32), generator=torch.Generator().manual_seed(seed))


# ---- by hand --------------------------------------------------------------------------------------------------------


def test_sparseness_by_hand() -> None:
    saliency = torch.tensor([[1.0, -2.0], [0.0, 1.0]])
    # sorted 0 1 1 2, weights -3 -1 1 3: 6 / (4 * 4)
    # l1 = 4, l2 = sqrt 6, n = 4: (2 - 4 / sqrt 6) / (2 - 1)
    assert values_of(Sparseness, saliency) == pytest.approx([0.375, 2 - 4 / math.sqrt(6)], abs=1e-12)


def test_complexity_by_hand() -> None:
    saliency = torch.tensor([[1.0, -2.0], [0.0, 1.0]])  # shares 1/4 1/2 0 1/4: 3/2 ln 2
    assert values_of(Complexity, saliency) == pytest.approx([1.5 * math.log(2), 0.75], abs=1e-12)


def test_effective_complexity_by_hand() -> None:
    saliency = torch.tensor([[1.0, -0.5], [0.0, 0.125], [0.001, -1e-6]])
    assert values_of(EffectiveComplexity, saliency) == pytest.approx([4, 4 / 6])
    assert values_of(EffectiveComplexity, saliency, threshold=0.125) == pytest.approx(
        [2, 2 / 6]
    )  # 0.125 does not exceed it
    assert values_of(EffectiveComplexity, saliency, threshold=0) == pytest.approx([5, 5 / 6])


def test_landmarks() -> None:
    one, flat = torch.zeros(8, 8), torch.full((8, 8), -0.3)
    one[2, 5] = 7
    assert values_of(Sparseness, one) == pytest.approx([1 - 1 / 64, 1], abs=1e-12)
    assert values_of(Complexity, one) == [0, 0]
    assert values_of(EffectiveComplexity, one) == [1, 1 / 64]
    assert values_of(Sparseness, flat) == pytest.approx([0, 0], abs=1e-12)
    assert values_of(Complexity, flat) == pytest.approx([math.log(64), 1])
    assert values_of(EffectiveComplexity, flat) == [64, 1]
    half = torch.zeros(8, 8)
    half[:4] = 1
    # sums: (33 + .. + 64) * 2 - 32 * 65 = 1024 over 64 * 32
    assert values_of(Sparseness, half) == pytest.approx([0.5, (8 - math.sqrt(32)) / 7])
    assert values_of(Complexity, half) == pytest.approx([math.log(32), math.log(32) / math.log(64)])


@pytest.mark.parametrize("measure", [gini, hoyer, entropy, lambda v: effective_count(v, 0.5)])
def test_scale_and_place_change_nothing(measure: Any) -> None:
    sizes = uniform(0, 12, 12).double()
    shuffled = sizes.flatten()[torch.randperm(144, generator=torch.Generator().manual_seed(1))].view(12, 12)
    for other in (shuffled, sizes * 1e30, sizes * 1e-30):
        assert measure(other) == pytest.approx(measure(sizes), rel=1e-9)


def test_gini_is_the_mean_difference_of_pairs() -> None:
    sizes = uniform(2, 9, 9).double().flatten()
    pairs = (sizes[:, None] - sizes[None]).abs().mean() / (2 * sizes.mean())
    assert gini(sizes) == pytest.approx(float(pairs), abs=1e-12)


@pytest.mark.parametrize("cls", [Sparseness, Complexity, EffectiveComplexity])
def test_a_map_of_zeros_is_undefined(cls: Any) -> None:
    for score in scores_of(cls, torch.zeros(4, 4)).values():
        assert (score.status, score.value, score.reason) == ("undefined", None, "the map is zero everywhere")


@pytest.mark.parametrize("cls", [Sparseness, Complexity, EffectiveComplexity])
def test_the_map_at_the_pictures_size_is_measured_and_left_alone(cls: Any) -> None:
    saliency = uniform(3, 8, 8) - 0.5
    kept = saliency.clone()
    assert scores_of(cls, saliency, uniform(4, 2, 2)) == scores_of(cls, saliency)
    assert torch.equal(saliency, kept)


# ---- Quantus --------------------------------------------------------------------------------------------------------


@pytest.fixture
def quantus(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(np, "trapz", np.trapezoid, raising=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield pytest.importorskip("quantus")


def ask(metric: Any, maps: np.ndarray) -> list[float]:
    return metric(  # type: ignore[no-any-return]
        model=nn.Sequential(nn.Flatten(), nn.Linear(1024, 2)), x_batch=np.zeros((len(maps), 1, 32, 32), np.float32),
        y_batch=np.ones(len(maps), int), a_batch=maps, device="cpu",
    )  # fmt: skip


@pytest.mark.parity
@pytest.mark.parametrize(
    ("name", "ours"),
    [("Sparseness", gini), ("Complexity", entropy), ("EffectiveComplexity", partial(effective_count, threshold=1e-5))],
)
def test_complexity_equals_quantus(quantus: Any, name: str, ours: Any) -> None:
    maps = torch.stack([uniform(i) ** (i + 1) - 0.2 for i in range(6)])
    maps[:, ::3] = 0
    maps[:, 5, 5] = 1.0  # one largest value for all, so that Quantus's batch-wide normalisation is each map's own
    theirs = ask(getattr(quantus, name)(abs=True, normalise=True, disable_warnings=True), maps[:, None].numpy().copy())
    for saliency, expected in zip(maps, theirs, strict=True):
        assert ours(saliency.abs()) == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parity
def test_a_picture_beside_a_larger_one_keeps_its_complexity(quantus: Any) -> None:
    """Quantus divides by the largest value of the batch: defect 7 of the specification."""
    small, large = uniform(0) * 0.01 + 1e-3, uniform(1) * 1e6
    count = quantus.EffectiveComplexity(abs=True, normalise=True, disable_warnings=True)
    assert ask(count, small[None, None].numpy().copy()) == [1024]
    assert ask(count, torch.stack([small, large])[:, None].numpy().copy())[0] == 0
    assert effective_count(small, 1e-5) == 1024


@pytest.mark.parity
def test_complexity_does_not_overwrite_the_callers_map(quantus: Any) -> None:
    """Quantus divides in place: defect 8 of the specification."""
    theirs = (uniform(0)[None, None] + 0.1).numpy()
    kept = theirs.copy()
    ask(quantus.Complexity(abs=False, normalise=False, disable_warnings=True), theirs)
    assert theirs.sum() == pytest.approx(1, rel=1e-3)
    ours = torch.from_numpy(kept[0, 0].copy())
    assert values_of(Complexity, ours)[0] == pytest.approx(float(-(theirs * np.log(theirs)).sum()), rel=1e-4)
    assert np.array_equal(ours.numpy(), kept[0, 0])
