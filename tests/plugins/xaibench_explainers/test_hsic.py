"""HSIC against its definition, by hand, and as a component."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from region_toys import SIZE, WHITE, Scored, additive, explain, image_of, make, map_of, native_of, reason_of, said
from torch import Tensor

from xaibench.api import Passes
from xaibench_explainers.perturbation.hsic import Hsic, hsic, kernel_width
from xaibench_perturbation import balanced_members, cell_labels

WEIGHTS = torch.tensor([2.0, -1.0, 0.0, 0.5])
LABELS = cell_labels(2, SIZE)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def full_design(regions: int) -> Tensor:
    return (torch.arange(2**regions)[:, None] >> torch.arange(regions) & 1).float()


def by_definition(members: Tensor, scores: Tensor, width: float) -> np.ndarray:
    """``tr(K H L H) / (N - 1)^2`` with all matrices written out."""
    m, y, n = members.double().numpy(), scores.double().numpy(), len(scores)
    H = np.eye(n) - 1 / n
    L = np.exp(-((y[:, None] - y) ** 2) / (2 * width**2))
    kernels = [1 + 0.5 - (column[:, None] - column) ** 2 for column in m.T]
    return np.array([np.trace(K @ H @ L @ H) / (n - 1) ** 2 for K in kernels])


@pytest.mark.parametrize("n", [5, 64, 700])
def test_equals_the_definition(n: int) -> None:
    members = (torch.rand(n, 3, generator=generator()) < 0.4).float()
    scores = members @ torch.tensor([1.0, -2.0, 0.1]) + torch.rand(n, generator=generator(1))
    np.testing.assert_allclose(hsic(members, scores, 0.7).numpy(), by_definition(members, scores, 0.7), rtol=1e-9)


def test_by_hand() -> None:
    # one region, off off on on, score 0 0 1 1: t' L t = 8 - 8 e^(-1 / 2w^2), halved and over 3^2
    members, scores = torch.tensor([[0.0], [0.0], [1.0], [1.0]]), torch.tensor([0.0, 0.0, 1.0, 1.0])
    assert hsic(members, scores, 0.5).tolist() == [pytest.approx(4 * (1 - math.exp(-2)) / 9)]


def test_over_every_coalition_a_region_without_weight_has_none_and_larger_weights_more() -> None:
    members = full_design(4)
    found = hsic(members, members @ WEIGHTS, 1.0)
    assert float(found[2]) == pytest.approx(0, abs=1e-15)
    assert found.argsort(descending=True).tolist() == [0, 1, 3, 2]


def test_sampled_designs_are_within_four_standard_errors_of_every_coalition() -> None:
    every = full_design(4)
    exact = hsic(every, every @ WEIGHTS, 1.0) * (15 / 16) ** 2  # its own sum is over 15^2 instead of 16^2
    draws = [balanced_members(1500, 4, generator(s)) for s in range(12)]
    found = torch.stack([hsic(m, m @ WEIGHTS, 1.0) for m in draws])
    bias = 1 / 1500  # of the estimator: no entry of the kernels exceeds 1/2 and 1
    assert ((found - exact).abs() < 4 * found.std(dim=0) + bias).all()


def test_balanced_members_are_on_half_of_the_time() -> None:
    members = balanced_members(100, 9, generator())
    assert members.sum(dim=0).tolist() == [50.0] * 9
    assert len({tuple(c) for c in members.T.tolist()}) == 9
    assert {int(s) for s in balanced_members(101, 40, generator()).sum(dim=0)} == {50, 51}


def test_widths() -> None:
    scores = torch.tensor([1.0, 1.0, 2.0, 5.0])  # differences that are not 0: 1 1 3 4 4
    assert kernel_width(scores, "median-distance") == 3
    assert kernel_width(scores + 7, "median-distance") == 3
    assert kernel_width(scores, "median-output") == 1.5
    assert kernel_width(-scores, "median-output") == 1.5
    assert kernel_width(torch.ones(4), "median-distance") == 0


def test_the_default_width_ignores_what_is_added_to_the_score() -> None:
    one, other = (explain(make(Hsic, cells=2, designs=200), additive(LABELS, WEIGHTS, offset), WHITE)
                  for offset in (0.0, 8.0))  # fmt: skip
    torch.testing.assert_close(map_of(one), map_of(other), rtol=1e-4, atol=1e-8)


def test_the_component_ranks_regions_by_weight_whatever_the_sign() -> None:
    component, detector = make(Hsic, cells=2), additive(LABELS, WEIGHTS)
    done = explain(component, detector, WHITE, batch=64)
    assert native_of(done).flatten().argsort(descending=True).tolist() == [0, 1, 3, 2]
    assert torch.equal(map_of(done), native_of(done).flatten()[LABELS])
    assert done.passes == said(component, detector) == Passes(forward=1500)


def test_on_segments_it_costs_the_same() -> None:
    component = make(Hsic, on="segments", segments="grid", count=4, designs=300)
    detector = additive(LABELS, WEIGHTS)
    done = explain(component, detector, WHITE)
    assert done.passes == said(component, detector) == Passes(forward=300)
    assert done.value is not None
    assert done.value.segment_weights is not None
    assert done.value.segment_weights.argmax() == 0


def test_scores_without_signal_or_width_give_no_map() -> None:
    constant = Scored(lambda images: images.sum(dim=(1, 2, 3)) * 0 + 3)
    assert "no signal" in reason_of(explain(make(Hsic, cells=2, designs=20), constant, WHITE))
    mostly = Scored(lambda images: (images[:, 0, 0, 0] * images[:, 0, 0, 11] > 0.5).double())  # 0 in three of four
    published = make(Hsic, cells=2, designs=40, width="median-output")
    assert "no width" in reason_of(explain(published, mostly, WHITE))
    assert float(map_of(explain(make(Hsic, cells=2, designs=40), mostly, WHITE))[0, 0]) > 0


def test_seeds_draw_their_own_designs() -> None:
    component, detector = make(Hsic, cells=3, designs=30), additive(LABELS, WEIGHTS)
    one, again, other = (map_of(explain(component, detector, image_of(1), seed=s)) for s in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
