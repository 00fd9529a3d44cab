"""Runs from end to end: what they write, how they resume, what they refuse."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from looks import LOOKS, STRUCTURE

from conftest import TOY, comparable, same_bytes
from xaibench.store.folder import RunFolder

TABLES = ("scores", "predictions", "curves")


def test_a_run_writes_every_planned_row(toy_eval, tmp_path):
    code, out, _ = toy_eval("-o", tmp_path / "run")
    assert code == 0
    said = json.loads(out)
    assert (said["failed"], said["reused"]) == (0, 0)
    folder = RunFolder(tmp_path / "run")
    scores = folder.table("scores").to_pylist()
    assert len(scores) == 12 and {r["status"] for r in scores} == {"ok"}
    assert {r["explainer"] for r in scores} == {"local/rows"} and {r["metric"] for r in scores} == {"local/range"}
    assert len(folder.table("predictions")) == 12
    assert len(folder.table("curves")) == 12 * 32
    assert len(folder.table("maps")) == 12
    assert said["forward"] == STRUCTURE + 12 + 12 * 5


def test_the_same_run_again_computes_nothing(toy_eval, tmp_path):
    toy_eval("-o", tmp_path / "run")
    code, out, _ = toy_eval("-o", tmp_path / "run")
    said = json.loads(out)
    assert code == 0 and said["done"] == 0 and said["forward"] == 0 and said["reused"] == 36 + LOOKS


@pytest.mark.parametrize("more", [("--task-samples", 4), ("--jobs", 2, "--task-samples", 5)])
def test_task_sizes_and_workers_change_no_byte(toy_eval, tmp_path, more):
    toy_eval("-o", tmp_path / "whole", "--task-samples", 32, explainer="random")
    toy_eval("-o", tmp_path / "parts", *more, explainer="random")
    for table in TABLES:
        assert same_bytes(comparable(tmp_path / "whole", table), comparable(tmp_path / "parts", table))


@pytest.mark.parametrize("form", ["torch", "onnx"])
def test_a_real_network_gives_the_same_bytes_in_other_tasks_and_order(cli, tmp_path, form):
    more = ["gradcam", "integrated-gradients:steps=3", "lime:samples=20", "rise-adv:masks=20,twin_steps=2"]
    for size in (4, 32):
        code, _, _ = cli(
            "eval", "--model", f"demo:form={form}", "--dataset", "demo:identities=8", "--limit", 10, "-e", "rise:masks=20",
            *(x for e in more for x in ("-e", e)), "-x", "deletion:steps=4", "-x", "insertion:steps=4", "-x", "relevance-mass", "--batch-size", 16,
            "--task-samples", size, "-q", "-o", tmp_path / str(size),
        )  # fmt: skip
        assert code == 0
    for table in TABLES:
        assert same_bytes(comparable(tmp_path / "4", table), comparable(tmp_path / "32", table))


def test_a_lower_limit_shows_fewer_rows_of_every_dataset(toy_eval, tmp_path):
    for limit in (12, 4):
        code, _, err = toy_eval("--dataset", "demo:split=train,identities=8", "-o", tmp_path / "run", limit=limit)
        assert code == 0, err
    for table in ("scores", "predictions", "maps"):
        rows = RunFolder(tmp_path / "run").table(table).to_pylist()
        datasets = Counter(r["dataset"] for r in rows)
        assert datasets == {"xaibench/demo:identities=8": 4, "xaibench/demo:identities=8,split=train": 4}


def test_a_run_that_requires_what_is_not_there_is_refused(toy_eval, tmp_path):
    (tmp_path / "run.toml").write_text("requires = ['xaibench-acme>=1.2']\n")
    code, _, err = toy_eval(tmp_path / "run.toml", "-o", tmp_path / "run")
    assert code == 3 and "xaibench-acme>=1.2" in err and "pip install" in err
    (tmp_path / "run.toml").write_text("requires = ['xaibench>=0.1']\n")
    assert toy_eval(tmp_path / "run.toml", "-o", tmp_path / "run")[0] == 0


def test_raising_the_limit_in_steps_equals_one_run(toy_eval, tmp_path):
    toy_eval("-o", tmp_path / "whole", limit=None)
    for limit in (5, 13, None):
        code, out, _ = toy_eval("-o", tmp_path / "steps", "--task-samples", 8, limit=limit)
        assert code == 0
    assert (
        json.loads(out)["reused"] == 13 * 3 + 1
    )  # predictions, maps and scores of the samples before, and the structure
    for table in TABLES:
        assert same_bytes(comparable(tmp_path / "whole", table), comparable(tmp_path / "steps", table))


def test_a_lower_limit_shows_fewer_rows_and_loses_none(toy_eval, cli, tmp_path):
    toy_eval("-o", tmp_path / "run")
    code, out, _ = toy_eval("-o", tmp_path / "run", limit=4)
    assert code == 0 and json.loads(out)["done"] == 2  # accuracy and card on fewer people
    assert len(RunFolder(tmp_path / "run").table("scores")) == 4
    assert json.loads(cli("status", tmp_path / "run", "--json")[1])["outside"] == 8 * 3
    toy_eval("-o", tmp_path / "run")
    assert len(RunFolder(tmp_path / "run").table("scores")) == 12


def test_killed_in_the_middle_and_resumed(toy_eval, tmp_path):
    command = [
        sys.executable, "-m", "xaibench", "eval", "--plugin", str(TOY), "--model", "toy", "--dataset",
        "demo:identities=8", "--limit", "12", "-e", "rows:pause=0.4", "-x", "range", "--no-controls", "--threads", "1",
        "--task-samples", "2", "-q", "-o", str(tmp_path / "killed"),
    ]  # fmt: skip
    process = subprocess.Popen(command)
    commits = tmp_path / "killed" / "commits"
    deadline = time.monotonic() + 120
    while len(list(commits.glob("*.parquet"))) < 12 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    rows = RunFolder(tmp_path / "killed").table("commits")
    before = sum(rows["done"].to_pylist())
    assert LOOKS + 12 + 4 <= before < LOOKS + 36
    code, out, _ = toy_eval("-o", tmp_path / "killed", "--task-samples", 2, explainer="rows:pause=0.4")
    assert code == 0 and json.loads(out)["reused"] == before
    toy_eval("-o", tmp_path / "calm", "--task-samples", 32, explainer="rows:pause=0.4")
    for table in TABLES:
        assert same_bytes(comparable(tmp_path / "calm", table), comparable(tmp_path / "killed", table))


def test_one_more_metric_only_scores(toy_eval, tmp_path):
    toy_eval("-o", tmp_path / "run")
    code, out, _ = toy_eval("-o", tmp_path / "run", "-x", "entropy-spatial")
    said = json.loads(out)
    assert code == 0 and said["done"] == 12 and said["forward"] == 0


def test_without_kept_maps_one_more_metric_explains_again(toy_eval, tmp_path):
    toy_eval("-o", tmp_path / "run", "--maps", "drop")
    assert not (tmp_path / "run" / "maps").exists()
    code, out, _ = toy_eval("-o", tmp_path / "run", "--maps", "drop", "-x", "entropy-spatial")
    assert code == 0 and json.loads(out)["done"] == 12
    assert len(RunFolder(tmp_path / "run").table("scores")) == 24


def test_a_failing_explainer_costs_only_its_samples(toy_eval, tmp_path):
    code, out, _ = toy_eval("-o", tmp_path / "run", "-e", "faulty")
    assert code == 1
    rows = RunFolder(tmp_path / "run").table("scores").to_pylist()
    faulty = [r for r in rows if r["explainer"] == "local/faulty"]
    failed = [r for r in faulty if r["status"] == "failed"]
    assert len(faulty) == 12 and 0 < len(failed) < 12
    assert json.loads(out)["failed"] == 2 * len(failed)  # maps and scores
    assert all("no luck with" in r["reason"] and r["value"] is None for r in failed)
    assert {r["status"] for r in rows if r["explainer"] == "local/rows"} == {"ok"}
    (maps,) = [
        c for c in RunFolder(tmp_path / "run").table("commits").to_pylist() if c["failed"] and c["kind"] == "explain"
    ]
    assert "RuntimeError: no luck" in maps["error"] and "Traceback" in maps["trace"]


def test_rerun_failed_tries_again(toy_eval, tmp_path):
    toy_eval("-o", tmp_path / "run", explainer="faulty")
    code, out, _ = toy_eval("-o", tmp_path / "run", explainer="faulty")
    assert code == 1 and json.loads(out)["done"] == 0  # what failed stays failed, and the exit code says so
    code, out, _ = toy_eval("-o", tmp_path / "run", "--rerun", "failed", explainer="faulty")
    said = json.loads(out)
    assert code == 1 and 0 < said["done"] == said["failed"] < 24
    commits = RunFolder(tmp_path / "run").table("commits").to_pylist()
    assert {c["attempts"] for c in commits if c["failed"]} == {2}


def test_a_worker_that_dies_is_replaced(toy_eval, tmp_path):
    spec = f"fatal:flag={tmp_path / 'happened'}"
    code, out, _ = toy_eval("-o", tmp_path / "run", "--jobs", 2, "--task-samples", 6, explainer=spec)
    assert code == 0 and json.loads(out)["failed"] == 0
    assert len(RunFolder(tmp_path / "run").table("scores")) == 12


def test_a_change_of_seed_is_refused_or_replaced(toy_eval, tmp_path):
    toy_eval("-o", tmp_path / "run", explainer="random")
    code, _, err = toy_eval("-o", tmp_path / "run", "--seed", 1, explainer="random")
    assert code == 3 and "--replace" in err and "seed was 0, now 1" in err
    code, _, _ = toy_eval("-o", tmp_path / "run", "--seed", 1, "--replace", explainer="random")
    assert code == 0
    assert set(RunFolder(tmp_path / "run").table("scores")["seed"].to_pylist()) == {1}
    plain = pq.read_table(tmp_path / "run" / "scores")
    assert set(plain["seed"].to_pylist()) == {1}
    assert len(plain) == len(RunFolder(tmp_path / "run").table("scores"))


def test_a_replaced_precision_leaves_no_row_of_the_old_one(toy_eval, tmp_path):
    toy_eval("-o", tmp_path / "run", "-x", "entropy-spatial", "-e", "random")
    code, _, err = toy_eval("-o", tmp_path / "run", "--precision", "bf16")
    assert code == 3 and "precision was fp32, now bf16" in err
    assert toy_eval("-o", tmp_path / "run", "--precision", "bf16", "--replace")[0] == 0
    plain = pq.read_table(tmp_path / "run" / "scores").select(["explainer", "metric"]).to_pylist()
    assert {tuple(r.values()) for r in plain} == {("local/rows", "local/range")}


def test_a_lost_run_file_is_read_from_the_tables(toy_eval, cli, tmp_path):
    toy_eval("-o", tmp_path / "run")
    (tmp_path / "run" / "run.toml").unlink()
    again = ("eval", tmp_path / "run" / "run.toml", "-o", tmp_path / "run", "--json")
    code, _, err = cli(*again)  # the tables hold no path of the machine, only the last part of it
    assert code == 2 and "toy.py" in err
    code, out, _ = cli(*again, "--plugin", TOY)
    assert code == 0 and json.loads(out)["done"] == 0
    assert (tmp_path / "run" / "run.toml").exists()


def test_a_run_of_the_old_layout_is_refused_in_one_line(toy_eval, cli, tmp_path):
    (tmp_path / "run" / "units").mkdir(parents=True)
    (tmp_path / "run" / "run.toml").write_text("[record]\n")
    for code, _, err in (toy_eval("-o", tmp_path / "run"), cli("status", tmp_path / "run")):
        assert code == 3 and "older layout" in err and "Traceback" not in err


def test_a_second_writer_is_refused_by_name(toy_eval, tmp_path):
    folder = RunFolder(tmp_path / "run")
    holder = (
        "from xaibench.store.folder import RunFolder; import sys, time\n"
        "with RunFolder(sys.argv[1]).writing():\n    print('held', flush=True); time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", holder, str(folder.path)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "held\n"
        code, _, err = toy_eval("-o", folder.path)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert code == 3 and f"process {process.pid}" in err


def test_a_full_disk_is_one_line_and_leaves_no_partial_file(toy_eval, tmp_path, monkeypatch):
    real, calls = os.fsync, []

    def full(handle):
        calls.append(handle)
        if len(calls) > 32:
            raise OSError(28, "No space left on device")
        real(handle)

    monkeypatch.setattr(os, "fsync", full)
    code, _, err = toy_eval("-o", tmp_path / "run", "--task-samples", 2)
    monkeypatch.undo()
    assert code == 3 and "No space left on device" in err and "Traceback" not in err
    for file in (tmp_path / "run").glob("*/*.parquet"):
        pq.read_table(file)
    code, _, _ = toy_eval("-o", tmp_path / "run", "--task-samples", 2)
    assert code == 0 and len(RunFolder(tmp_path / "run").table("scores")) == 12


def test_an_output_that_cannot_be_written_is_refused_before_the_run(toy_eval, tmp_path):
    (tmp_path / "file").write_text("")
    code, _, err = toy_eval("-o", tmp_path / "file" / "run")
    assert code == 3 and "--out" in err


def test_metrics_of_detector_and_family_scope(cli, tmp_path):
    arguments = ["eval", "--plugin", TOY, "--model", "toy-family", "--dataset", "demo:identities=8", "-e", "rows",
                 "-x", "range", "-x", "spread", "-x", "agreement", "--no-controls", "--json", "--threads", 1,
                 "-o", tmp_path / "run"]  # fmt: skip
    code, _, _ = cli(*arguments, "--limit", 6)
    assert code == 0
    code, _, _ = cli(*arguments, "--limit", 10)
    assert code == 0
    rows = RunFolder(tmp_path / "run").table("scores").to_pylist()
    family = [r for r in rows if r["scope"] == "family"]
    assert [r["item"] for r in family] == ["run-0~run-1", "run-0~run-2"]  # the value over six samples is superseded
    assert all(r["status"] == "ok" and r["sample"] == "" and r["member"] == "" for r in family)
    detector = [r for r in rows if r["scope"] == "detector"]
    assert [r["member"] for r in detector] == ["run-0"]
    assert {r["member"] for r in rows if r["scope"] == "sample"} == {"run-0"}
    assert len(pq.read_table(tmp_path / "run" / "scores")) == len(rows)  # nor is it in any file


def test_maps_that_a_family_metric_draws_again_are_planned(cli, tmp_path):
    """None is kept, so that every member's maps are drawn a second time, in every repeat."""

    def run(*more):
        return cli("eval", "--plugin", TOY, "--model", "toy-family", "--dataset", "demo:identities=8", "-e", "rows",
                   "-x", "agreement", "--no-controls", "--limit", 4, "--maps", "drop", "--threads", 1, "--json", "-q",
                   "-o", tmp_path / "run", *more)  # fmt: skip

    cells = json.loads(run("--dry-run")[1])["cells"]
    assert not next(c for c in cells if c["metric"])["exact"]
    planned = 3 * (STRUCTURE + 4) + sum(c["forward"] for c in cells)
    assert json.loads(run()[1])["forward"] == planned


