"""Metrics of scope model: planned, run, resumed and recorded once a detector, without any map."""

from __future__ import annotations

import json

import pytest
from looks import STRUCTURE

from conftest import TOY, comparable, same_bytes
from xaibench.store.folder import RunFolder


def channels(cli, out, *more, model="toy-family", metric=("channels",)):
    return cli(
        "eval", "--plugin", TOY, "--model", model, "--dataset", "demo:identities=8", "--limit", 10, "--threads", 1,
        *(x for m in metric for x in ("-x", m)), "--json", "-q", "-o", out, *more,
    )  # fmt: skip


def test_a_detector_is_measured_once_and_without_maps(cli, tmp_path):
    code, out, _ = channels(cli, tmp_path / "run", "--members", "all")
    said = json.loads(out)
    assert code == 0 and said["forward"] == 3 * (STRUCTURE + 10 + 10)  # clean predictions, then the metric's own
    folder = RunFolder(tmp_path / "run")
    assert len(folder.table("maps")) == 0
    rows = folder.table("scores").to_pylist()
    assert {(r["explainer"], r["scope"], r["sample"], r["target"]) for r in rows} == {("", "model", "", None)}
    assert sorted({r["member"] for r in rows}) == ["run-0", "run-1", "run-2"]
    values = {(r["member"], r["score"]): r["value"] for r in rows}
    for member in ("run-0", "run-1", "run-2"):
        assert values[member, "count"] == 10
        assert values[member, "asked"] == pytest.approx(values[member, "known"], abs=1e-7)


def test_task_sizes_and_workers_change_no_byte_and_nothing_runs_twice(cli, tmp_path):
    channels(cli, tmp_path / "whole")
    channels(cli, tmp_path / "parts", "--task-samples", 3, "--jobs", 2)
    assert same_bytes(comparable(tmp_path / "whole", "scores"), comparable(tmp_path / "parts", "scores"))
    code, out, _ = channels(cli, tmp_path / "whole")
    assert code == 0 and json.loads(out)["forward"] == 0


def test_a_dry_run_counts_its_passes_exactly(cli, tmp_path):
    code, out, _ = channels(cli, tmp_path / "run", "--dry-run", model="toy")
    cell = next(c for c in json.loads(out)["cells"] if c["metric"] == "local/channels")
    assert code == 0 and (cell["explainer"], cell["forward"], cell["exact"]) == ("", 10, True)


def test_it_stands_beside_metrics_of_maps(cli, tmp_path):
    code, _, _ = channels(
        cli, tmp_path / "run", "-e", "rows", "--no-controls", metric=("channels", "range", "agreement")
    )
    rows = RunFolder(tmp_path / "run").table("scores").to_pylist()
    assert code == 0
    assert {(r["metric"], r["explainer"]) for r in rows} == {
        ("local/channels", ""), ("local/range", "local/rows"), ("local/agreement", "local/rows"),
    }  # fmt: skip


def test_what_the_detector_lacks_and_what_fails_is_said(cli, tmp_path, monkeypatch):
    code, _, err = channels(cli, tmp_path / "blind", model="blind")
    assert code == 4 and "black box" in err
    monkeypatch.setenv("TOY_CHANNELS_FAIL", "1")
    code, out, _ = channels(cli, tmp_path / "run", model="toy")
    assert code == 1 and json.loads(out)["failed"] == 1
    rows = RunFolder(tmp_path / "run").table("scores").to_pylist()
    assert {(r["status"], r["reason"]) for r in rows} == {("failed", "RuntimeError: told to fail")}
    monkeypatch.delenv("TOY_CHANNELS_FAIL")
    code, out, _ = channels(cli, tmp_path / "run", "--rerun", "failed", model="toy")
    assert code == 0
    assert {r["status"] for r in RunFolder(tmp_path / "run").table("scores").to_pylist()} == {"ok"}


def test_raising_the_limit_replaces_the_value(cli, tmp_path):
    for limit in (4, 10):
        code, _, _ = cli(
            "eval", "--plugin", TOY, "--model", "toy", "--dataset", "demo:identities=8", "--limit", limit, "--threads", 1,
            "-x", "channels", "-q", "-o", tmp_path / "run",
        )  # fmt: skip
        assert code == 0
    counts = [r["value"] for r in RunFolder(tmp_path / "run").table("scores").to_pylist() if r["score"] == "count"]
    assert counts == [10]


def test_predictions_made_again_make_its_value_again(cli, tmp_path, monkeypatch):
    monkeypatch.setenv("TOY_PREDICTIONS_FAIL", "1")
    assert channels(cli, tmp_path / "run", "--accept-detector", model="toy")[0] == 1
    monkeypatch.delenv("TOY_PREDICTIONS_FAIL")
    code, out, _ = channels(cli, tmp_path / "run", "--rerun", "failed", model="toy")
    said = json.loads(out)
    assert (code, said["done"], said["reused"]) == (0, 11 + 2, 1)  # structure and accuracy too; the card stays
    rows = RunFolder(tmp_path / "run").table("scores").to_pylist()
    assert [r["value"] for r in rows if r["score"] == "count"] == [10]


def test_status_counts_values_of_sets_and_detectors_that_are_not_there_yet(cli, tmp_path, monkeypatch):
    out, arguments = tmp_path / "run", ("-e", "rows", "--no-controls")
    with monkeypatch.context() as patch:  # as where the run was killed before them
        patch.setattr("xaibench.plan.due.Due.set_tasks", lambda *_: iter(()))
        patch.setattr("xaibench.plan.due.Due.model_tasks", lambda *_: iter(()))
        channels(cli, out, *arguments, model="toy", metric=("channels", "spread"))
    assert json.loads(cli("status", out, "--json")[1])["left"] == 2
    channels(cli, out, *arguments, model="toy", metric=("channels", "spread"))
    assert json.loads(cli("status", out, "--json")[1])["left"] == 0


def test_where_nothing_can_run_the_metric_is_named(cli, tmp_path):
    _, _, err = channels(cli, tmp_path / "run", model="blind")
    assert "no metric can run: local/channels: needs activations" in err


def test_where_nothing_can_run_the_rows_that_say_why_are_written_and_nothing_is_computed(cli, tmp_path):
    code, _, _ = channels(cli, tmp_path / "run", model="blind")
    run = RunFolder(tmp_path / "run")
    (row,) = run.table("scores").to_pylist()
    assert (code, row["status"], row["metric"]) == (4, "not_applicable", "local/channels")
    assert "needs activations" in row["reason"]
    assert sum(c["forward"] for c in run.table("commits").to_pylist()) == 0
    assert channels(cli, tmp_path / "run", model="blind")[0] == 4  # and again in the same folder
