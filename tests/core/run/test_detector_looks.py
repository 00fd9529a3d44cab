"""Looks at a detector in a run: a fault of its structure stops it, its accuracy follows its data, and nothing is asked
twice."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pytest
from looks import LOOKS, MOST, STRUCTURE
from PIL import Image
from toy_runs import LONG, differences, glob_differences

from conftest import TOY, comparable, same_bytes
from xaibench.api import ModelError
from xaibench.discovery.registry import load_registry
from xaibench.plan.settings import make_settings
from xaibench.run.driver import execute, prepare
from xaibench.store.folder import RunFolder
from xaibench_statistics import Values, detector_accuracy

PLANTED = """
import os
import torch
from xaibench.api import Facts, ModelRecord, Parameters, hookimpl

@hookimpl
def xaibench_models():
    return [ModelRecord(name="planted", target="xaibench_local_planted:Planted", summary="P(fake) rises with red.")]

class P(Parameters):
    fault: str = ""

class Planted:
    Parameters = P
    def __init__(self, parameters): self.fault = parameters.fault
    def members(self): return ("only",)
    def open(self, member, runtime): return Detector(self.fault)

class Detector:
    device = torch.device("cpu")
    def __init__(self, fault):
        self.fault, self.calls = fault, 0
        self.facts = Facts(name="planted", classes=("real", "fake"), real_class=0, input_size=(16, 16), digest=fault)
    def scores(self, images):
        self.calls += 1
        z = 20 * (images[:, 0].mean((1, 2)) - 0.5)
        if self.fault == "constant": z = z * 0
        if self.fault == "chance": z = z + 0.1 * self.calls
        if self.fault == "company": z = z - z.mean()
        if self.fault == "infinite": z = z / 0
        if self.fault == "raises" and not os.environ.get("PLANTED_MENDED"): raise RuntimeError("no memory left")
        if self.fault == "exits": raise SystemExit(0)
        return torch.stack([-z / 2, z / 2], dim=1)
    def probabilities(self, images): return self.scores(images).softmax(dim=1)