def test_cells_that_cannot_run_have_one_row_with_the_reason(cli, tmp_path):
    code, _, _ = cli("eval", "--plugin", TOY, "--model", "blind", "--dataset", "demo:identities=8", "--limit", 4,
                     "-e", "gradcam", "-e", "rows", "-x", "range", "-x", "agreement", "--no-controls", "-q",
                     "-o", tmp_path / "run")  # fmt: skip
    assert code == 0
    rows = RunFolder(tmp_path / "run").table("scores").to_pylist()
    absent = {(r["explainer"], r["metric"]): r["reason"] for r in rows if r["status"] == "not_applicable"}
    assert "the toy is a black box" in absent["xaibench/gradcam", "local/range"]
    assert "family" in absent["local/rows", "local/agreement"]
    assert len(absent) == 3


def test_compute_batch_changes_smooth_scores_by_less_than_1e5(toy_eval, tmp_path):
    for batch in (1, 64):
        toy_eval("-o", tmp_path / str(batch), "--batch-size", batch, "-x", "deletion", limit=4)
    one, many = (comparable(tmp_path / str(b), "scores")["value"].to_numpy() for b in (1, 64))
    assert abs(one - many).max() < 1e-5


@pytest.mark.parametrize("pause", [0.6])
def test_interrupt_keeps_results_and_exits_130(tmp_path, pause):
    process = subprocess.Popen(
        [sys.executable, "-m", "xaibench", "eval", "--plugin", str(TOY), "--model", "toy", "--dataset",
         "demo:identities=8", "--limit", "12", "-e", f"rows:pause={pause}", "-x", "range", "--no-controls",
         "--task-samples", "2", "-q", "-o", str(tmp_path / "run")], stderr=subprocess.PIPE, text=True,
        # a shell that runs the tests in the background hands down an ignored SIGINT
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )  # fmt: skip
    commits = tmp_path / "run" / "commits"
    deadline = time.monotonic() + 120
    while len(list(commits.glob("*.parquet"))) < 12 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "interrupted" in err and "Traceback" not in err
    assert len(RunFolder(tmp_path / "run").table("scores")) >= 4


