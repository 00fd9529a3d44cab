"""``xaibench eval`` before hours are spent: the estimate, the question, the refusal."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys

import pytest

from conftest import TOY
from xaibench.cli.evaluate import _duration

ARGUMENTS = ["eval", "--plugin", TOY, "-m", "toy", "-D", "demo:identities=8", "-e", "rows", "-x", "range", "-x",
             "deletion:steps=5", "--no-controls", "--limit", 4, "--threads", 1, "-o", "run"]  # fmt: skip


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def slow(monkeypatch):
    """Every pass takes 100 s."""
    monkeypatch.setattr("xaibench.plan.estimate._seconds_a_picture", lambda *_, **__: 100.0)


@pytest.mark.usefixtures("slow")
def test_where_nobody_can_answer_it_exits_with_3_and_names_yes(cli, tmp_path):
    code, out, err = cli(*ARGUMENTS, "--quiet")
    assert code == 3
    assert out == ""
    assert "more than --max-hours 1" in err
    assert "--yes" in err
    assert "deletion:steps=5" in err.partition("dearest metrics:")[2].partition("dearest explainers:")[0]
    assert "rows" in err.partition("dearest explainers:")[2]
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("slow")
@pytest.mark.parametrize("more", [["--yes"], ["-y"], ["--max-hours", 100]])
def test_yes_and_a_larger_limit_go_on(cli, more):
    code, _, err = cli(*ARGUMENTS, *more)
    assert code == 0
    assert "dearest metrics:" in err


@pytest.mark.usefixtures("slow")
def test_the_variable_is_the_flag(cli, monkeypatch):
    monkeypatch.setenv("XAIBENCH_EVAL_MAX_HOURS", "4.5")
    code, _, err = cli(*ARGUMENTS)
    assert code == 0, err
    monkeypatch.setenv("XAIBENCH_EVAL_MAX_HOURS", "0.5")
    assert cli(*ARGUMENTS, "--limit", 8)[0] == 3


def test_a_detector_that_raises_is_not_timed_and_fails_its_cells(cli, monkeypatch):
    monkeypatch.setenv("TOY_PREDICTIONS_FAIL", "1")
    code, _, err = cli(*ARGUMENTS, "--accept-detector")
    assert code == 1
    assert "no estimate of the time: the detector raised" in err


def test_a_quick_run_says_nothing_of_the_dearest(cli):
    code, _, err = cli(*ARGUMENTS)
    assert code == 0
    assert "dearest" not in err


@pytest.mark.usefixtures("slow")
def test_a_dry_run_tells_the_seconds_of_each_row_and_asks_nothing(cli):
    code, out, _ = cli(*ARGUMENTS, "--dry-run", "--json")
    plan = json.loads(out)
    assert code == 0
    assert [c["seconds"] for c in plan["cells"]] == [100.0 * c["forward"] for c in plan["cells"]]
    assert plan["seconds"] == 100.0 * plan["passes"]["forward"]
    code, out, _ = cli(*ARGUMENTS, "--dry-run")
    row = next(line for line in out.splitlines() if "deletion" in line)
    passes = next(c["forward"] for c in plan["cells"] if c["metric"] == "xaibench/deletion:steps=5")
    assert row.endswith(_duration(100.0 * passes))


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 3), ("", 3)])
def test_a_terminal_is_asked(answer, code, tmp_path):
    keyboard, terminal = pty.openpty()
    command = [sys.executable, "-m", "xaibench", *map(str, ARGUMENTS), "--quiet", "--max-hours", "0"]
    with subprocess.Popen(command, stdin=terminal, stdout=subprocess.PIPE, stderr=terminal) as process:
        os.close(terminal)
        screen = b""
        while b"[y/N] " not in screen:
            screen += os.read(keyboard, 4096)
        os.write(keyboard, f"{answer}\n".encode())
        assert process.wait() == code
        assert process.stdout is not None
        assert process.stdout.read().count(b"\n") == (code == 0)  # the line of a quiet run
    os.close(keyboard)
    assert b"dearest metrics:" in screen
    assert (tmp_path / "run").exists() is (code == 0)


@pytest.mark.parametrize(("seconds", "text"), [
    (0.04, "0.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (3599.6, "1 h 00 min"),
    (7500, "2 h 05 min"), (3_600_000, "1,000 h 00 min"),
])  # fmt: skip
def test_durations_are_rounded_once(seconds, text):
    assert _duration(seconds) == text
