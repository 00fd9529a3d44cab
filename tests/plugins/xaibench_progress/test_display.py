"""What is shown of a run on a terminal and elsewhere, and that a run needs no display."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from xaibench.api import Parameters, Passes, RunBegins, RunEnds, TaskCommitted
from xaibench_progress import display as module
from xaibench_progress.display import Bars, Lines, Progress


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is set."""
    times = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: times[0])
    return times


def test_a_line_has_no_rate_of_zero(clock, capsys):
    display = Lines()
    display.stage("explaining", 100)
    clock[0] = 12.0
    display.advance(0)
    clock[0] = 24.0
    display.advance(50)
    assert capsys.readouterr().err.splitlines() == [
        "explaining: 100 passes", "explaining: 0 of 100 passes, 0 passes/s", "explaining: 50 of 100 passes, 2 passes/s, 24 s left",
    ]  # fmt: skip


def test_a_stage_without_a_total_counts_what_is_done(clock, capsys):
    display = Lines()
    display.stage("scoring whole sets", 0)
    clock[0] = 11.0
    display.advance(22)
    assert capsys.readouterr().err.splitlines() == ["scoring whole sets", "scoring whole sets: 22 passes, 2 passes/s"]


@pytest.mark.parametrize("columns", ["0", "1", "", "x", "99999999999"])
@pytest.mark.parametrize("terminal", ["", "dumb", "nothing-known"])
def test_bars_bear_any_terminal(monkeypatch, clock, columns, terminal):
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("TERM", terminal)
    display = Bars()
    for passes in (0, 10):
        display.stage("predicting", passes)
        display.advance(0)
        display.advance(12)  # more than was planned
        display.say("failed: [red]x[/red]")
    display.close(complete=True)


def test_bars_tell_reasons_in_one_line(capfd, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    reason = f"2 of 2 cases failed: BadScores: 'too-big' is 2.0, outside [0, 1], {'long ' * 40}".strip()
    progress = Progress(Parameters())
    progress.run_begins(RunBegins(run="r", out=Path("run"), output="text"))
    assert isinstance(progress._display, Bars)
    progress.task_committed(TaskCommitted(kind="score", explainer="a/b", metric="a/c", samples=2, status="failed",
                                          reason=reason, seconds=0.0, passes=Passes()))  # fmt: skip
    progress.run_ends(RunEnds(run="r", out=Path("run"), done=1, reused=0, failed=1, passes=Passes(), seconds=0.0,
                              interrupted=True, output="text"))  # fmt: skip
    assert f"failed: a/b a/c: {reason}" in capfd.readouterr().err


# ---- a run without it ------------------------------------------------------------------------------------------------


def test_a_run_goes_on_where_the_display_fails(toy_eval, tmp_path, monkeypatch):
    monkeypatch.setattr(Progress, "stage_begins", lambda self, event: 1 / 0)
    code, out, err = toy_eval("-o", tmp_path / "run")
    assert code == 0 and json.loads(out)["done"] == 39
    assert err.count("listener xaibench/progress failed and hears no more of this run: ZeroDivisionError") == 1
    assert "predicting" not in err


def test_a_run_goes_on_where_the_display_cannot_be_imported(toy_eval, tmp_path, monkeypatch):
    monkeypatch.delattr(module, "Progress")
    code, out, err = toy_eval("-o", tmp_path / "run")
    assert code == 0 and json.loads(out)["done"] == 39
    assert "listener xaibench/progress failed" in err and "predicting" not in err


@pytest.mark.parametrize("more", [(), ("--verbose",)])
def test_a_run_without_the_plugin_shows_no_progress(toy_eval, tmp_path, more):
    code, out, err = toy_eval("-o", tmp_path / "run", "--no-plugin", "xaibench:progress", *more)
    assert code == 0 and json.loads(out)["done"] == 39
    assert "predicting" not in err and "hears no more" not in err
    assert "predicting: 12 passes" in toy_eval("-o", tmp_path / "other", *more)[2]