def rows_of(folder, **wanted):
    rows = RunFolder(folder).table("scores").to_pylist()
    return [r for r in rows if all(r[k] == v for k, v in wanted.items())]


def test_files_that_are_not_ours_are_left_alone(toy_eval, tmp_path):
    mine = tmp_path / "run" / "scores" / "mine.parquet"
    mine.parent.mkdir(parents=True)
    pq.write_table(pa.table({"mine": [1]}), mine)
    code, _, err = toy_eval("-o", tmp_path / "run")
    assert code == 3 and "holds scores" in err and "--out" in err
    assert mine.exists()


def test_every_repeat_of_a_set_score_is_kept(toy_eval, tmp_path):
    arguments = ("-o", tmp_path / "run", "--repeats", 2, "--limit", 4)
    toy_eval(*arguments, explainer="rise:masks=4", metric="spread")
    assert sorted(r["repeat"] for r in rows_of(tmp_path / "run")) == [0, 1]
    _, out, _ = toy_eval(*arguments, explainer="rise:masks=4", metric="spread")
    assert json.loads(out)["done"] == 0


def test_explainers_may_ask_for_maps_of_those_that_ask(toy_eval, tmp_path):
    toy_eval("-o", tmp_path / "run", "-e", "inverse:of=rows", "-e", "inverse:of=(inverse:of=rows)", "--limit", 4)
    assert len(rows_of(tmp_path / "run")) == 12


