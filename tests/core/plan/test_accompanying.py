"""Metrics that accompany others: planned once, beside what they are for, unless controls are off."""

from __future__ import annotations

import pytest

from conftest import TOY
from xaibench import hold_component
from xaibench.api import MetricRecord, Passes, PluginError, UnknownComponent
from xaibench.discovery.registry import load_registry
from xaibench.plan.accompanying import accompanying, without_idle
from xaibench.plan.making import make_plan
from xaibench.plan.parts import Cell
from xaibench.plan.settings import make_settings

BLACK, BLUR = "xaibench/fill-response", "xaibench/fill-response:fill=blur"


def plan_of(**flags):
    settings = make_settings(None, {"plugin": [str(TOY)], "model": ["toy"], "dataset": ["demo:identities=8"], **flags})
    return make_plan(settings, load_registry([TOY]))


def added(plan):
    return [m.name for m in plan.metrics if not m.named]


def test_each_fill_is_measured_once_and_its_passes_are_counted():
    plan = plan_of(explainer=["rows"], metric=["deletion", "abpc", "insertion", "accuracy-under-removal"], limit=10)
    assert added(plan) == [BLACK, BLUR]
    assert {m.name: m.accompanied_by for m in plan.metrics if m.named} == {
        "xaibench/deletion": (BLACK,), "xaibench/abpc": (BLACK,), "xaibench/insertion": (BLUR,),
        "xaibench/accuracy-under-removal": (BLACK, BLUR),
    }  # fmt: skip
    cells = {c.metric: c for c in plan.cells if not c.explainer}
    assert {m: (c.passes.forward, c.passes.exact) for m, c in cells.items()} == {BLACK: (80, True), BLUR: (80, True)}


def test_no_more_pictures_are_counted_than_are_filled():
    plan = plan_of(explainer=["rows"], metric=["deletion"], limit=10, parameter={"metric.fill-response.pictures": 3})
    (cell,) = (c for c in plan.cells if not c.explainer)
    assert (cell.metric, cell.passes.forward) == (f"{BLACK}:pictures=3", 24)


def test_without_controls_nothing_is_added_and_what_is_missing_stays_known():
    plan = plan_of(explainer=["rows"], metric=["deletion", "range"], controls=False)
    assert not added(plan)
    assert [m.accompanied_by for m in plan.metrics] == [(BLACK,), ()]
    assert {c.explainer for c in plan.cells} == {"local/rows"}


@pytest.mark.parametrize("named", ["fill-response", "fill-response:fill=black,pictures=4"])
def test_what_was_named_by_hand_is_not_added_again(named):
    plan = plan_of(explainer=["rows"], metric=["deletion", "insertion", named])
    assert added(plan) == [BLUR]
    assert plan.metric("xaibench/deletion").accompanied_by == (plan.metrics[2].name,)


def test_it_does_not_run_where_nothing_that_it_accompanies_can():
    plan = plan_of(explainer=["rows"], metric=["deletion", "fill-response:fill=grey"])

    def cell(member, metric, reason=""):
        return Cell(
            model="m", member=member, dataset="d", explainer="", metric=metric, reason=reason, passes=Passes(forward=1)
        )

    grey = "xaibench/fill-response:fill=grey"
    able = [cell("a", "xaibench/deletion"), cell("a", BLACK), cell("a", None)]
    unable = [cell("b", "xaibench/deletion", "needs x"), cell("b", BLACK), cell("b", grey)]
    kept = without_idle([*able, *unable], plan.metrics)
    assert kept == [*able, unable[0], unable[2]]


class Accompanied:
    scores = ()

    def __init__(self, specs):
        self.specs = specs

    def accompanied_by(self):
        return self.specs


def accompany(specs):
    record = MetricRecord(name="toy", target="held:Toy", summary="a toy", family="faithfulness")
    return accompanying(load_registry(), hold_component(record, Accompanied(specs)), [], {})


def test_what_is_no_tuple_of_metrics_is_refused():
    assert [u.name for u in accompany(("fill-response:fill=mean",))] == ["xaibench/fill-response:fill=mean"]
    with pytest.raises(PluginError, match=r"held/toy.*returned str, not a tuple"):
        accompany("fill-response")
    with pytest.raises(UnknownComponent, match="no-such"):
        accompany(("no-such",))
