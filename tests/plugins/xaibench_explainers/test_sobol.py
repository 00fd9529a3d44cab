"""Sobol indices: known functions, the design row by row, budgets, presets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from region_toys import (
    SIZE,
    WHITE,
    Scored,
    additive,
    explain,
    image_of,
    make,
    map_of,
    native_of,
    picture_of,
    reason_of,
    said,
)
from scipy import stats
from torch import Tensor
from torch.nn import functional as F

from xaibench.api import Passes, PassQuery, Streams, UsageError
from xaibench_explainers.perturbation.records import PERTURBATION
from xaibench_explainers.perturbation.sobol import MOST_REGIONS, Order, Sobol, jansen, sobol_design
from xaibench_perturbation import cell_labels

STREAMS = Streams.of(0, 0, "c", "s")
WEIGHTS = torch.tensor([1.0, -2.0, 0.0, 0.5])
LABELS = cell_labels(2, SIZE)


def ishigami(design: Tensor) -> Tensor:
    """``sin x1 + 7 sin^2 x2 + 0.1 x3^4 sin x1`` on [-pi, pi]^3."""
    x = (2 * design.double() - 1) * torch.pi
    return x[:, 0].sin() + 7 * x[:, 1].sin() ** 2 + 0.1 * x[:, 2] ** 4 * x[:, 0].sin()


ISHIGAMI: dict[Order, list[float]] = {"total": [0.557589, 0.442411, 0.243684], "first": [0.313905, 0.442411, 0.0]}


@pytest.mark.parametrize("order", ["total", "first"])
def test_indices_of_the_ishigami_function(order: Order) -> None:
    found = jansen(ishigami(sobol_design(4096, 3, STREAMS)), 4096, order)
    torch.testing.assert_close(found, torch.tensor(ISHIGAMI[order]).double(), atol=0.01, rtol=0)


@pytest.mark.parametrize("order", ["total", "first"])
def test_indices_by_hand(order: Order) -> None:
    # one region, two rows: f(A) = (1, 3), f(B) = (2, 6), f(C) = f(B): V = ((1 + 3 + 2 + 6) / 4 = 3) -> 14 / 4
    # total: ((1 - 2)^2 + (3 - 6)^2) / (2 * 2 * 3.5) = 10 / 14; first: 1 - 0
    found = jansen(torch.tensor([1.0, 3.0, 2.0, 6.0, 2.0, 6.0]), 2, order)
    assert found.tolist() == [pytest.approx(10 / 14 if order == "total" else 1.0)]


@pytest.mark.parametrize("order", ["total", "first"])
def test_additive_scores_over_64_regions_share_their_squares(order: Order) -> None:
    weights = torch.randn(64, generator=torch.Generator().manual_seed(2)).double()
    scores = sobol_design(4096, 64, STREAMS).double() @ weights
    expected = weights**2 / (weights**2).sum()
    found = jansen(scores, 4096, order)
    if order == "total":
        torch.testing.assert_close(found, expected, rtol=0.02, atol=0)
    else:  # a difference of numbers near 1
        torch.testing.assert_close(found, expected, rtol=0, atol=0.002)


@pytest.mark.parity
def test_total_indices_are_scipys() -> None:
    design = sobol_design(256, 3, STREAMS)
    f = ishigami(design).numpy()
    tables = {"f_A": f[None, :256], "f_B": f[None, 256:512], "f_AB": f[512:].reshape(3, 1, 256)}
    reference = stats.sobol_indices(func=tables, n=256).total_order
    np.testing.assert_allclose(jansen(torch.from_numpy(f), 256, "total").numpy(), np.ravel(reference), rtol=1e-9)


def test_the_design_swaps_one_column_at_a_time() -> None:
    design = sobol_design(8, 3, STREAMS)
    assert design.shape == (8 * 5, 3)
    a, b = design[:8], design[8:16]
    for j in range(3):
        mixed = design[16 + 8 * j : 24 + 8 * j]
        for k in range(3):
            assert torch.equal(mixed[:, k], b[:, k] if k == j else a[:, k])
    for column in design[:16].reshape(2, 8, 3).unbind(2):  # balanced: one value in each eighth
        assert (column * 8).long().sort().values.tolist() == [list(range(8))] * 2


def test_the_plain_sequence_is_scipys_and_starts_with_nothing_on() -> None:
    design = sobol_design(16, 5, None)
    reference = stats.qmc.Sobol(10, scramble=False).random_base2(4).astype(np.float32)
    assert np.array_equal(np.hstack([design[:16], design[16:32]]), reference)
    assert not design[0].any()


def test_scrambling_follows_the_seed() -> None:
    one, again, other = (sobol_design(16, 5, Streams.of(s, 0, "c", "s")) for s in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_the_component_finds_the_closed_form() -> None:
    detector = additive(LABELS, WEIGHTS)
    component = make(Sobol, cells=2, designs=4096)
    done = explain(component, detector, WHITE, batch=256)
    expected = (WEIGHTS**2 / (WEIGHTS**2).sum()).view(2, 2)
    torch.testing.assert_close(native_of(done), expected, rtol=0.02, atol=1e-7)
    assert torch.equal(map_of(done), native_of(done).flatten()[LABELS])


def test_a_product_has_a_total_but_no_first_order_index() -> None:
    # f = (m_1 - 1/2)(m_2 - 1/2): neither does anything alone
    def product(images: Tensor) -> Tensor:
        left, right = images[..., :6, :6].mean(dim=(1, 2, 3)), images[..., 6:, 6:].mean(dim=(1, 2, 3))
        return (left - 0.5) * (right - 0.5)

    total = native_of(explain(make(Sobol, cells=2, designs=1024), Scored(product), WHITE, batch=256))
    torch.testing.assert_close(total, torch.eye(2), rtol=0, atol=0.05)
    first = native_of(explain(make(Sobol, cells=2, designs=1024, order="first"), Scored(product), WHITE, batch=256))
    assert 0 <= float(first.min()) <= float(first.max()) < 0.05


def test_passes_are_designs_times_regions_and_two() -> None:
    component, detector = make(Sobol, cells=4, designs=8), additive(LABELS, WEIGHTS)
    assert explain(component, detector, WHITE).passes == said(component, detector) == Passes(forward=8 * 18)
    for name in ("sobol", "sobol-t24"):
        record = next(r for r in PERTURBATION if r.name == name)
        assert said(make(Sobol, **record.parameters), detector) == Passes(forward=2112)


def test_passes_on_segments() -> None:
    detector = additive(LABELS, WEIGHTS)
    grid = make(Sobol, on="segments", segments="grid", count=4, designs=8)
    assert explain(grid, detector, WHITE).passes == said(grid, detector) == Passes(forward=8 * 6)
    slic = make(Sobol, on="segments", count=6, designs=8)
    done = explain(slic, detector, F.interpolate(image_of(3, (2, 2))[None], size=SIZE)[0])
    assert done.value is not None
    assert done.value.segment_weights is not None, done.value.reason
    assert said(slic, detector) == Passes(forward=8 * 14, exact=False)
    assert done.passes == Passes(forward=8 * (len(done.value.segment_weights) + 2))


@pytest.mark.parametrize("designs", [3, 48, 1000])
def test_designs_are_a_power_of_two(designs: int) -> None:
    with pytest.raises(UsageError, match="power of 2"):
        make(Sobol, designs=designs)


@pytest.mark.parametrize(
    ("most", "more", "named"),
    [
        ({"cells": 102}, {"cells": 103}, "cells=103 makes 10,609 regions"),
        ({"on": "segments", "count": 5300}, {"on": "segments", "count": 5301}, "count=5301 may give 10,602"),
        (
            {"on": "segments", "segments": "grid", "count": 10600},
            {"on": "segments", "segments": "grid", "count": 10601},
            "count=10601 may give 10,601",
        ),
    ],
)
def test_more_regions_than_the_sequence_has_dimensions_are_refused(
    most: dict[str, Any], more: dict[str, Any], named: str
) -> None:
    assert make(Sobol, **most).parameters
    with pytest.raises(UsageError, match=f"{named}.* 10,600 at most"):
        make(Sobol, **more)
    assert make(Sobol, on="segments", cells=103).parameters  # no grid, no limit
    assert sobol_design(2, MOST_REGIONS, None)[0].shape == (MOST_REGIONS,)
    with pytest.raises(ValueError, match="Maximum supported dimensionality"):
        sobol_design(2, MOST_REGIONS + 1, None)


def test_a_grid_of_segments_that_has_more_than_count_is_refused() -> None:
    component = make(Sobol, on="segments", segments="grid", count=10600)
    sample = picture_of(WHITE).sample
    for size, reason in (((224, 224), "count=10600 gives 10,609 regions"), ((100, 106), "")):
        facts = replace(additive(LABELS, WEIGHTS).facts, input_size=size)
        assert component.refuses(PassQuery(sample=sample, facts=facts)).startswith(reason)


def test_a_constant_score_gives_no_map() -> None:
    constant = Scored(lambda images: images.sum(dim=(1, 2, 3)) * 0 + 3)
    assert "no signal" in reason_of(explain(make(Sobol, designs=4, cells=2), constant, WHITE))
    assert "no signal" in reason_of(
        explain(make(Sobol, designs=4, fill="white", cells=2), additive(LABELS, WEIGHTS), WHITE)
    )


def test_a_score_that_varies_in_the_mixed_rows_alone_gives_no_map() -> None:
    design = sobol_design(4, 4, None).double()
    only = next(row for row in design[8:] if not (design[:8] == row).all(dim=1).any())

    def lonely(images: Tensor) -> Tensor:
        shown = F.avg_pool2d(images.mean(dim=1, keepdim=True), 6).flatten(1)
        return (shown - only).abs().amax(dim=1).lt(1e-6).double()

    done = explain(make(Sobol, cells=2, designs=4, sequence="plain"), Scored(lonely), WHITE)
    assert "raise designs" in reason_of(done)


def test_maps_smooth_or_cell_by_cell() -> None:
    detector = additive(cell_labels(4, SIZE), torch.arange(16.0) - 4)
    values = {"cells": 4, "designs": 16}
    near = explain(make(Sobol, **values), detector, WHITE)
    smooth = explain(make(Sobol, **values, upsampling="bicubic"), detector, WHITE)
    native = native_of(near)
    assert torch.equal(native, native_of(smooth))
    assert torch.equal(map_of(near), native.repeat_interleave(3, 0).repeat_interleave(3, 1))
    whole = F.interpolate(native[None, None], size=SIZE, mode="bicubic", align_corners=False)[0, 0]
    assert float(whole.min()) < 0
    assert torch.equal(map_of(smooth), whole.clamp(min=0))


def test_the_published_preset_does_not_depend_on_the_seed() -> None:
    record = next(r for r in PERTURBATION if r.name == "sobol-t24")
    component = make(Sobol, **{**record.parameters, "cells": 3, "designs": 8})
    detector = additive(LABELS, WEIGHTS)
    maps = [map_of(explain(component, detector, picture_of(image_of(4)), seed=s)) for s in (0, 1)]
    assert torch.equal(*maps)
    assert not record.stochastic
    scrambled = make(Sobol, cells=3, designs=8)
    maps = [map_of(explain(scrambled, detector, picture_of(image_of(4)), seed=s)) for s in (0, 1)]
    assert not torch.equal(*maps)