def test_a_dependency_that_joins_later_changes_no_key(toy_eval, tmp_path):
    toy_eval("-o", tmp_path / "run", "--limit", 4, explainer="inverse:of=rows")
    toy_eval("-o", tmp_path / "run", "--limit", 4, "-e", "rows", explainer="inverse:of=rows")
    assert len(rows_of(tmp_path / "run")) == 8


def test_datasets_with_the_same_sample_ids_are_kept_apart(toy_eval, tmp_path):
    """Their rows lie in the same files, from which the maps of one are read again for its set score."""
    both = ("-D", "demo:identities=8,seed=1", "-x", "spread", "--task-samples", 1)
    toy_eval(*both, "-o", tmp_path / "run", limit=6)
    toy_eval(*both, "-o", tmp_path / "run", limit=4)
    toy_eval(*both, "-o", tmp_path / "fresh", limit=4)
    for table in TABLES:
        assert same_bytes(comparable(tmp_path / "run", table), comparable(tmp_path / "fresh", table))
    assert len({r["value"] for r in rows_of(tmp_path / "run", metric="local/spread")}) == 2


def test_replace_with_a_raised_limit_leaves_no_row_twice(toy_eval, tmp_path):
    toy_eval("-o", tmp_path / "run", "--limit", 6)
    for _ in range(2):
        toy_eval("-o", tmp_path / "run", "--limit", 12, "--seed", 1, "--replace")
    assert len(rows_of(tmp_path / "run")) == 12


