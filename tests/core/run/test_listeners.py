"""Listeners of a run: what they hear, and that none of them can end it."""

import json

import pytest

LISTENER = """
import json
from pathlib import Path
from xaibench.api import ListenerRecord, hookimpl

@hookimpl
def xaibench_run_events():
    return [ListenerRecord(name="{name}", target="xaibench_local_{file}:Notes", summary="Writes what it hears.")]

class Notes:
    def __init__(self, parameters):
        self.lines = []
    def note(self, word, event, *names):
        self.lines.append([word, *[str(getattr(event, n)) for n in names]])
        Path("heard.json").write_text(json.dumps(self.lines))
{methods}
"""

ALL = """
    def run_begins(self, event): self.note("begins", event, "output")
    def stage_begins(self, event): self.note("stage", event, "stage", "passes")
    def passes_done(self, event): self.note("passes", event, "forward")
    def task_committed(self, event): self.note("committed", event, "kind", "status", "samples")
    def run_ends(self, event): self.note("ends", event, "done", "failed", "interrupted")
"""


@pytest.fixture(autouse=True)
def _in_tmp(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def listener(methods, file="notes"):
    from pathlib import Path

    path = Path(f"{file}.py")
    path.write_text(LISTENER.format(name=file, file=file, methods=methods))
    return path


def heard():
    from pathlib import Path

    return json.loads(Path("heard.json").read_text())


def test_a_listener_hears_the_run_from_its_beginning_to_its_end(toy_eval):
    code, _, err = toy_eval("--plugin", listener(ALL), "--out", "run")
    assert code == 0, err
    words = heard()
    assert words[0] == ["begins", "json"] and words[-1] == ["ends", "39", "0", "False"]
    assert [w[1:] for w in words if w[0] == "stage"] == [
        ["structure", "64"], ["predict", "12"], ["detectors", "0"], ["explain", "60"]
    ]  # fmt: skip
    assert [w[1:] for w in words if w[0] == "committed"] == [
        ["card", "ok", "1"], ["structure", "ok", "1"], ["predict", "ok", "12"], ["accuracy", "ok", "1"],
        ["explain", "ok", "12"], ["score", "ok", "12"],
    ]  # fmt: skip
    assert sum(int(w[1]) for w in words if w[0] == "passes") == json.loads(toy_eval("--out", "other")[1])["forward"]


def test_methods_are_optional(toy_eval):
    only = '\n    def run_ends(self, event): self.note("ends", event, "reused")\n'
    assert toy_eval("--plugin", listener(only), "--out", "run")[0] == 0
    assert heard() == [["ends", "0"]]


@pytest.mark.parametrize("fault", ["raise ValueError('no server')", "raise SystemExit(3)", "event.nonsense"])
def test_one_that_raises_is_named_once_and_the_run_goes_on(toy_eval, fault):
    broken = (
        f"\n    def task_committed(self, event): {fault}\n    def run_ends(self, event): self.note('ends', event)\n"
    )
    code, out, err = toy_eval("--plugin", listener(broken), "--out", "run")
    assert code == 0 and json.loads(out)["failed"] == 0
    assert err.count("listener local/notes failed and hears no more of this run") == 1
    from pathlib import Path

    assert not Path("heard.json").exists()  # it hears no more


def test_one_that_cannot_be_made_is_named_and_the_run_goes_on(toy_eval):
    broken = "\n    def __init__(self, parameters): raise OSError('no licence')\n"
    code, _, err = toy_eval("--plugin", listener(broken), "--out", "run")
    assert code == 0 and "listener local/notes failed" in err and "no licence" in err


def test_the_end_is_heard_where_a_run_is_interrupted(toy_eval):
    stop = """
    def task_committed(self, event): raise KeyboardInterrupt
    def run_ends(self, event): self.note("ends", event, "interrupted")
"""
    code, _, err = toy_eval("--plugin", listener(stop), "--out", "run")
    assert code == 130 and "the same command goes on from there" in err
    assert heard() == [["ends", "True"]]
