"""The estimate of a plan: seconds by cell, what is left, and the dearest components."""

from __future__ import annotations

import pytest

from conftest import TOY
from xaibench.api import Passes
from xaibench.discovery.registry import load_registry
from xaibench.plan import estimate as estimating
from xaibench.plan.estimate import Cost, Speed, estimate
from xaibench.plan.making import make_plan
from xaibench.plan.settings import make_settings


@pytest.fixture
def plan():
    settings = make_settings(
        None,
        {"plugin": [str(TOY)], "model": ["toy", "blind"], "dataset": ["demo:identities=8"], "limit": 4, "controls": False,
         "explainer": ["rows", "gradcam", "rise-adv:masks=6"], "metric": ["deletion:steps=5", "max-sensitivity"]},
    )  # fmt: skip
    return make_plan(settings, load_registry([TOY]))


@pytest.fixture
def timed(monkeypatch):
    """A forward pass of ``toy`` takes 2 s, one with a gradient 5 s; those of ``blind`` take 3 s. Returns what was timed."""
    calls = []

    def seconds_a_picture(detector, batch, backward):
        blind = "gradients" not in detector.facts.gives
        calls.append((blind, backward))
        return 3.0 if blind else 5.0 if backward else 2.0

    monkeypatch.setattr(estimating, "_seconds_a_picture", seconds_a_picture)
    return calls


def test_a_gradient_costs_its_forward_pass_too():
    assert Speed(forward=2.0, backward=5.0).seconds(Passes(10, 4)) == 6 * 2.0 + 4 * 5.0


def test_every_cell_has_its_passes_at_its_detectors_speed(plan, timed):
    whole = estimate(plan)
    speeds = {"local/toy": Speed(forward=2.0, backward=5.0), "local/blind": Speed(forward=3.0)}
    assert {c for c in plan.cells if not c.reason} | set(plan.artefact_cells) == set(whole.cells)
    assert plan.artefact_cells
    assert all(cost == Cost(c.passes, speeds[c.model].seconds(c.passes)) for c, cost in whole.cells.items())
    assert whole.predictions == Cost(Passes(8), 8 * 2.5)
    assert whole.total.passes == plan.passes
    looks = sum(c.passes.forward for c in plan.detector_cells)
    assert whole.looks == Cost(Passes(looks, exact=False), looks * 2.5)
    assert whole.total.seconds == pytest.approx(sum(c.seconds for c in whole.cells.values()) + 20 + looks * 2.5)


def test_a_gradient_is_timed_only_where_one_is_taken(plan, timed):
    estimate(plan)
    assert sorted(timed) == [(False, False), (False, True), (True, False)]


def test_what_is_left_counts_alone(plan, timed):
    whole = estimate(plan)
    timed.clear()
    none = estimate(plan, dict.fromkeys(whole.cells, 0.0), predictions=0.0, looks=Passes())
    assert not timed, "nothing is timed where nothing is left"
    assert none.total == Cost(Passes(exact=whole.total.passes.exact), 0.0)
    cell = max(whole.cells, key=lambda c: c.passes.forward)
    rest = estimate(plan, {cell: 0.25})
    assert rest.cells[cell].passes.forward == round(cell.passes.forward / 4)
    assert {c: v for c, v in rest.cells.items() if c != cell} == {c: v for c, v in whole.cells.items() if c != cell}


def test_the_dearest_come_first_and_add_up(plan, timed):
    whole = estimate(plan)
    artefacts = sum((whole.cells[c].seconds for c in plan.artefact_cells), 0.0)
    for costs in (whole.metrics(), whole.explainers()):
        seconds = [c.seconds for c in costs.values()]
        assert seconds == sorted(seconds, reverse=True)
        assert sum(seconds) == pytest.approx(whole.total.seconds - whole.predictions.seconds - whole.looks.seconds)
        assert sum(costs[a].seconds for a in {c.artefact for c in plan.artefact_cells}) == artefacts
    assert next(iter(whole.metrics())) == "xaibench/max-sensitivity"
    assert next(iter(whole.explainers())) == "xaibench/rise-adv:masks=6"
    assert whole.metrics()["(maps)"].passes.forward == sum(
        c.passes.forward for c in plan.cells if c.metric is None and not c.reason
    )


def test_a_timed_batch_is_counted_neither_as_nothing_nor_as_a_pass(plan):
    assert estimate(plan).total.seconds > 0
    assert estimate(plan).total.passes == plan.passes
