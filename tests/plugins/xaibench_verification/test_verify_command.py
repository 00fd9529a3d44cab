"""``xaibench verify`` on the command line: the answer, its cost, exit codes and ``--json``."""

from __future__ import annotations

import json

import pytest
from toy_runs import toy_run

from xaibench_verification.command import answer_lines
from xaibench_verification.row_comparison import ValueChange, compare_rows
from xaibench_verification.verification import CheckedRow, PreparedVerification, Verification


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    out = tmp_path_factory.mktemp("verify") / "run"
    toy_run(out, limit=3)
    return out


def test_the_answer_comes_first_and_the_cost_before_it(cli, out):
    code, said, err = cli("verify", out, "--rows", 6, "--seed", 1)
    assert code == 0 and said.splitlines()[0] == "6 of 6 rows equal to the bit"
    assert "rows to compute: 6, 2 of whole data sets; at most 33 forward and 0 backward passes, about " in err
    assert " s of detector work\n" in err


def test_json_gives_every_row(cli, out):
    code, said, _ = cli("verify", out, "--rows", 100, "--json")
    found = json.loads(said)
    assert (code, found["schema"], found["exit"]) == (0, "xaibench.verify/1", 0)
    # predictions, maps and ranges of three samples; spread, accuracy and card
    assert found["rows"] == found["equal"] == 3 * 3 + 3 and found["further_rows"] == 0
    assert found["different"] == found["close"] == found["unavailable"] == 0
    assert {row["state"] for row in found["checked"]} == {"equal"} and found["not_as_recorded"] == []


def test_beyond_max_hours_it_names_the_rows_that_need_no_whole_set(cli, out):
    code, said, err = cli("verify", out, "--rows", 6, "--max-hours", 0)
    assert code == 3 and not said
    assert "--yes starts it; --rows 4 leaves out the rows that need a whole data set" in err
    assert cli("verify", out, "--rows", 6, "--max-hours", 0, "--yes")[0] == 0


def test_an_interrupt_is_no_verdict(cli, out, monkeypatch):
    def interrupt(self, *, progress):
        raise KeyboardInterrupt

    monkeypatch.setattr(PreparedVerification, "compute", interrupt)
    code, said, err = cli("verify", out, "--rows", 2)
    assert (code, said, err.splitlines()[-1]) == (130, "", "xaibench: interrupted: no verdict")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--rows", 0], 2, "--rows=0 is wrong"),
        (["-m", "a", "-m", "b"], 2, "the run has 1 model, and --model gives 2"),
        (["-m", "nosuch"], 3, "cannot be computed again: no model called 'nosuch'"),
        (["-D", "./nosuch"], 3, "--model and --dataset say where it lies now"),
    ],
)
def test_what_is_refused_says_why_and_how_to_mend_it(cli, out, arguments, code, message):
    result, said, err = cli("verify", out, *arguments)
    assert (result, said) == (code, "") and message in err and "Traceback" not in err


# ---- the lines ------------------------------------------------------------------------------------------------------


def row(state, **values):
    address = {
        "kind": "score", "model": "xaibench/demo", "member": "demo-0", "dataset": "faces", "explainer": "xaibench/lime",
        "metric": "xaibench/deletion:steps=4", "artefact": "", "repeat": 0, "sample": "real/1", "drawn": True,
    }  # fmt: skip
    return CheckedRow(**address | {"state": state} | values)


def change(**values):
    return ValueChange(
        **{"table": "scores", "item": "deletion repeat 0", "column": "value", "stored": 0.5, "recomputed": 0.25}
        | {"distance": 0.25} | values
    )  # fmt: skip


def test_rows_that_are_not_equal_are_shown_with_both_values():
    rows = (
        row("equal"),
        row("different", changes=(change(), change(column="status", stored="ok", recomputed="failed", distance=None))),
        row("unavailable", reason="sample real/1 of faces is not as it was"),
        row("close", drawn=False, changes=(change(recomputed=0.5005, distance=0.0005),)),
    )
    found = Verification(run="run", rows=rows, values=9, seed=4, changes=("torch was 1, now 2",), tolerance=0.001)
    assert list(answer_lines(found)) == [
        "1 of 3 rows equal to the bit; 1 different; 1 within 0.001 (not the machine, versions or code of the run);"
        " 1 cannot be computed again",
        "compared: 9 values, curve points and maps of the drawn rows and of 1 that they need; seed 4",
        "different: deletion:steps=4 of lime; sample real/1 of faces; demo demo-0",
        "  deletion repeat 0: stored 0.5, recomputed 0.25 (by 0.25)",
        "  deletion repeat 0 status: stored ok, recomputed failed",
        "close: deletion:steps=4 of lime; sample real/1 of faces; demo demo-0",
        "  deletion repeat 0: stored 0.5, recomputed 0.5005 (by 0.0005)",
        "cannot be computed again: deletion:steps=4 of lime; sample real/1 of faces; demo demo-0",
        "  sample real/1 of faces is not as it was",
        "not as the run records it: torch was 1, now 2",
    ]
    assert found.exit_code == 1
    assert Verification(run="", rows=rows[2:], values=0, seed=0, changes=(), tolerance=0.0).exit_code == 3
    assert Verification(run="", rows=rows[3:], values=0, seed=0, changes=(), tolerance=0.0).exit_code == 0


NAN = float("nan")


@pytest.mark.parametrize(
    ("stored", "recomputed", "distance"),
    [
        (0.0, -0.0, 0.0),
        (0.5, 0.75, 0.25),
        (100.0, 101.0, 0.01),
        (NAN, 1.0, None),
        (None, 1.0, None),
        (float("inf"), 1.0, None),
    ],
)
def test_values_are_compared_to_the_bit(stored, recomputed, distance):
    def rows(value):
        return {"scores": [{"score": "s", "item": "", "repeat": 0, "value": value, "status": "ok", "run": str(value)}]}

    count, (found,) = compare_rows(rows(stored), rows(recomputed))
    assert count == 1 and (found.item, found.column) == ("s repeat 0", "value") and found.distance == distance
    assert compare_rows(rows(stored), rows(stored)) == (1, [])


def test_maps_differ_by_their_largest_stored_value_and_failures_by_no_text():
    maps = [
        {"maps": [{"view": "", "repeat": 1, "map": m, "reason": None}]} for m in (b"\x00\x3c\x00\x38", b"\x00\x38" * 2)
    ]
    _, (found,) = compare_rows(*maps)  # 1 and 0.5; twice 0.5
    assert (found.item, found.distance) == ("repeat 1", 0.5)
    failed = [{"predictions": [{"status": "failed", "reason": text}]} for text in ("at 12:01", "at 12:02")]
    assert compare_rows(*failed) == (1, [])
