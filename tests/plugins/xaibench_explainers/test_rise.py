"""RISE on a grid and on segments: closed forms, fills, budgets."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from region_toys import (
    FAKE,
    SIZE,
    WHITE,
    Layered,
    Scored,
    additive,
    explain,
    image_of,
    make,
    map_of,
    picture_of,
    reason_of,
    said,
)
from torch import Tensor

from xaibench.api import Passes, PassQuery, Streams, UsageError
from xaibench_explainers.perturbation.ablationcam import AblationCam
from xaibench_explainers.perturbation.hsic import Hsic
from xaibench_explainers.perturbation.kernel_shap import KernelShap
from xaibench_explainers.perturbation.lime import Lime
from xaibench_explainers.perturbation.occlusion import Occlusion
from xaibench_explainers.perturbation.partition_shap import PartitionShap
from xaibench_explainers.perturbation.records import PERTURBATION
from xaibench_explainers.perturbation.regions import no_signal
from xaibench_explainers.perturbation.rise import Rise, chance_of_each, weighted_mean
from xaibench_explainers.perturbation.scorecam import ScoreCam
from xaibench_explainers.perturbation.sobol import Sobol
from xaibench_perturbation import (
    Coalitions,
    cell_labels,
    every_mask,
    grid_segments,
    per_pixel,
    random_members,
    rise_masks,
)
from xaibench_perturbation.plugin import FILLS
from xaibench_testing import harness
from xaibench_testing.planted import DifferentiablePatchDetector, PatchDetector
from xaibench_testing.planted_data import pictures_of, planted_samples

WEIGHTS = torch.tensor([0.3, -0.1, 0.0, 0.2, 0.05, 0.1, 0.0, 0.25, 0.1])
CELLS = cell_labels(3, SIZE)


def closed_form(weights: Tensor, keep: float) -> Tensor:
    """``E[m_j f] / p = w_j + p sum_{k != j} w_k = (1 - p) w_j + p sum(w)``."""
    return (1 - keep) * weights + keep * weights.sum()


@pytest.mark.parametrize("keep", [0.3, 0.5, 0.539827837277029, 0.8])
@pytest.mark.parametrize("normaliser", ["expected", "coverage"])
def test_every_mask_gives_the_closed_form_at_any_keep(keep: float, normaliser: str) -> None:
    component = make(Rise, design="every", cells=3, keep=keep, normaliser=normaliser, output="logit")
    done = explain(component, additive(CELLS, WEIGHTS), WHITE)
    torch.testing.assert_close(map_of(done), per_pixel(closed_form(WEIGHTS, keep), CELLS), atol=1e-6, rtol=0)
    assert done.passes == said(component, additive(CELLS, WEIGHTS)) == Passes(forward=512)


def test_chances_of_masks_are_those_of_independent_cells() -> None:
    # grids 0..15 of 2x2 cells by number of cells on: 1 of 0, 4 of 1, 6 of 2, 4 of 3, 1 of 4
    chances = chance_of_each(every_mask(2, (4, 4)), 0.25) / 16
    assert float(chances.sum()) == pytest.approx(1)
    assert float(chances[0]) == pytest.approx(0.75**4)
    assert float(chances[0b0110]) == pytest.approx(0.25**2 * 0.75**2)


@pytest.mark.parametrize("keep", [0.3, 0.5])
def test_sampled_segments_are_within_four_standard_errors(keep: float) -> None:
    labels = grid_segments(*SIZE, 9)
    component = make(Rise, on="segments", segments="grid", count=9, masks=4000, keep=keep, output="logit")
    done = explain(component, additive(labels, WEIGHTS), WHITE, batch=64)
    assert done.value is not None
    found = done.value.segment_weights
    assert found is not None
    assert torch.equal(map_of(done), found[labels])
    members = random_members(4000, 9, keep, torch.Generator().manual_seed(0)).double()
    terms = (members @ WEIGHTS.double())[:, None] * members / keep
    error = terms.std(dim=0) / 4000**0.5
    assert float(((found - closed_form(WEIGHTS, keep)).abs() / error).max()) < 4


def test_a_weighted_mean_of_coalitions_by_hand() -> None:
    # members (1,0), (1,1) with scores 2 and 4: sums 6 and 4, over N p = 2 * .5 or over coverages 2 and 1
    design = Coalitions(torch.tensor([[1.0, 0.0], [1.0, 1.0]]), torch.tensor([[0, 1]]))
    scores = torch.tensor([2.0, 4.0])
    assert weighted_mean(design, scores, 0.5).tolist() == [6, 4]
    assert weighted_mean(design, scores, None).tolist() == [3, 4]
    assert weighted_mean(design, scores, None, torch.tensor([1.5, 0.5])).tolist() == [2.5, 4]


def test_a_segment_that_no_mask_shows_is_zero() -> None:
    design = Coalitions(torch.tensor([[1.0, 0.0]]), torch.tensor([[0, 1]]))
    assert weighted_mean(design, torch.tensor([2.0]), None).tolist() == [2, 0]


def test_double_softmax_squeezes_the_scores_that_weigh() -> None:
    detector = additive(CELLS, 8 * WEIGHTS)
    maps = {o: map_of(explain(make(Rise, masks=300, cells=3, output=o), detector, WHITE)) for o in
            ("probability", "double-softmax", "logit")}  # fmt: skip
    design = rise_masks(300, cells=3, keep=0.5, size=SIZE, generator=_streams_of_a_run().torch("masks"))
    fake = detector.probabilities(WHITE * design.render(0, 300)[:, None])[:, FAKE]
    once = weighted_mean(design, fake, 0.5)
    twice = weighted_mean(design, torch.sigmoid(2 * fake - 1), 0.5)  # softmax of (1 - p, p)
    torch.testing.assert_close(maps["probability"], once, atol=1e-6, rtol=0)
    torch.testing.assert_close(maps["double-softmax"], twice, atol=1e-6, rtol=0)
    assert float(maps["logit"].max()) > 1


def _streams_of_a_run() -> Streams:
    """The streams that the harness hands out: read off a component that keeps them."""
    kept: list[Streams] = []

    class Keeps:
        def explain(self, request: Any) -> Any:
            kept.append(request.streams)
            return (yield from make(Rise, masks=1).explain(request))

    harness.explain(Keeps(), additive(CELLS, WEIGHTS), [picture_of(WHITE)], FAKE)
    return kept[0]


@pytest.mark.parametrize("values", [{"design": "every", "cells": 5}, {"design": "every", "cells": 2, "on": "segments"}])
def test_designs_that_cannot_be_listed_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="at most 4x4 cells"):
        make(Rise, **values)


def test_the_published_preset_keeps_a_cell_with_probability_54_and_fills_with_the_mean_of_imagenet() -> None:
    record = next(r for r in PERTURBATION if r.name == "rise-t24")
    component = make(Rise, **record.parameters)
    assert said(component, additive(CELLS, WEIGHTS)) == Passes(forward=4000)
    keep = component.parameters.keep
    assert keep == pytest.approx(float(torch.special.ndtr(torch.tensor(0.1, dtype=torch.float64))), abs=1e-12)
    grids = rise_masks(4000, cells=7, keep=keep, size=(224, 224), generator=torch.Generator().manual_seed(3)).grids
    assert abs(float(grids.mean()) - 0.54) < 4 * (0.25 / grids.numel()) ** 0.5 + 0.001
    seen: list[Tensor] = []

    def watch(images: Tensor) -> Tensor:
        seen.append(images)
        return images.mean(dim=(1, 2, 3))

    explain(make(Rise, **{**record.parameters, "masks": 32, "cells": 1}), Scored(watch), WHITE)
    empty = torch.cat(seen).amin(dim=(0, 2, 3))  # a mask of one cell is all on or all off
    torch.testing.assert_close(empty, torch.tensor([0.485, 0.456, 0.406]).double(), atol=1e-6, rtol=0)


# ---- fills ----------------------------------------------------------------------------------------------------------


def test_a_counterpart_is_asked_for_beforehand_and_blended_in() -> None:
    component, detector = make(Rise, fill="counterpart", masks=200, cells=3, output="logit"), additive(CELLS, WEIGHTS)
    paired, alone = picture_of(WHITE, real=0 * WHITE), picture_of(WHITE)
    assert component.needs == {"pair"}
    assert component.refuses(PassQuery(sample=paired.sample, facts=detector.facts)) == ""
    for picture in (alone, picture_of(WHITE, "real")):
        reason = component.refuses(PassQuery(sample=picture.sample, facts=detector.facts))
        assert reason_of(explain(component, detector, picture)) == reason != ""
    black = make(Rise, fill="black", masks=200, cells=3, output="logit")
    assert torch.equal(map_of(explain(component, detector, paired)), map_of(explain(black, detector, alone)))


ROUNDED = Scored(lambda images: 1 + 2e-7 * images.mean(dim=(1, 2, 3)))
"""Scores of 1 and the next float32 or two above it."""


@pytest.mark.parametrize("fill", ["black", "blur", "counterpart"])
def test_masks_that_change_no_score_give_no_map(fill: str) -> None:
    picture = picture_of(image_of(2), real=image_of(1))
    component = make(Rise, fill=fill, masks=20, cells=3, output="logit")
    done = explain(component, ROUNDED, picture)
    assert "no signal" in reason_of(done)
    assert done.passes == Passes(forward=20)


REACTING: dict[type, dict[str, Any]] = {
    Lime: {"samples": 64, "segments": "grid", "count": 9, "fill": "black"},
    KernelShap: {"samples": 64, "segments": "grid", "count": 9, "fill": "black"},
    PartitionShap: {"evals": 40, "fill": "black"},
    Rise: {"masks": 64},
    Sobol: {"designs": 4, "cells": 3},
    Hsic: {"designs": 64, "cells": 3},
    Occlusion: {},
    ScoreCam: {},
    AblationCam: {},
}


@pytest.mark.parametrize("cls", REACTING, ids=lambda c: c.__name__)
def test_one_rule_says_which_scores_react(cls: type) -> None:
    def reason(slope: float) -> str:
        def head(activation: Tensor) -> Tensor:
            score = 1 + slope * activation.mean(dim=(1, 2, 3))
            return torch.stack([torch.zeros_like(score), score], dim=1)

        done = explain(make(cls, output="logit", **REACTING[cls]), Layered(lambda x: x, head), 0.5 + image_of(4) / 2)
        assert done.value is not None
        return done.value.reason

    assert reason(2e-7) == "no signal: the detector's score is the same whatever is switched off"
    assert reason(2e-3) == ""


def test_equal_scores_and_rounding_are_no_signal() -> None:
    assert "no signal" in no_signal(torch.tensor([0.3, 0.3, 0.3]))
    assert "no signal" in no_signal(torch.tensor([1.0, 1.0 + 2**-23]))
    assert "not finite" in no_signal(torch.tensor([1.0, float("nan")]))
    assert no_signal(torch.tensor([1e-30, 2e-30])) == ""
    assert no_signal(torch.tensor([1.0, 1.00001])) == ""


def test_a_picture_in_one_segment_is_said_so_before_any_pass() -> None:
    done = explain(make(Rise, on="segments", count=2, masks=10), additive(CELLS, WEIGHTS), WHITE)
    assert "single segment" in reason_of(done)
    assert done.passes == Passes()


BUDGETS: dict[type, dict[str, Any]] = {
    Rise: {"masks": 300, "cells": 4, "normaliser": "coverage"},
    Sobol: {"designs": 4, "cells": 4},
    Hsic: {"designs": 200, "cells": 4},
    Occlusion: {"patch": 0.25},
    ScoreCam: {},
}


@pytest.mark.parametrize("fill", [record.name for record in FILLS])
@pytest.mark.parametrize("cls", BUDGETS, ids=lambda c: c.__name__)
def test_every_explainer_takes_every_fill(cls: type, fill: str) -> None:
    detector = DifferentiablePatchDetector() if cls is ScoreCam else PatchDetector()
    picture = next(p for p in pictures_of(planted_samples(1), detector) if p.sample.label == "fake")
    component = make(cls, fill=fill, twin_steps=40, **BUDGETS[cls])
    done = harness.explain(component, detector, [picture], FAKE, batch_size=32)[0]
    found = map_of(done)
    inside = detector.patch.mask(detector.facts.input_size)
    # random signs leave a checkerboard's mean about where it was; Score-CAM's softmax leaves brightness a large share
    if fill not in ("noise", "noise-twin") and cls is not ScoreCam:
        assert float(found[inside].mean()) > float(found[~inside].mean())
    own = component.passes(PassQuery(sample=picture.sample, facts=detector.facts))
    shared = sum(a.passes(PassQuery(sample=picture.sample, facts=detector.facts)).forward for a in component.artefacts)
    assert done.passes.forward <= own.forward + shared
    if own.exact and not component.artefacts:
        assert done.passes == own


@pytest.mark.parametrize("cls", [Rise, Sobol, Hsic])
def test_segments_take_the_fill_of_segments(cls: type) -> None:
    detector = PatchDetector()
    picture = next(p for p in pictures_of(planted_samples(1), detector) if p.sample.label == "fake")
    component = make(cls, **BUDGETS[cls], on="segments", count=16, segments="grid", fill="segment-mean")
    done = harness.explain(component, detector, [picture], FAKE)[0]
    assert done.value is not None
    weights = done.value.segment_weights
    assert weights is not None
    found, inside = map_of(done), detector.patch.mask(detector.facts.input_size)
    assert float(found[inside].mean()) > float(found[~inside].mean())
    assert len(found.unique()) == len(weights.unique())
