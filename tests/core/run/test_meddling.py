"""What a component changes that it may not change: it fails, it is named, and nobody else's numbers change."""

from __future__ import annotations

import os
import random
import signal
import sys
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest
import torch
from toy_runs import LONG

from conftest import same_bytes
from xaibench.detector.torch_settings import prepare_torch
from xaibench.discovery.registry import load_registry
from xaibench.plan.settings import make_settings
from xaibench.run.driver import execute, prepare
from xaibench.store.folder import RunFolder

MEDDLER = Path(__file__).parents[2] / "support" / "plugins" / "meddler.py"
REGISTRY = load_registry((str(MEDDLER),), ())
DEEDS = sorted(sys.modules["xaibench_local_meddler"].DEEDS)
TABLES = ("scores", "predictions", "curves")
OURS = {"explainer": ["gradcam"], "metric": ["deletion:steps=5", "sparseness"]}


def run(out, *, explainer=(), metric=(), **settings):
    """A run of the demo detector with its own explainer and metrics, and further ones after or before them."""
    asked = {
        "explainer": [*explainer, *OURS["explainer"]], "metric": [*metric, *OURS["metric"]], "controls": False,
        "limit": 2, "threads": 1, "plugin": [str(MEDDLER)], "out": str(out), "isolation": False, **settings,
    }  # fmt: skip
    prepared = prepare(make_settings(None, asked), REGISTRY)
    prepare_torch(prepared.plan.runtime.threads)
    return execute(prepared, REGISTRY)


def ours(folder, table):
    """The rows of a table that the meddler has no part in, sorted, without what tells one run from another."""
    rows = RunFolder(folder).table(table).drop_columns(["run", "unit"])
    for column in {"explainer", "metric"} & set(rows.schema.names):
        rows = rows.filter(pc.invert(pc.match_substring(pc.fill_null(rows[column], ""), "meddl")))
    keys = [
        n
        for n in rows.schema.names
        if str(rows.schema.field(n).type) in ("string", "int32", "int64", "double", "float")
    ]
    return rows.sort_by([(name, "ascending") for name in keys]).combine_chunks()


def same(folder, clean):
    return [t for t in TABLES if not same_bytes(ours(folder, t), ours(clean, t))]


def state_of_the_process():
    return (
        torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.get_default_dtype(), torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        np.random.get_state()[1].tobytes(), random.getstate(), dict(os.environ), signal.getsignal(signal.SIGTERM),
        str(torch.get_default_device()),
    )  # fmt: skip


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clean") / "run"
    assert run(folder).exit_code == 0
    return folder


def test_there_are_two_of_each_kind():
    assert len(DEEDS) >= 26


def test_deeds_cost_those_who_do_them_and_nobody_else(tmp_path, clean):
    before = state_of_the_process()
    meddling = {"explainer": [f"meddler:deed={d}" for d in DEEDS], "metric": [f"meddling:deed={d}" for d in DEEDS[::9]]}
    result = run(tmp_path / "run", **meddling)
    assert state_of_the_process() == before
    assert same(tmp_path / "run", clean) == []
    assert result.exit_code == 1 and refused(tmp_path / "run", DEEDS)


@LONG
@pytest.mark.parametrize("deed", DEEDS)
def test_a_deed_is_seen_and_undone(tmp_path, clean, deed):
    before = state_of_the_process()
    run(tmp_path / "run", explainer=[f"meddler:deed={deed}"], metric=[f"meddling:deed={deed}"])
    assert state_of_the_process() == before
    assert same(tmp_path / "run", clean) == []
    assert refused(tmp_path / "run", [deed])


def refused(folder, deeds):
    """Whether every score that a meddler has a part in failed for what it did."""
    scores = RunFolder(folder).table("scores").to_pylist()
    mine = [r for r in scores if "meddl" in r["explainer"] + r["metric"]]
    told = ("changed", "left a hook", "switched", "replaced")
    assert {r["status"] for r in mine} == {"failed"}
    assert all("meddl" in r["reason"] and any(word in r["reason"] for word in told) for r in mine)
    return {d for r in mine for d in deeds if f"deed={d}" in r["explainer"] + r["metric"]} == set(deeds)


def test_one_bad_sample_costs_that_sample_alone(tmp_path, clean):
    spec = "weights_counted"
    result = run(
        tmp_path / "run", explainer=[f"meddler:deed={spec},at=blend"], metric=[f"meddling:deed={spec},at=blend"]
    )
    scores = RunFolder(tmp_path / "run").table("scores").to_pylist()
    mine = {
        (r["explainer"], r["metric"], r["sample"]): r["status"]
        for r in scores
        if "meddl" in r["explainer"] + r["metric"] and r["score"] != "tie-spread"  # few pixels are tied
    }
    assert {status for (_, _, sample), status in mine.items() if "blend" in sample} == {"failed"}
    assert {status for (_, _, sample), status in mine.items() if "blend" not in sample} == {"ok"}
    assert result.exit_code == 1 and same(tmp_path / "run", clean) == []


@LONG
@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("deed", DEEDS)
def test_the_same_in_workers_and_when_the_plugin_is_gone(tmp_path, clean, deed, jobs):
    meddling = {"explainer": [f"meddler:deed={deed}"], "metric": [f"meddling:deed={deed}"]}
    run(tmp_path / "run", **meddling, jobs=jobs, isolation=True)
    assert same(tmp_path / "run", clean) == []
    assert run(tmp_path / "run").exit_code == 0
    assert same(tmp_path / "run", clean) == []
