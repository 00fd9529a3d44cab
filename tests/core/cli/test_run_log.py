"""The log of a run, and how much a command says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from conftest import TOY, comparable, same_bytes
from xaibench.api import Passes, RunBegins, RunEnds, RunWarning, StageBegins, TaskCommitted, build_parameters
from xaibench.api.parameters import Parameters
from xaibench.cli.run_log import RunLog
from xaibench.store.files import open_files

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ \S")
RUN = ("eval", "--plugin", TOY, "--model", "toy", "--dataset", "demo:identities=8", "--limit", 4, "-e", "rows",
       "-x", "range", "--no-controls", "--threads", 1)  # fmt: skip
SECRET = "k3y 'of' the-service"  # which quoting would change before it is masked


@pytest.fixture(autouse=True)
def _in_tmp(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def committed(**changes):
    words = {"kind": "score", "explainer": "xaibench/gradcam", "metric": "a/b", "samples": 1200, "status": "ok",
             "reason": "", "seconds": 3.21, "passes": Passes(forward=4000, backward=2), "model": "xaibench/demo",
             "dataset": "faces"}  # fmt: skip
    return TaskCommitted(**{**words, **changes})


def ended(**changes):
    words = {"run": "r", "out": "x", "done": 1, "reused": 0, "failed": 0, "passes": Passes(), "seconds": 1.0,
             "interrupted": False, "output": "none"}  # fmt: skip
    return RunEnds(**{**words, **changes})


def written(out, *events):
    """A log of these events, begun in ``out``."""
    log = RunLog(build_parameters(Parameters, {}, "log"))
    log.run_begins(RunBegins(run="r", out=out, output="none", plan=("toy on faces",)))
    for event, method in events:
        getattr(log, method)(event)
    return log


def test_a_task_in_one_line():
    assert committed().line == (
        "score gradcam a/b of demo on faces: 1,200 samples, 3.2 s, 4,000 forward passes, 2 backward passes"
    )
    look = committed(kind="structure", explainer="", metric="", dataset="", samples=1, passes=Passes(forward=64))
    assert look.line == "structure demo: 3.2 s, 64 forward passes"
    assert committed(status="failed", reason="it broke").line.endswith("; failed: it broke")


def test_the_log_of_a_run_tells_its_command_plan_stages_tasks_and_end(cli):
    assert cli(*RUN, "-q", "-o", "run")[0] == 0
    lines = Path("run/log.txt").read_text(encoding="utf-8").splitlines()
    assert all(LINE.match(line) for line in lines)
    texts = [line.partition(" ")[2] for line in lines]
    assert re.fullmatch(r"run \d{8}T\d{6}\.\d+Z begins", texts[0])
    assert texts[1].startswith("command: ") and texts[2].startswith("versions: Python ") and "torch" in texts[2]
    assert "local/toy on xaibench/demo:identities=8 (4 samples)" in texts
    assert [t for t in texts if t.startswith("stage") and "begins" in t] == [
        "stage structure begins: 64 passes", "stage predict begins: 4 passes", "stage detectors begins",
        "stage explain begins: 20 passes",
    ]  # fmt: skip
    assert any(
        re.match(r"score local/rows local/range of local/toy on demo:identities=8: 4 samples, \d", t) for t in texts
    )
    assert re.fullmatch(r"run \S+ ends: \d+ results done, 0 reused, 0 failed; \d+ forward .*", texts[-1])
    assert cli(*RUN, "-q", "-o", "run")[0] == 0
    again = Path("run/log.txt").read_text(encoding="utf-8").splitlines()
    assert again[: len(lines)] == lines and " 0 results done" in again[-1]


def test_it_changes_nothing_that_a_run_is(cli):
    assert cli(*RUN, "-q", "-o", "run")[0] == 0
    assert cli(*RUN, "-q", "-o", "other")[0] == 0
    Path("other/log.txt").unlink()
    for table in ("scores", "predictions"):
        assert same_bytes(comparable("run", table), comparable("other", table))
    assert json.loads(cli("status", "run", "--json")[1])["log"] == "run/log.txt"
    assert json.loads(cli("status", "other", "--json")[1])["log"] is None
    assert cli("status", "run")[1].endswith("log: run/log.txt\n")
    assert cli("merge", "run", "other", "-o", "joined")[0] == 0
    assert not Path("joined/log.txt").exists()
    Path("no-run").mkdir()
    Path("no-run/log.txt").write_text("of something else")
    code, _, err = cli(*RUN, "-q", "-o", "no-run")
    assert code == 3 and "no-run is no run and holds log.txt" in err


def test_a_log_that_cannot_be_written_is_said_and_the_run_goes_on(cli):
    assert cli(*RUN, "-q", "-o", "run")[0] == 0
    Path("run/log.txt").unlink()
    Path("run/log.txt").mkdir()
    code, out, err = cli(*RUN, "-q", "-o", "run", "--rerun", "all")
    assert code == 0 and "0 failed" in out
    assert "listener xaibench/log failed and hears no more of this run" in err


def test_failures_have_their_trace_and_secrets_are_masked(tmp_path, monkeypatch):
    monkeypatch.setenv("XAIBENCH_SECRET_ACME_API_KEY", SECRET)
    monkeypatch.setattr(
        "sys.argv", [f"{tmp_path}/bin/xaibench", "eval", "--model", f"acme:api_key={SECRET}", "two words"]
    )
    trace = f"Traceback:\n  File '/data/of/somebody/code.py'\nValueError: {SECRET}\x1b[31m"
    failed = committed(status="failed", reason=f"ValueError: {SECRET}", trace=trace)
    written(tmp_path, (failed, "task_committed"), (RunWarning(text=f"{SECRET}\nis odd"), "run_warned"),
            (ended(interrupted=True, error=f"no {SECRET}"), "run_ends"))  # fmt: skip
    text = (tmp_path / "log.txt").read_text(encoding="utf-8")
    assert SECRET not in text and str(tmp_path) not in text
    assert "command: bin/xaibench eval --model 'acme:api_key=**********' 'two words'" in text
    assert "    Traceback:\n      File 'code.py'\n    ValueError: **********\\x1b[31m\n" in text
    assert "********** is odd\n" in text
    assert "run r is interrupted (no **********): 1 results done" in text


def test_behind_a_url_it_is_written_by_stages_and_added_to():
    for number in (1, 2):
        log = written("memory://logs/run", (StageBegins(stage="predict", passes=3), "stage_begins"))
        files = open_files("memory://logs/run")
        assert files.read("log.txt").decode().count("stage predict begins: 3 passes") == number
        log.run_ends(ended())
    assert files.read("log.txt").decode().count("run r ends: 1 results done") == 2


# ---- how much is said ------------------------------------------------------------------------------------------------


def test_quiet_prints_one_line_and_verbose_each_part(cli):
    code, out, err = cli(*RUN, "-q", "-o", "run")
    assert code == 0 and err == ""
    (line,) = out.splitlines()
    assert re.fullmatch(r"\d+ results done, 0 reused, 0 failed; .* s: run", line)
    code, out, err = cli(*RUN, "-o", "run", "--rerun", "all", "-v")
    assert code == 0 and "results done" in out
    for text in ("plugin xaibench 0.1.0 (explainers): ", "cell: local/rows local/range on xaibench/demo:identities=8: ",
                 "score local/rows local/range of local/toy on demo:identities=8: 4 samples, "):  # fmt: skip
        assert text in err
    assert "cell: " not in cli(*RUN, "-o", "run", "--rerun", "all")[2]
