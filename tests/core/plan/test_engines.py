"""``--engine``: an engine that agrees with torch is taken, a choice is made once, and keys hold it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.support.single_picture_graphs import BAKED, BESIDE_EXTREMES, COMPANY, write_graph

from conftest import comparable
from xaibench.api import ModelError, PlanError
from xaibench.discovery.registry import load_registry
from xaibench.plan import engines
from xaibench.plan.keys import relation_of
from xaibench.plan.making import make_plan
from xaibench.plan.parts import Plan
from xaibench.plan.settings import make_settings
from xaibench.run.driver import execute, prepare

SMALL = {"model": ["demo"], "dataset": ["demo"], "explainer": ["center-prior"], "metric": ["deletion:steps=2"],
         "limit": 4, "threads": 1, "controls": False}  # fmt: skip


@pytest.fixture(autouse=True)
def _no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda module, **options: module)  # it takes half a minute


def times(monkeypatch: pytest.MonkeyPatch, **seconds: float) -> None:
    monkeypatch.setattr(engines, "_seconds", lambda candidates, batch, threads: {e: seconds[e] for e in candidates})


def plan_with(engine: str, out: Path | None = None) -> Plan:
    more = {} if out is None else {"out": str(out)}
    return make_plan(make_settings(None, {**SMALL, "engine": engine, **more}), load_registry())


def engine_of(plan: Plan) -> str:
    return plan.models[0].members[0].ref.engine


def keys(plan: Plan) -> set[str]:
    return {cell.key for cell in relation_of(plan).cells}


def test_a_named_engine_is_part_of_every_key() -> None:
    own, other = plan_with("torch"), plan_with("onnxruntime")
    assert (engine_of(own), engine_of(other)) == ("own", "onnxruntime")
    assert other.models[0].members[0].facts.engine == "onnxruntime"
    assert not keys(own) & keys(other)
    assert not any(key.startswith("engine") for key in own.identity)
    assert own.out != other.out


@pytest.mark.parametrize(
    ("seconds", "chosen"),
    [
        ({"own": 1.0, "onnxruntime": 0.96, "compile": 0.97}, "own"),
        ({"own": 1.0, "onnxruntime": 0.90, "compile": 0.97}, "onnxruntime"),
        ({"own": 1.0, "onnxruntime": 0.90, "compile": 0.50}, "compile"),
    ],
)
def test_auto_takes_the_fastest_that_saves_more_than_a_twentieth(
    monkeypatch: pytest.MonkeyPatch, seconds: Mapping[str, float], chosen: str
) -> None:
    times(monkeypatch, **seconds)
    plan = plan_with("auto")
    assert engine_of(plan) == chosen
    assert any("chosen, once for this run; a pass takes: torch 1000.00 ms" in note for note in plan.notes)


def test_a_run_keeps_the_engine_that_it_chose(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    times(monkeypatch, own=1.0, onnxruntime=0.5, compile=0.9)
    settings = make_settings(None, {**SMALL, "engine": "auto", "out": str(tmp_path)})
    assert execute(prepare(settings, load_registry()), load_registry()).failed == 0
    times(monkeypatch, own=0.1, onnxruntime=0.5, compile=0.9)
    again = plan_with("auto", tmp_path)
    assert engine_of(again) == "onnxruntime"
    assert "xaibench/demo: engine onnxruntime, as the run chose before" in again.notes


def test_an_engine_that_differs_is_refused_where_it_is_named_and_said_by_auto(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "MOST_DIFFERENCE", -1.0)
    times(monkeypatch, own=1.0)
    with pytest.raises(PlanError, match=r"--engine onnxruntime: .*differs from torch by") as refusal:
        plan_with("onnxruntime")
    assert refusal.value.exit_code == 3
    plan = plan_with("auto")
    assert engine_of(plan) == "own"
    assert any("engine onnxruntime is not used: onnxruntime differs" in note for note in plan.notes)


def test_an_engine_that_fails_is_refused_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: Any) -> None:
        raise ModelError("it cannot be exported", "use torch")

    monkeypatch.setattr(engines, "with_engine", fails)
    with pytest.raises(PlanError, match="--engine compile: xaibench/demo: it cannot be exported"):
        plan_with("compile")


# ---- ONNX graphs that take one picture ---------------------------------------------------------------------------


def onnx_settings(path: Path, engine: str, **more: Any) -> Any:
    return make_settings(None, {**SMALL, "model": [str(path)], "engine": engine, "threads": 2, **more})


def onnx_plan(path: Path, engine: str, **more: Any) -> Plan:
    return make_plan(onnx_settings(path, engine, **more), load_registry())


def test_a_freed_graph_has_the_batch_of_other_graphs_and_keys_of_its_own(tmp_path: Path) -> None:
    path = write_graph(tmp_path / "m.onnx")
    own, batched, parallel = (onnx_plan(path, engine) for engine in ("torch", "batched", "parallel"))
    members = [plan.models[0].members[0] for plan in (own, batched, parallel)]
    assert [m.ref.engine for m in members] == ["own", "batched", "parallel"]
    assert [m.batch_size for m in members] == [1, 16, 1]
    assert not keys(own) & keys(batched) and not keys(own) & keys(parallel) and not keys(batched) & keys(parallel)
    assert len({m.ref.digest for m in members}) == 1


@pytest.mark.parametrize(
    ("tail", "reason"),
    [
        (BAKED, "its batch axis cannot be freed: Reshape node 'flat' writes a batch of 1"),
        (COMPANY, "batched differs from onnxruntime by .* of a probability on the data's pictures"),
        (BESIDE_EXTREMES, "batched judges a picture by its company"),
    ],
    ids=["baked", "company", "beside-extremes"],
)
def test_a_graph_that_cannot_be_freed_keeps_its_own_way_under_auto(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tail: Any, reason: str
) -> None:
    path = write_graph(tmp_path / "m.onnx", tail)
    with pytest.raises(PlanError, match=f"--engine batched: m: .*{reason}"):
        onnx_plan(path, "batched")
    times(monkeypatch, own=1.0, parallel=0.97)
    plan = onnx_plan(path, "auto")
    assert engine_of(plan) == "own"
    assert any("engine batched is not used: " in note for note in plan.notes)
    assert "m: engine onnxruntime chosen, once for this run; a pass takes: onnxruntime 1000.00 ms, parallel 970.00 ms" in (
        plan.notes
    )  # fmt: skip


def test_an_engine_for_other_detectors_leaves_a_detector_its_own_and_says_so(tmp_path: Path) -> None:
    plan = onnx_plan(write_graph(tmp_path / "m.onnx"), "compile")
    assert engine_of(plan) == "own"
    assert "m: engine compile is not for it; it keeps its own" in plan.notes
    plan = onnx_plan(tmp_path / "m.onnx", "parallel", threads=1)
    assert "m: engine parallel is not for it; it keeps its own" in plan.notes


def test_a_run_goes_on_with_the_callers_that_it_chose(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path, registry, out = write_graph(tmp_path / "m.onnx"), load_registry(), tmp_path / "run"
    times(monkeypatch, own=1.0, batched=0.9, parallel=0.5)
    first = execute(prepare(onnx_settings(path, "auto", out=str(out)), registry), registry)
    assert first.failed == 0
    times(monkeypatch, own=0.1, batched=0.1, parallel=0.5)
    again = prepare(onnx_settings(path, "auto", out=str(out)), registry)
    assert "m: engine parallel, as the run chose before" in again.plan.notes
    assert execute(again, registry).done == 0
    alone = tmp_path / "alone"
    execute(prepare(onnx_settings(path, "torch", threads=1, out=str(alone)), registry), registry)
    assert [values(out, table) for table in ("predictions", "scores")] == [
        values(alone, table) for table in ("predictions", "scores")
    ]


def values(run: Path, table: str) -> Any:
    columns = {"predictions": ["sample", "probabilities"], "scores": ["sample", "explainer", "score", "item", "value"]}
    return comparable(run, table).select(columns[table]).to_pylist()
