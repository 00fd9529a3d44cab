"""A run that adds pictures until the order of its explainers is settled."""

from __future__ import annotations

import json

import pytest
from toy_runs import differences

from conftest import TOY
from xaibench import evaluate, open_run

SHARED = ("eval", "--plugin", TOY, "--model", "toy", "--dataset", "demo:identities=60", "--no-controls",
          "--no-isolation", "--threads", 1, "-x", "range", "-x", "spread", "-e", "rows")  # fmt: skip
APART = ("-e", "rows:bands=2")
ALIKE = ("-e", "rows:pause=1e-6")


def evaluated(cli, *arguments, code=0):
    found, out, err = cli(*SHARED, *arguments, "--json")
    assert found == code, err
    return json.loads(out)


def test_it_stops_at_a_checkpoint_and_is_the_run_of_so_many_pictures(cli, tmp_path):
    arguments = (*APART, "--limit", 90)
    stopped = evaluated(cli, *arguments, "--until-settled", "range", "-o", tmp_path / "stopped")
    (order,) = stopped["until_settled"]
    assert order["settled"]
    assert order["planned"] == 90
    assert order["samples"] < 90
    assert order["groups"] >= 20
    assert len(order["told_apart"]) == 1
    assert order["told_apart"][0] == order["order"]
    evaluated(cli, *APART, "--limit", order["samples"], "-o", tmp_path / "limited")
    assert not differences(tmp_path / "stopped", tmp_path / "limited")
    run = open_run(tmp_path / "stopped")
    assert run.settings["limit"] == order["samples"]
    assert run.settings["until-settled"] == ["range"]
    again = evaluated(cli, *arguments, "--until-settled", "range", "-o", tmp_path / "stopped")
    assert again["done"] == 0
    assert again["until_settled"] == stopped["until_settled"]


def test_explainers_that_are_alike_take_all_pictures(cli, tmp_path):
    found = evaluated(cli, *APART, *ALIKE, "--limit", 40, "--until-settled", "range", "-o", tmp_path / "run")
    (order,) = found["until_settled"]
    assert not order["settled"]
    assert (order["samples"], order["planned"]) == (40, 40)
    code, out, _ = cli(*SHARED, *APART, *ALIKE, "--limit", 40, "--until-settled", "range", "-o", tmp_path / "run")
    assert code == 0
    assert "not settled: local/range.range on toy: not told apart: local/rows" in out


def test_the_best_alone_is_enough_where_it_is_asked_for(cli, tmp_path):
    """``rows`` and its like are told apart from ``rows:bands=2``, not from each other."""
    arguments = (*APART, *ALIKE, "--limit", 60, "-o", tmp_path / "run")
    (order,) = evaluated(cli, *arguments, "--until-settled", "best:range")["until_settled"]
    assert len(order["told_apart"]) == 2
    assert order["settled"] == order["order"][0].endswith("bands=2")
    assert order["best_alone"]


def test_a_data_set_that_is_larger_than_the_first_is_tested_to_its_end(cli, tmp_path):
    small = (*SHARED[:5], "--dataset", "demo:identities=6", *SHARED[5:])
    code, out, err = cli(
        *small, *APART, *ALIKE, "--limit", 40, "--until-settled", "range", "-o", tmp_path / "run", "--json"
    )
    assert code == 0, err
    orders = json.loads(out)["until_settled"]
    assert orders[0]["planned"] < orders[1]["planned"] == 40
    assert all(order["samples"] == order["planned"] for order in orders)


@pytest.mark.parametrize(
    ("question", "arguments", "what"),
    [
        ("rnage", (), "--until-settled rnage: the run has no such score"),
        ("spread", (), "--until-settled spread: no explainers are ranked by a mean of"),
        ("range", ("--part", "1/2"), "--until-settled needs all samples, and --part has some"),
    ],
)
def test_a_question_that_cannot_be_answered_is_refused_before_anything_runs(cli, tmp_path, question, arguments, what):
    code, _, err = cli(*SHARED, *APART, *arguments, "--until-settled", question, "-o", tmp_path / "run")
    assert code == 3
    assert what in err
    assert not (tmp_path / "run").exists()


def test_one_explainer_has_no_order(cli, tmp_path):
    code, _, err = cli(*SHARED, "--until-settled", "range", "-o", tmp_path / "run")
    assert code == 3
    assert "fewer than two explainers have this score" in err


def test_from_python_the_run_in_memory_stops_too():
    run = evaluate(
        "toy", "demo:identities=60", explainers=["rows", "rows:bands=2"], metrics=["range"], controls=False,
        isolation=False, threads=1, limit=90, plugin=[str(TOY)], until_settled=["range"],
    )  # fmt: skip
    assert 20 <= len(run.predictions) < 90
    assert run.settings["limit"] == len(run.predictions)
