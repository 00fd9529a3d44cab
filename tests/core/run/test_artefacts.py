"""Stored artefacts: made once a run whoever asks, kept with their status, the same whatever way the run went."""

from __future__ import annotations

import json

import pytest
from looks import MOST, STRUCTURE

from conftest import comparable, same_bytes
from xaibench.store.folder import RunFolder

PAIR = ("--explainer", "shared-too")


@pytest.fixture
def shared(toy_eval):
    """A run of two explainers that share an artefact."""
    return lambda out, *more, **kw: toy_eval(*PAIR, "--out", out, *more, explainer="shared", **kw)


def test_an_artefact_is_made_once_for_all_that_ask(shared, tmp_path):
    code, out, _ = shared(tmp_path / "run")
    assert code == 0, out
    rows = RunFolder(tmp_path / "run").table("artefacts").to_pylist()
    assert len(rows) == 12
    assert {r["forward"] for r in rows} == {3}
    said = json.loads(out)
    assert said["forward"] == STRUCTURE + 12 + 12 * 3  # clean predictions, and three copies of each picture once


def test_its_status_and_numbers_are_in_the_tables(shared, tmp_path):
    shared(tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    rows = {r["sample"]: r for r in folder.table("artefacts").to_pylist()}
    assert {r["status"] for r in rows.values()} == {"ok", "undefined"}
    for row in rows.values():
        numbers = dict(row["numbers"])
        assert (row["status"] == "undefined") == (numbers["low"] > 0.985)
        assert (row["reason"] == "all copies are called fake") == (row["status"] == "undefined")
    for score in folder.table("scores").to_pylist():
        assert score["status"] == rows[score["sample"]]["status"]
    for m in folder.table("maps").to_pylist():
        if m["status"] == "ok":
            assert dict(m["details"]) == {"low": dict(rows[m["sample"]]["numbers"])["low"]}


@pytest.mark.parametrize("more", [("--task-samples", 3), ("--jobs", 2, "--task-samples", 6), ("--maps", "drop")])
def test_tables_do_not_depend_on_how_the_work_is_cut(shared, tmp_path, more):
    shared(tmp_path / "one")
    code, out, _ = shared(tmp_path / "two", *more)
    assert code == 0, out
    for table in ("artefacts", "scores"):
        assert same_bytes(comparable(tmp_path / "one", table), comparable(tmp_path / "two", table))
    made = [c for c in RunFolder(tmp_path / "two").table("commits").to_pylist() if c["kind"] == "artefact"]
    assert sum(c["forward"] for c in made) == 36


def test_one_more_explainer_finds_what_was_made(toy_eval, tmp_path):
    toy_eval("--out", tmp_path / "run", explainer="shared")
    code, out, _ = toy_eval(*PAIR, "--out", tmp_path / "run", explainer="shared")
    assert code == 0
    assert json.loads(out)["forward"] == 0


def test_the_dry_run_tells_its_cost(shared, tmp_path):
    _, out, _ = shared(tmp_path / "run", "--dry-run")
    plan = json.loads(out)
    assert [(a["artefact"], a["passes"]["forward"]) for a in plan["artefacts"]] == [("noise:copies=3", 36)]
    assert plan["passes"]["forward"] == MOST + 12 + 36


def test_the_leaderboard_says_which_pictures_have_none(shared, tmp_path):
    from xaibench_report.boards.leaderboard import build_leaderboards
    from xaibench_report.values.run_tables import read_run

    shared(tmp_path / "run")
    rows = RunFolder(tmp_path / "run").table("artefacts").to_pylist()
    without = sum(r["status"] != "ok" for r in rows)
    (detection,) = build_leaderboards(*read_run(tmp_path / "run")).detections
    told = [(x.what, x.status, x.reason, x.count) for x in detection.left_out]
    assert told == [("noises", "undefined", "all copies are called fake", without)]


@pytest.mark.parametrize("table", ["artefacts", "scores"])
def test_a_broken_file_is_named_and_mended(shared, tmp_path, table):
    shared(tmp_path / "run")
    file = sorted((tmp_path / "run" / table).glob("*.parquet"))[0]
    file.write_bytes(file.read_bytes()[:100])
    from xaibench.api import StoreError
    from xaibench_report.values.run_tables import read_run

    with pytest.raises(StoreError, match=f"{table}/{file.name} is cut short: 100 of") as refused:
        read_run(tmp_path / "run")
    assert "give the same command again" in str(refused.value.mend)
    code, _, err = shared(tmp_path / "run")
    assert code == 0 and f"{table}/{file.name}" in err
    shared(tmp_path / "whole")
    assert same_bytes(comparable(tmp_path / "whole", table), comparable(tmp_path / "run", table))


def test_a_flipped_bit_in_an_artefact_is_found_and_mended(shared, toy_eval, tmp_path):
    toy_eval("--out", tmp_path / "run", explainer="shared")
    (file,) = (tmp_path / "run" / "artefacts").glob("*.parquet")
    data = bytearray(file.read_bytes())
    data[len(data) // 3] ^= 1
    file.write_bytes(data)
    code, _, err = shared(tmp_path / "run")
    assert code == 0 and f"artefacts/{file.name}: damaged; its work is done again" in err
    shared(tmp_path / "whole")
    assert same_bytes(comparable(tmp_path / "whole", "scores"), comparable(tmp_path / "run", "scores"))
