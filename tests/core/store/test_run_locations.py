"""Runs whose folder is an fsspec URL: the same bytes, and what every command makes of them."""

from __future__ import annotations

import json
import os
import pickle

import fsspec
import pyarrow.parquet as pq
import pytest

from conftest import comparable, same_bytes
from xaibench import evaluate, open_run
from xaibench.api import UsageError
from xaibench.store.files import open_files


@pytest.fixture(autouse=True)
def _forget():
    yield
    fsspec.filesystem("memory").store.clear()


def test_a_run_in_memory_holds_the_same_bytes(toy_eval, cli, tmp_path):
    """It is resumed, also from its own run file, read by every command, and merged to a folder and back."""
    small = ("-x", "spread", "--task-samples", 2)
    assert toy_eval(*small, "-o", "memory://runs/a", limit=4)[0] == 0
    assert toy_eval(*small, "-o", "memory://runs/a", limit=6)[0] == 0
    toy_eval(*small, "-o", tmp_path / "local", limit=6)
    for table in ("scores", "predictions", "curves", "maps"):
        assert same_bytes(comparable("memory://runs/a", table), comparable(tmp_path / "local", table))
    for _ in range(2):  # the second time without the file
        assert json.loads(cli("eval", "memory://runs/a/run.toml", "--json", "-q")[1])["done"] == 0
        fsspec.filesystem("memory").rm("/runs/a/run.toml")
    code, out, _ = cli("status", "memory://runs/a", "--verify", "--json")
    assert code == 0 and json.loads(out)["left"] == 0
    assert cli("report", "memory://runs/a", "--out", tmp_path / "page.html")[0] == 0
    assert "local/rows" in (tmp_path / "page.html").read_text(encoding="utf-8")
    code, _, err = cli("report", "memory://runs/a")
    assert code == 2 and "--out" in err
    assert cli("export", "memory://runs/a", "--out", tmp_path / "scores.parquet")[0] == 0
    assert len(pq.read_table(tmp_path / "scores.parquet")) == 7
    assert cli("merge", "memory://runs/a", "-o", tmp_path.as_uri() + "/folder")[0] == 0
    assert cli("merge", tmp_path.as_uri() + "/folder", "-o", "memory://runs/b")[0] == 0
    assert same_bytes(comparable("memory://runs/b", "scores"), comparable(tmp_path / "local", "scores"))
    assert (tmp_path / "folder" / "run.toml").exists()


def test_a_damaged_file_in_memory_is_named_and_its_work_done_again(toy_eval, cli):
    toy_eval("-o", "memory://runs/a", limit=4)
    files = fsspec.filesystem("memory")
    (path,) = files.glob("/runs/a/scores/*.parquet")
    files.pipe_file(path, files.cat_file(path)[:-1])
    code, _, err = cli("export", "memory://runs/a")
    assert code == 3 and path.lstrip("/") in err and "cut short" in err
    code, out, _ = toy_eval("-o", "memory://runs/a", limit=4)
    assert code == 0 and json.loads(out)["done"] == 4


def test_a_run_in_memory_takes_no_workers_and_one_writer(toy_eval):
    code, _, err = toy_eval("-o", "memory://runs/a", "--jobs", 2)
    assert code == 3 and "--jobs" in err
    with open_files("memory://runs/a").lock():
        code, _, err = toy_eval("-o", "memory://runs/a", limit=4)
    assert code == 3 and f"process {os.getpid()} of" in err


def test_evaluate_takes_a_url():
    run = evaluate(
        "demo", "demo:identities=8", explainers=["edges"], metrics=["relevance-mass"], limit=4, controls=False,
        out="memory://runs/a",
    )  # fmt: skip
    assert str(run.path) == "memory://runs/a" and len(run.scores)
    again = pickle.loads(pickle.dumps(open_run("memory://runs/a")))
    assert same_bytes(again.scores, run.scores)
    sample = run.predictions["sample"][0].as_py()
    assert (again.map(sample, "edges") == run.map(sample, "edges")).all()
    with pytest.raises(UsageError):
        run.to_arrow("absent")


@pytest.mark.parametrize(("url", "words"), [("absent://bucket/run", "not known"), ("memory://absent", "is no run")])
def test_a_location_that_is_none_is_refused(cli, url, words):
    code, _, err = cli("status", url)
    assert code == 3 and url in err and words in err and "Traceback" not in err