"""
LOOK_KINDS = ("structure", "accuracy", "card")
FAULTS = {
    "constant": "gives one output for all 16 pictures, to the last bit",
    "chance": "gives other outputs when it is asked twice",
    "company": "judges a picture by its company",
    "infinite": "gives values that are not finite on 16 of 16 pictures",
    "raises": "fails on 16 pictures: RuntimeError: no memory left",
    "exits": r"fails on 16 pictures: PluginError: a component called sys\.exit\(0\)",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A plugin, and 24 pictures of 12 people: fakes are redder, but for two of them."""
    folder = tmp_path_factory.mktemp("looks")
    (folder / "planted.py").write_text(PLANTED)
    (folder / "faces").mkdir()
    chance = np.random.default_rng(0)
    for i in range(24):
        red = 90 + 4 * i if i % 2 == (i in (4, 5)) else 150 + 4 * i
        pixels = np.clip(chance.normal((red, 100, 100), 9, (16, 16, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / "faces" / f"{i}.png")
    group(folder, people=12)
    return folder


def group(folder, *, people):
    """Write the table of the pictures, with that many people in it."""
    rows = [f"{i:02},{i}.png,{('real', 'fake')[i % 2]},{i // 2 % people}" for i in range(24)]
    (folder / "faces" / "manifest.csv").write_text("\n".join(["id,image,label,identity", *rows]))


@cache
def registry(plugin):
    return load_registry((str(TOY), plugin), ())


@pytest.fixture
def run(place, tmp_path, monkeypatch):
    """``xaibench eval`` of the planted detector in this process."""
    monkeypatch.setattr("os.fsync", lambda handle: None)

    def evaluate(fault="", out="run", rerun="missing", **settings):
        plugin = str(place / "planted.py")
        asked = {
            "model": [f"planted:fault={fault}" if fault else "planted"], "dataset": [str(place / "faces")],
            "explainer": ["rows"], "metric": ["range"], "controls": False, "isolation": False, "threads": 1,
            "plugin": [str(TOY), plugin], "out": str(tmp_path / out),
        }  # fmt: skip
        components = registry(plugin)
        return execute(prepare(make_settings(None, asked | settings), components), components, rerun=rerun)

    return evaluate


def looked(out, check):
    rows = RunFolder(out).table("detectors").drop_columns(["run", "unit"]).to_pylist()
    return [r for r in rows if r["check"] == check]


def passes(out, *kinds):
    return sum(c["forward"] for c in RunFolder(out).table("commits").to_pylist() if c["kind"] in (kinds or LOOK_KINDS))


# ---- a fault of the structure ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_stops_the_run_before_anything_is_predicted_and_is_remembered(run, tmp_path, fault):
    with pytest.raises(ModelError, match=rf"^detector local/planted:fault={fault} only: {FAULTS[fault]}") as refusal:
        run(fault)
    assert "--accept-detector" in refusal.value.mend
    folder, before = RunFolder(tmp_path / "run"), passes(tmp_path / "run")
    assert not len(folder.table("predictions")) and not len(folder.table("maps")) and not len(folder.table("scores"))
    assert before <= MOST
    with pytest.raises(ModelError) as again:
        run(fault)
    assert (again.value.what, again.value.mend) == (refusal.value.what, refusal.value.mend)
    assert passes(tmp_path / "run") == before


def test_the_command_line_exits_with_3_and_names_the_cause(cli, place, tmp_path):
    command = ("eval", "--plugin", TOY, "--plugin", place / "planted.py", "-m", "planted:fault=constant", "-D",
               place / "faces", "-e", "rows", "-x", "range", "--no-controls", "--threads", 1, "-o", tmp_path / "run")  # fmt: skip
    code, out, err = cli(*command, "--json", "-q")
    assert (code, out) == (3, "") and FAULTS["constant"] in err and "--accept-detector" in err
    assert json.loads(cli("status", tmp_path / "run", "--json")[1])["left"] == 24 * 3 + 1  # the accuracy follows
    code, out, err = cli(*command, "--json", "-q", "--accept-detector")
    assert (
        code == 0 and json.loads(out)["forward"] == 24 + 24 * 5 and FAULTS["constant"] not in err.partition("warn")[0]
    )


def test_an_accepted_detector_is_explained_and_its_fault_stands_in_the_table(run, tmp_path):
    assert run("company", accept_detector=True).exit_code == 0
    assert len(RunFolder(tmp_path / "run").table("scores")) == 24
    (marked,) = [r for r in looked(tmp_path / "run", "structure") if r["mark"]]
    assert marked["name"] == "company" and "batch = {fixed = 1}" in marked["mark"]
    assert run("company", accept_detector=True).done == 0


def test_one_that_raised_has_failed_and_is_asked_again_where_failed_results_are(run, tmp_path, monkeypatch):
    assert run("raises", accept_detector=True).exit_code == 1
    (row,) = looked(tmp_path / "run", "structure")
    assert (row["name"], row["status"]) == ("call", "failed") and "no memory left" in row["reason"]
    monkeypatch.setenv("PLANTED_MENDED", "1")
    with pytest.raises(ModelError, match="no memory left"):
        run("raises")
    assert run("raises", rerun="failed").exit_code == 0
    assert run("raises", "calm").exit_code == 0
    tables = ("scores", "predictions", "maps", "detectors")
    assert not differences(tmp_path / "run", tmp_path / "calm", tables)
    assert not glob_differences(tmp_path / "run", tables)


# ---- asked once ------------------------------------------------------------------------------------------------------


def test_the_structure_is_asked_once_in_the_life_of_a_run(run, place, tmp_path):
    first = run(limit=6)
    assert first.passes.forward == STRUCTURE + 6 + 6 * 5 and passes(tmp_path / "run") == STRUCTURE <= MOST
    before = looked(tmp_path / "run", "structure")
    again = run(limit=6)
    assert (again.done, again.passes.forward, again.reused) == (0, 0, LOOKS + 3 * 6)
    run(limit=6, explainer=["rows", "random"])
    run(limit=7, explainer=["rows", "random"])
    run(limit=7, dataset=["demo:identities=3", str(place / "faces")])
    assert passes(tmp_path / "run", "structure") == STRUCTURE
    assert looked(tmp_path / "run", "structure") == before


@pytest.mark.parametrize("more", [{"task_samples": 3}, pytest.param({"jobs": 2}, marks=LONG)])
def test_tasks_and_workers_change_no_byte_of_the_looks(run, tmp_path, more):
    run(limit=8)
    run(limit=8, out="other", **more)
    assert same_bytes(comparable(tmp_path / "run", "detectors"), comparable(tmp_path / "other", "detectors"))


# ---- accuracy --------------------------------------------------------------------------------------------------------


def expected_accuracy(folder):
    """The accuracy of the predictions in a run."""
    rows = sorted(folder.table("predictions").to_pylist(), key=lambda r: r["sample"])
    p = np.array([r["probabilities"][1] for r in rows])
    odds = np.log(p) - np.log([r["probabilities"][0] for r in rows])
    values = Values.of([r["sample"] for r in rows], odds, [r["group"] for r in rows], [""] * len(rows))
    return detector_accuracy(values, p, np.array([r["label"] == "fake" for r in rows]), p >= 0.5)


def test_accuracy_is_that_of_the_predictions_and_follows_corrected_groups(run, place, tmp_path):
    run()
    folder, rows = RunFolder(tmp_path / "run"), looked(tmp_path / "run", "accuracy")
    found = {r["name"]: (r["value"], r["low"], r["high"]) for r in rows}
    wanted = expected_accuracy(folder)
    estimates = {
        "auc": wanted.auc, "sensitivity": wanted.sensitivity, "false-alarm-rate": wanted.false_alarm_rate,
        "balanced-accuracy": wanted.balanced_accuracy, "brier": wanted.brier,
    }  # fmt: skip
    for name, estimate in estimates.items():
        assert found[name] == pytest.approx((estimate.value, estimate.low, estimate.high)), name
    assert 0.5 < found["auc"][0] < 1 and found["auc"][1] is not None
    assert [r["mark"] for r in rows if r["mark"]] == [m.text for m in wanted.marks]
    before = passes(tmp_path / "run")
    try:
        group(place, people=6)
        again = run()
    finally:
        group(place, people=12)
    assert (again.done, again.passes.forward) == (1, 0) and passes(tmp_path / "run") == before
    marks = [r["mark"] for r in looked(tmp_path / "run", "accuracy") if r["mark"]]
    assert marks == [m.text for m in expected_accuracy(folder).marks] and "fewer than 10 groups" in marks[0]
