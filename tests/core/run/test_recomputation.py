"""``xaibench.recompute``: chosen rows of a run with what they are made from, and nothing else."""

from __future__ import annotations

import shutil

import pytest
from toy_runs import toy_run

import xaibench
from xaibench.api import ModelError, StoreError, UsageError
from xaibench.store.relation import Address

MAPS = Address("explain", "local/toy", "toy", "xaibench/demo:identities=8", "local/shared")
SCORES = MAPS._replace(kind="score", metric="local/range")
SET = MAPS._replace(kind="set", metric="local/spread")


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    out = tmp_path_factory.mktemp("recompute") / "run"
    assert toy_run(out, explainer=["shared"], limit=3).exit_code == 0
    return out


@pytest.fixture
def again(out):
    with xaibench.recompute(out) as again:
        yield again


def test_rows_bring_along_what_they_are_made_from(again):
    first, second, third = again.shown(SCORES)
    clean = MAPS._replace(kind="predict", explainer="")
    (artefact,) = [address for address in again.recorded.by_address if address.kind == "artefact"]
    chosen = {SCORES: {first}, MAPS: {first}, clean: {first}, artefact: {first}}
    assert again.with_inputs({SCORES: [first]}) == chosen
    whole = {SET: {""}, **{key: {first, second, third} for key in (MAPS, clean, artefact)}}
    assert again.with_inputs({SET: [""]}) == whole
    assert again.with_inputs({SET._replace(metric="local/unknown"): [""]}) == {}


def test_the_cost_is_that_of_the_rows_and_their_inputs(again):
    first, *_ = again.shown(SCORES)
    cost = again.estimate({SCORES: [first]})
    assert (cost.passes.forward, cost.passes.backward) == (1 + 3, 0)  # the prediction and the artefact
    assert cost.seconds > 0


def test_chosen_rows_stand_beside_the_recorded_ones(again, out):
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    first, second, _ = again.shown(SCORES)
    again.compute({SCORES: [first]})
    again.compute({MAPS: [second]})
    rows = {SCORES: [first, second], MAPS: [first, second]}
    then, now = again.recorded_rows(rows), again.computed_rows(rows)
    assert {a: {t: rows["sample"].to_pylist() for t, rows in tables.items()} for a, tables in then.items()} == {
        SCORES: {"scores": [first, second]}, MAPS: {"maps": [first, second]},
    }  # fmt: skip
    assert {a: {t: rows["sample"].to_pylist() for t, rows in tables.items()} for a, tables in now.items()} == {
        SCORES: {"scores": [first]}, MAPS: {"maps": [first, second]},
    }  # fmt: skip
    assert now[SCORES]["scores"]["value"].to_pylist() == then[SCORES]["scores"]["value"].to_pylist()[:1]
    assert now[MAPS]["maps"]["map"].to_pylist() == then[MAPS]["maps"]["map"].to_pylist()
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before


def test_the_plan_made_anew_has_the_same_cells_samples_and_identity(again):
    then, now = again.identities
    assert then == now and then["seed"] == 0
    assert again.recorded.by_address == again.planned.by_address
    assert dict(again.recorded.samples) == dict(again.planned.samples)


def test_what_cannot_be_computed_is_refused_before_or_when_the_plan_is_asked_for(out, tmp_path):
    with pytest.raises(UsageError, match="the run has 1 model, and --model gives 2"), xaibench.recompute(
        out, model=["a", "b"]
    ):  # fmt: skip
        pass
    with xaibench.recompute(out, model=[tmp_path / "nosuch.pt"]) as again:
        assert len(again.shown(SCORES)) == 3
        with pytest.raises(ModelError, match=r"nosuch\.pt"):
            again.planned  # noqa: B018
    shutil.copytree(out, tmp_path / "run")
    next((tmp_path / "run" / "scores").iterdir()).write_bytes(b"")
    with pytest.raises(StoreError, match="is not the file that the run committed"), xaibench.recompute(
        tmp_path / "run"
    ):  # fmt: skip
        pass
