"""Parts of a dataset, merged into one run: what a part says, and that the whole is equal to the byte."""

from __future__ import annotations

import json

import pytest

from conftest import TOY, comparable, same_bytes
from xaibench import open_run
from xaibench.store.folder import RunFolder

TABLES = ("scores", "predictions", "curves")
SHARED = ("eval", "--plugin", TOY, "--dataset", "demo:identities=8", "-e", "rows", "-x", "range", "-x", "spread",
          "--no-controls", "--limit", 11, "--threads", 1, "--maps", "keep")  # fmt: skip
FAMILY = (*SHARED, "--model", "toy-family", "-e", "random", "-x", "agreement")
STRANGERS = (*SHARED, "--model", "toy", "-e", "other-mask", "-x", "channels")


@pytest.fixture
def merge(cli):
    """``xaibench merge --json``: the object, after exit code 0."""

    def run(*arguments):
        code, out, err = cli("merge", *arguments, "--json")
        assert code == 0, err
        return json.loads(out) | {"stderr": err}

    return run


@pytest.mark.parametrize(("arguments", "count", "sets", "passes"), [(FAMILY, 3, 7, 0), (STRANGERS, 2, 4, 11)])
def test_parts_merged_and_completed_equal_one_run(cli, merge, tmp_path, arguments, count, sets, passes):
    """Left are the measures of sets, one for each explainer and metric, of the detector, which calls it, and the
    accuracy of each member. The card, which too few people leave untried, is asked about the whole."""
    whole, joined = tmp_path / "whole", tmp_path / "joined"
    parts = [tmp_path / f"part{i}" for i in range(1, count + 1)]
    assert cli(*arguments, "-q", "-o", whole)[0] == 0
    for i, part in enumerate(parts, 1):
        assert cli(*arguments, "-q", "--part", f"{i}/{count}", "-o", part)[0] == 0
    said = merge(*parts, "-o", joined)
    assert said["left"] == sets and not said["notes"]
    assert sum(run["taken"] for run in said["runs"]) == said["results"] - sets
    code, out, _ = cli("eval", joined / "run.toml", "--json", "-q")
    completed = json.loads(out)
    assert (code, completed["done"], completed["forward"]) == (0, sets + 1, passes)
    for table in (*TABLES, "maps"):
        assert same_bytes(comparable(joined, table), comparable(whole, table)), table
    assert order(joined) == order(whole)
    before = state(joined)
    assert sum(run["taken"] for run in merge(*parts, "-o", joined)["runs"]) == 0
    assert state(joined) == before


def test_a_part_evaluates_its_samples_and_shows_the_others(cli, tmp_path):
    code, _, err = cli(*STRANGERS, "--part", "2/3", "-o", tmp_path / "run")
    assert code == 0 and "part 2/3, 4 of 11 samples" in err and "the first 11 of 40 samples" in err
    run = open_run(tmp_path / "run")
    samples = {r["sample"]: r for r in run.to_arrow("samples").to_pylist()}
    evaluated = {name: r["order"] for name, r in samples.items() if r["order"] is not None}
    assert sorted(evaluated.values()) == [1, 4, 7, 10]
    scores = run.scores.to_pylist()
    assert {r["sample"] for r in scores} == {"", *evaluated}
    shown = {samples[name][column] for name in evaluated for column in ("pair", "stranger")} - {None}
    assert shown - set(evaluated) == set(samples) - set(evaluated) != set()
    assert [r["value"] for r in scores if r["score"] == "count"] == [4]


def test_parts_have_folders_of_their_own(toy_eval, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plans = [json.loads(toy_eval("--dry-run", *part)[1]) for part in ((), ("--part", "1/2"), ("--part", "2/2"))]
    assert len({plan["out"] for plan in plans}) == 3


@pytest.mark.parametrize("part", ["0/2", "3/2", "2", "1/0", "a/b"])
def test_a_part_that_is_none_is_refused(toy_eval, tmp_path, part):
    code, _, err = toy_eval("--part", part, "-o", tmp_path / "run")
    assert code == 2 and "I/N" in err and not (tmp_path / "run").exists()


def test_more_parts_than_samples_are_refused(toy_eval, tmp_path):
    code, _, err = toy_eval("--part", "5/5", "-o", tmp_path / "run", limit=4)
    assert code == 4 and "part 5/5 of 4 samples is empty" in err


def order(folder):
    rows = RunFolder(folder).table("samples").to_pylist()
    return {r["sample"]: r["order"] for r in rows}


def state(folder):
    """Every file of a run with its contents."""
    return {p.relative_to(folder): p.read_bytes() for p in sorted(folder.rglob("*.*")) if p.is_file()}