def test_a_cell_that_becomes_applicable_loses_its_row(toy_eval, tmp_path):
    toy_eval("-o", tmp_path / "run", "--limit", 1, metric="pointing-game", explainer="rows")
    toy_eval("-o", tmp_path / "run", "--limit", 4, "-x", "range", metric="pointing-game")
    assert not rows_of(tmp_path / "run", status="not_applicable")


def test_nothing_that_can_run_exits_4(cli, tmp_path):
    code, _, err = cli("eval", "--plugin", TOY, "--model", "blind", "--dataset", "demo:identities=8", "-e", "gradcam",
                       "-x", "range", "--no-controls", "-q", "-o", tmp_path / "run")  # fmt: skip
    assert code == 4 and "black box" in err


def test_a_component_that_exits_costs_only_its_own_results(toy_eval, tmp_path):
    code, _, _ = toy_eval("-o", tmp_path / "run", "-e", "exits", "--limit", 4)
    assert code == 1
    assert {r["status"] for r in rows_of(tmp_path / "run", explainer="local/rows")} == {"ok"}
    assert {r["status"] for r in rows_of(tmp_path / "run", explainer="local/exits")} == {"failed"}


def test_fail_fast_stops_at_the_first_failed_task(toy_eval, tmp_path):
    code, out, _ = toy_eval("-o", tmp_path / "run", "--fail-fast", "--task-samples", 3, explainer="faulty")
    assert code == 1 and 0 < json.loads(out)["failed"] <= 6


def test_tables_are_readable_by_duckdb(toy_eval, tmp_path):
    duckdb = pytest.importorskip("duckdb")
    toy_eval("-o", tmp_path / "run")
    query = (
        f"select explainer, avg(value), count(*) from '{tmp_path}/run/scores/*.parquet' where status='ok' group by 1"
    )
    ((name, mean, count),) = duckdb.sql(query).fetchall()
    assert name == "local/rows" and count == 12 and mean > 0


def test_only_tables_lie_among_the_tables(toy_eval, tmp_path):
    toy_eval("-o", tmp_path / "run")
    assert not list((tmp_path / "run" / ".staging").iterdir())
    for table in ("scores", "commits", "maps", "predictions", "curves", "runs", "components", "samples"):
        assert {f.suffix for f in (tmp_path / "run" / table).iterdir()} == {".parquet"}


def test_run_toml_does_the_same_run(toy_eval, cli, tmp_path):
    toy_eval("-o", tmp_path / "run")
    code, out, _ = cli("eval", tmp_path / "run" / "run.toml", "-o", tmp_path / "run", "--json")
    assert code == 0 and json.loads(out)["done"] == 0


@pytest.fixture(autouse=True)
def _in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
