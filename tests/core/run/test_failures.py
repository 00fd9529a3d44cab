"""What fails, what it costs and where that is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from looks import LOOKS
from PIL import Image
from toy_runs import LONG

from conftest import TOY
from xaibench.store.folder import RunFolder

CARELESS = Path(__file__).parents[2] / "support" / "plugins" / "careless.py"
DIES = """
import os
from xaibench.api import ExplainerRecord, Explanation, Passes, hookimpl

@hookimpl
def xaibench_explainers():
    return [ExplainerRecord(name="dies", target="xaibench_local_dies:Dies", summary="Dies at one sample.")]

class Dies:
    def __init__(self, parameters): ...
    def passes(self, query): return Passes()
    def explain(self, request):
        if request.picture.sample.id == "warp/10000":
            os._exit(1)
        return Explanation(map=request.picture.image.mean(0).clone())
"""
OUTSIDE = "BadScores: 'too-big' is 2.0, outside [0, 1]"


@pytest.fixture(autouse=True)
def _in_tmp(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def careless(toy_eval):
    """``xaibench eval`` of the toys and the careless ones on three samples."""
    return lambda *arguments, **more: toy_eval("--plugin", CARELESS, "--limit", 3, "-o", "run", *arguments, **more)


def commits(kind):
    return [c for c in RunFolder("run").table("commits").to_pylist() if c["kind"] == kind]


# ---- sys.exit in a component -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_exit_costs_its_own_unit_and_not_the_others_of_its_task(careless, jobs):
    code, out, err = careless("-x", "quits", "-e", "local/quits", "--jobs", jobs)
    assert code == 1
    assert (
        json.loads(out)["failed"] == 4 * 3
    )  # the explainer's maps and both scores of them, and the metric on the others
    found = {(r["explainer"], r["metric"]): r["status"] for r in RunFolder("run").table("scores").to_pylist()}
    assert found.pop(("local/rows", "local/range")) == "ok"
    assert set(found.values()) == {"failed"}
    assert "failed: local/rows local/quits: 3 of 3 cases failed: PluginError: a component called sys.exit(0)" in err


@pytest.mark.parametrize(("component", "check"), [
    ("quits", "maps"), ("never-opens", "opens"), ("never-answers", "probabilities"),
])  # fmt: skip
def test_check_fails_a_component_that_exits(cli, component, check):
    code, out, _ = cli("check", CARELESS, "--json")
    found = {(c["component"], c["check"]): c for c in json.loads(out)["checks"]}
    assert code == 5
    assert found[component, check]["status"] == "fail"
    assert "exit" in found[component, check]["message"].lower()


def test_check_and_explain_refuse_a_detector_that_exits(cli):
    Image.new("RGB", (32, 32)).save("one.png")
    for model in ("never-opens", "never-answers"):
        code, _, err = cli("explain", "one.png", "--plugin", CARELESS, "--model", model, "-e", "edges")
        assert (code, "sys.exit(0)" in err) == (3, True)
    code, _, err = cli("check", "never-opens", "--plugin", CARELESS)
    assert (code, "sys.exit(0)" in err) == (3, True)


def test_explain_goes_on_after_an_explainer_that_exits(cli):
    Image.new("RGB", (32, 32)).save("one.png")
    code, out, _ = cli("explain", "one.png", "--plugin", TOY, "--plugin", CARELESS, "--model", "toy",
                       "-e", "local/quits", "-e", "rows", "--json")  # fmt: skip
    assert code == 1
    assert [m["status"] for m in json.loads(out)["maps"]] == ["failed", "ok"]


@LONG
def test_a_worker_that_dies_at_one_sample_costs_that_sample_alone(toy_eval):
    Path("dies.py").write_text(DIES)
    code, _, err = toy_eval("--plugin", "dies.py", "-e", "dies", "-x", "spread", "--jobs", 2, "-o", "run")
    assert code == 1 and "local/dies: the worker process died" in err
    rows = RunFolder("run").table("scores").to_pylist()
    failed = {(r["explainer"], r["sample"]) for r in rows if r["status"] == "failed"}
    assert failed == {("local/dies", "warp/10000")}
    assert len([r for r in rows if r["metric"] == "local/range"]) == 24


# ---- reasons ---------------------------------------------------------------------------------------------------------


def test_scores_out_of_range_are_told_with_their_reason(careless):
    code, _, err = careless(metric="too-big")
    assert code == 1
    assert f"failed: local/rows local/too-big: 3 of 3 cases failed: {OUTSIDE}\n" in err
    (row,) = commits("score")
    assert row["error"] == OUTSIDE
    assert "Traceback" in row["trace"]
    assert "in _score" in row["trace"]


def test_the_reason_of_maps_that_failed_is_told_with_every_score_on_them(toy_eval):
    _, _, err = toy_eval("-o", "run", explainer="faulty")
    for row in commits("explain") + commits("score"):
        told = " ".join(x for x in (row["explainer"], row["metric"]) if x)
        assert f"failed: {told}: {row['reason']}\n" in err
        assert "of 12" in row["reason"]
        assert "failed: RuntimeError: no luck with" in row["reason"]


# ---- quiet, and again ------------------------------------------------------------------------------------------------


def quietly(cli, *more, quiet=("-q",)):
    return cli("eval", "--plugin", TOY, "--model", "toy", "--dataset", "demo:identities=8", "--limit", 12, "-e", "faulty",
               "-x", "range", "--no-controls", "--threads", 1, "-o", "run", *quiet, *more)  # fmt: skip


def test_quiet_is_not_silent_about_failures(cli):
    code, out, err = quietly(cli)
    assert (code, out) == (1, "")
    assert [line.partition(": ")[2].partition(": ")[0] for line in err.splitlines()] == [
        "local/faulty", "local/faulty local/range",
    ]  # fmt: skip
    code, out, err = quietly(cli)
    assert (code, out) == (1, "")
    assert err.startswith("failed before: ") and "--rerun failed" in err


def test_a_run_that_reuses_failed_results_says_so(cli):
    quietly(cli)
    code, out, _ = quietly(cli, quiet=())
    failed = sum(c["failed"] for c in commits("explain") + commits("score"))
    assert code == 1 and 0 < failed < 24
    assert f"0 results done, {36 + LOOKS} reused, 0 failed, {failed} failed before;" in out
    assert f"failed before: {failed} results; xaibench status run says why, --rerun failed tries again" in out
    code, out, err = quietly(cli, "--json")
    assert json.loads(out)["failed_before"] == failed
    assert f"failed before: {failed} results" in err
    code, out, _ = quietly(cli, "--rerun", "failed", quiet=())
    assert f"{failed} results done, {36 + LOOKS - failed} reused, {failed} failed;" in out and "before" not in out


# ---- damaged maps ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_damaged_map_file_is_named_and_its_maps_are_drawn_again(toy_eval, cli, jobs):
    toy_eval("-o", "run")
    (file,) = Path("run/maps").iterdir()
    file.write_bytes(file.read_bytes()[:100])
    code, out, _ = cli("status", "run")
    assert code == 3 and f"maps/{file.name}: 100 of" in out and "left: 12" in out
    code, out, err = toy_eval("-o", "run", "-x", "entropy-spatial", "--jobs", jobs)
    assert (code, json.loads(out)["done"]) == (0, 24)
    assert f"maps/{file.name}: 100 of" in err and "done again" in err
    assert len(RunFolder("run").table("maps")) == 12
    assert cli("status", "run", "--verify")[0] == 0
