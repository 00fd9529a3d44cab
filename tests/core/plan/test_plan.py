"""The plan: its cells, its reasons and its passes."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from looks import MOST

from conftest import TOY
from xaibench.api import Batch, parse_spec
from xaibench.data.order import order_samples
from xaibench.data.survey import slices
from xaibench.detector.batch_size import compute_batch
from xaibench.discovery.registry import load_registry
from xaibench.plan import making
from xaibench.plan.cells import lay_out
from xaibench.plan.choice import read_preset
from xaibench.plan.estimate import Speed
from xaibench.plan.keys import relation_of
from xaibench.plan.making import make_plan
from xaibench.plan.settings import make_settings
from xaibench.store.folder import RunFolder


def plan_of(**flags):
    settings = make_settings(None, {"plugin": [str(TOY)], "model": ["toy"], "dataset": ["demo:identities=8"], **flags})
    return make_plan(settings, load_registry([TOY]))


def test_quick_stays_under_its_ceiling():
    plan = make_plan(make_settings(None, {}), load_registry())
    assert plan.passes.forward + plan.passes.backward <= 80_000
    assert not [c for c in plan.cells if c.reason]


def test_quick_names_reduced_budgets():
    plan = make_plan(make_settings(None, {}), load_registry())
    names = [e.name for e in plan.explainers if not e.record.control]
    assert "xaibench/rise:masks=400" in names
    assert "xaibench/integrated-gradients:steps=16" in names


def test_controls_run_beside_every_explainer():
    plan = plan_of(explainer=["rows", "gradcam"], metric=["range"])
    names = {e.name for e in plan.explainers if e.record.control}
    controls = {c.name for c in load_registry().of_kind("explainer") if c.record.control}
    assert {"xaibench/random", "xaibench/mask-oracle", "xaibench/inverse"} < controls
    inverses = {"xaibench/inverse:of=local/rows", "xaibench/inverse:of=gradcam"}
    assert names == controls - {"xaibench/inverse"} | inverses
    assert next(e for e in plan.explainers if e.name == "xaibench/random").draws >= 20


def test_full_ends_within_an_hour_on_a_hundred_demo_pictures():
    """On two cores a forward pass of the demo takes .25 ms and one with a gradient .5 ms, in full batches. What explainers
    and metrics compute themselves takes about as long again. Passes are to take less than 24 minutes."""
    pictures = 16
    plan = make_plan(make_settings(None, {"preset": "full", "limit": pictures}), load_registry())
    passes = plan.passes
    seconds = Speed(forward=0.25e-3, backward=0.5e-3).seconds(passes) / pictures * 100
    assert seconds < 1440
    assert passes.forward / pictures < 50_000


def test_full_has_every_built_in_that_it_does_not_leave_out():
    registry = load_registry()
    plan = make_plan(make_settings(None, {"preset": "full", "limit": 4, "controls": False}), registry)
    left_out = read_preset("full")["left-out"]
    for kind, uses in (("explainer", plan.explainers), ("metric", plan.metrics)):
        assert not {u.record.name for u in uses} & set(left_out[kind])
        records = [c.record for c in registry.of_kind(kind) if c.origin.built_in]
        assert set(left_out[kind]) < {r.name for r in records}, "a name that no component has"
        named = {"captum", "maps"}  # they need a parameter
        apart = {r.name for r in records if kind == "explainer" and (r.control or r.reference)}
        assert {u.record.name for u in uses} == {r.name for r in records} - apart - named - set(left_out[kind])


def test_every_budget_of_a_preset_is_one_of_a_component_that_it_runs():
    plan = make_plan(make_settings(None, {"preset": "full", "limit": 4, "controls": False}), load_registry())
    names = {"explainer": {e.record.name for e in plan.explainers}, "metric": {m.record.name for m in plan.metrics}}
    assert {kind: set(budgets) - names[kind] for kind, budgets in read_preset("full")["budgets"].items()} == {
        "explainer": set(), "metric": set()
    }  # fmt: skip


def test_the_budgets_of_a_preset_yield_to_parameters_and_do_not_reach_what_is_named():
    own = {"preset": "full", "limit": 4, "controls": False, "metric": ["deletion"]}
    preset = plan_of(**own, parameter={"explainer.rise.masks": 9})
    assert "xaibench/rise:cells=4,masks=9" in [e.name for e in preset.explainers]
    assert [m.name for m in preset.metrics] == ["xaibench/deletion"]


def test_an_inverse_is_planned_only_where_a_score_is_held_against_controls():
    plan = plan_of(explainer=["gradcam"], metric=["deletion", "parameter-randomisation", "entropy-spatial"])
    of_inverse = {c.metric for c in plan.cells if c.explainer == "xaibench/inverse:of=gradcam"}
    assert of_inverse == {None, "xaibench/deletion"}
    of_control = {c.metric for c in plan.cells if c.explainer == "xaibench/edges"}
    assert of_control == {None, "xaibench/deletion", "xaibench/parameter-randomisation", "xaibench/entropy-spatial"}


def test_an_inverse_without_such_a_metric_is_not_planned_at_all():
    plan = plan_of(explainer=["gradcam"], metric=["parameter-randomisation"])
    assert not [c for c in plan.cells if c.explainer.startswith("xaibench/inverse")]


def test_an_inverse_that_was_named_runs_with_every_metric():
    plan = plan_of(explainer=["inverse:of=gradcam"], metric=["parameter-randomisation"])
    named = [c.metric for c in plan.cells if c.explainer == "xaibench/inverse:of=gradcam"]
    assert named == [None, "xaibench/parameter-randomisation"]


def test_no_member_that_is_not_scored_draws_inverses():
    plan = plan_of(model=["demo-family"], explainer=["gradcam"], metric=["run-stability", "deletion"], limit=4)
    members = {c.member for c in plan.cells if c.explainer == "xaibench/inverse:of=gradcam"}
    assert members == {plan.models[0].members[0].ref.member}


def test_a_metric_that_refuses_every_map_is_not_applicable_in_the_plan():
    metrics = ["noise-response-explain2me", "run-stability-explain2me", "noise-response"]
    plan = plan_of(model=["demo-family"], explainer=["gradcam", "saliency"], metric=metrics, limit=2, controls=False)
    (model,) = plan.models
    assert model.members[0].facts.target_grid == (8, 8)

    def reasons(grid):
        members = tuple(replace(m, facts=replace(m.facts, target_grid=grid)) for m in model.members)
        cells = lay_out([replace(model, members=members)], plan.datasets, plan.explainers, plan.metrics)
        return {(c.explainer, c.metric): (c.reason, c.passes.forward > 0) for c in cells if c.reason}

    assert reasons((8, 8)) == reasons((7, 7)) == reasons(None) == {}
    found = reasons((6, 7))
    assert set(found) == {
        ("xaibench/gradcam", f"xaibench/{n}") for n in ("noise-response-explain2me", "run-stability-explain2me")
    }
    for reason, costs in found.values():
        assert reason.startswith("SSIM needs maps of 7x7, this one is 6x7: ") and not costs


def test_third_parties_never_join_a_preset():
    plan = plan_of(preset="full", model=["toy"], metric=["range"])
    assert not [e for e in plan.explainers if e.name.startswith("local/")]


def test_exact_passes_are_equal_and_bounds_hold(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ["eval", "--plugin", TOY, "--model", "toy", "--dataset", "demo:identities=8", "-e", "rows", "-e", "gradcam",
                 "-e", "integrated-gradients:steps=4", "-x", "deletion", "-x", "pointing-game", "--limit", 9,
                 "--threads", 1, "-o", tmp_path / "run"]  # fmt: skip
    _, out, _ = cli(*arguments, "--dry-run", "--json")
    planned = json.loads(out)
    code, _, _ = cli(*arguments, "-q")
    assert code == 0
    forward, backward = Counter(), Counter()
    for u in RunFolder(tmp_path / "run").table("commits").to_pylist():
        if u["kind"] == "structure":
            assert u["forward"] <= planned["passes"]["detectors"] == MOST
            continue
        forward[u["explainer"], u["metric"]] += u["forward"]
        backward[u["explainer"], u["metric"]] += u["backward"]
    assert planned["passes"]["predictions"] == forward.pop(("", "")) == 9
    exact = [c for c in planned["cells"] if c["exact"]]
    assert {(c["explainer"], c["metric"]) for c in exact if c["forward"]} >= {
        ("local/rows", None), ("xaibench/gradcam", None),
        ("xaibench/random", "xaibench/deletion"), ("xaibench/integrated-gradients:steps=4", None),
    }  # fmt: skip
    for c in planned["cells"]:
        key = (c["explainer"], c["metric"] or "")
        if c["exact"]:
            assert (c["forward"], c["backward"]) == (forward[key], backward[key]), key
        else:
            assert c["forward"] >= forward[key], key
            assert c["backward"] >= backward[key], key


def test_a_dry_run_prints_cells_reasons_passes_and_time_and_writes_nothing(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = cli("eval", "--plugin", TOY, "--model", "blind", "--dataset", "demo:identities=8", "-e", "gradcam",
                         "-e", "rows", "-x", "deletion", "--dry-run")  # fmt: skip
    assert code == 0
    assert "the toy is a black box" in out
    assert "deletion" in out
    assert "s of detector work" in out
    assert "passes" in out
    assert "not applicable" in err
    assert not list(tmp_path.iterdir())


def test_a_parameter_given_apart_overrules_a_preset_and_yields_to_a_spec():
    preset = plan_of(preset="quick", parameter={"explainer.rise.masks": 7})
    assert "xaibench/rise:masks=7" in [e.name for e in preset.explainers]
    named = plan_of(explainer=["rise:masks=9"], parameter={"explainer.rise.masks": 7, "explainer.rise.cells": 5})
    assert "xaibench/rise:cells=5,masks=9" in [e.name for e in named.explainers]


def test_two_configurations_of_one_component_stand_side_by_side():
    plan = plan_of(explainer=["rise:masks=10", "rise:masks=20"], controls=False)
    assert [e.name for e in plan.explainers] == ["xaibench/rise:masks=10", "xaibench/rise:masks=20"]


@pytest.mark.parametrize(("spec", "repeats"), [
    ("occlusion", 1), ("occlusion:fill=noise", 3), ("captum:Saliency", 1), ("captum:KernelShap", 3),
    ("sobol:sequence=plain", 1), ("rise:cells=2,design=every", 1),
])  # fmt: skip
def test_parameters_say_whether_a_method_draws_at_random(spec, repeats):
    (explainer,) = plan_of(explainer=[spec], repeats=3, controls=False).explainers
    assert explainer.repeats == repeats


def test_repeats_are_of_what_draws_at_random():
    plan = plan_of(explainer=["rise:masks=10", "rows"], repeats=3)
    repeats = {e.name: e.repeats for e in plan.explainers}
    assert repeats["xaibench/rise:masks=10"] == 3
    assert repeats["xaibench/inverse:of=rise:masks=10"] == 3
    assert repeats["local/rows"] == 1
    assert repeats["xaibench/edges"] == 1


# ---- order ----------------------------------------------------------------------------------------------------------


def samples():
    return load_registry().find("dataset", "demo").load()(_demo_parameters()).samples()


def _demo_parameters():
    target = load_registry().find("dataset", "demo").load()
    return target.Parameters(identities=16)


def test_the_order_is_seeded_and_independent_of_the_listing():
    listed = list(samples())
    first = order_samples(listed, 0)
    assert first == order_samples(listed[::-1], 0)
    assert first != order_samples(listed, 1)
    assert sorted(s.id for s in first) == sorted(s.id for s in listed)


@pytest.mark.parametrize("n", [16, 24, 40])
def test_every_prefix_is_balanced_and_pairs_are_adjacent(n):
    ordered = order_samples(samples(), 0)
    prefix = ordered[:n]
    fakes = [s for s in prefix if s.label == "fake"]
    counts = Counter(s.method for s in fakes)
    assert len(counts) == 4
    assert max(counts.values()) - min(counts.values()) <= 2
    groups = Counter(s.group for s in prefix)
    assert len(groups) == 8
    for i, s in enumerate(ordered):
        if s.label == "real":
            assert ordered[i + 1].pair == s.id


def test_slices_are_cut_at_earlier_limits_too():
    assert slices(10, 4) == [(0, 4), (4, 8), (8, 10)]
    assert slices(10, 4, [6]) == [(0, 4), (4, 6), (6, 8), (8, 10)]
    assert slices(3, 4) == [(0, 3)]


def test_a_list_in_a_spec_needs_no_quotes():
    _, values = parse_spec("segment-attack:top=[1,3],segmentations=[slic-50,grid-7],attack=pgd")
    assert values == {"top": [1, 3], "segmentations": ["slic-50", "grid-7"], "attack": "pgd"}
    plan = plan_of(metric=["segment-attack:top=[1,3],segmentations=[grid-7]"])
    (metric,) = plan.metrics
    assert metric.name == "xaibench/segment-attack:top=[1, 3],segmentations=['grid-7']"
    again = plan_of(metric=[metric.name])
    assert again.metrics[0].name == metric.name


@pytest.mark.parametrize(
    ("limits", "asked", "told"),
    [
        (Batch(fixed=1), None, True),
        (Batch(fixed=1), 1, False),
        (Batch(maximum=4), 16, True),
        (Batch(maximum=4), 2, False),
        (Batch(), None, False),
    ],
)
def test_a_batch_that_the_model_sets_is_said(limits, asked, told):
    detector = SimpleNamespace(
        facts=SimpleNamespace(batch=limits, notes=(), input_size=(224, 224), engine="torch"), device=torch.device("cpu")
    )
    member = SimpleNamespace(facts=detector.facts, batch_size=compute_batch(detector, asked))
    model = SimpleNamespace(name="m", members=(member,), scored=1, trained=0)
    notes = list(making._notes(SimpleNamespace(batch_size=asked), {}, [model], []))
    assert notes == ([f"m: compute batch {member.batch_size}, as the model allows"] if told else [])


def test_the_threads_of_torch_are_part_of_a_key():
    def key(threads: int, engine: str) -> str:
        plan = plan_of(explainer=["rows"], metric=["range"], controls=False, limit=2, device="cpu", threads=threads)
        (model,) = plan.models
        member = replace(model.members[0], facts=replace(model.members[0].facts, engine=engine))
        return relation_of(replace(plan, models=(replace(model, members=(member,)),))).cells[0].key

    assert key(2, "torch") != key(2, "onnxruntime")
    assert key(1, "torch") == key(1, "onnxruntime")
