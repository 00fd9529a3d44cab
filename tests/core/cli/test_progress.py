"""Progress where nobody looks: no terminal, no width, no total, closed and full streams."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from toy_runs import LONG

from conftest import TOY
from xaibench.cli import progress
from xaibench.cli.progress import Bars, Lines


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is set."""
    times = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: times[0])
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


def shell(words: str, streams: str) -> tuple[int, str, str]:
    script = f'"{sys.executable}" -m xaibench {words} {streams}'
    done = subprocess.run(["sh", "-c", script], check=False, capture_output=True, text=True, timeout=100)
    return done.returncode, done.stdout, done.stderr


EVAL = (
    f'eval --plugin "{TOY}" -m toy -D demo:identities=2 -e rows -x range --no-controls --threads 1 --limit 2 --json -o '
)


def test_a_closed_stderr_leaves_stdout_to_the_answer():
    code, out, _ = shell("list --json", "2>&-")
    assert code == 0 and json.loads(out)["components"]
    assert shell("info nobody", "2>&-")[:2] == (3, "")


def test_a_closed_and_a_full_stdout_end_as_they_should():
    assert shell("list", ">&-") == (0, "", "")
    code, out, err = shell("list", ">/dev/full")
    assert (code, out) == (3, "") and "No space left" in err and len(err.splitlines()) == 2
    assert shell("info nobody", "2>/dev/full")[0] == 3


@LONG
@pytest.mark.parametrize("streams", ["2>&-", "<&- 2>&-", "2>/dev/null", "COLUMNS=0", "COLUMNS=1 TERM="])
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_run_needs_no_stderr(tmp_path, streams, jobs):
    words = f"{EVAL} {tmp_path}/run -j {jobs}"
    if "=" in streams:
        done = subprocess.run(
            ["sh", "-c", f'{streams} "{sys.executable}" -m xaibench {words}'],
            check=False,
            capture_output=True,
            text=True,
        )
        code, out = done.returncode, done.stdout
    else:
        code, out, _ = shell(words, streams)
    assert code == 0 and json.loads(out)["done"] == 6
