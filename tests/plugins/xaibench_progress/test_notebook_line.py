"""Progress in Jupyter and marimo: one line that changes, and nothing on stderr."""

import sys
from types import SimpleNamespace

import pytest

from xaibench.api import Parameters, PassesDone, RunBegins, StageBegins
from xaibench_progress import notebook_line as module
from xaibench_progress.display import Lines, Progress
from xaibench_progress.notebook_line import JupyterLine, MarimoLine, NotebookLine, notebook_line


class Handle:
    def __init__(self, outputs):
        self.outputs = outputs

    def update(self, output, raw):
        self.outputs.append(output)


def jupyter(outputs, kernel=True):
    """A module IPython whose outputs are kept."""

    def display(output, raw, display_id):
        outputs.append(output)
        return Handle(outputs)

    shell = SimpleNamespace(kernel=object()) if kernel else SimpleNamespace()
    return SimpleNamespace(get_ipython=lambda: shell, display=SimpleNamespace(display=display))


class Spinner:
    def __init__(self, shown):
        self.shown = shown

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.shown.append("gone")

    def update(self, title, subtitle):
        self.shown.append((title, subtitle))


def marimo(shown, running=True):
    status = SimpleNamespace(spinner=lambda title, remove_on_exit: Spinner(shown))
    return SimpleNamespace(running_in_notebook=lambda: running, status=status)


@pytest.fixture
def clock(monkeypatch):
    times = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: times[0])
    return times


def go_through(line, clock):
    line.stage("explaining", 100)
    clock[0] = 0.1
    line.advance(10)  # too early to be shown
    clock[0] = 2.0
    line.advance(40)
    line.stage("scoring whole sets", 0)
    clock[0] = 4.0
    line.advance(7)
    line.close(complete=True)


def test_jupyter_updates_one_output(clock):
    outputs = []
    go_through(NotebookLine(JupyterLine(jupyter(outputs))), clock)
    assert [o["text/plain"] for o in outputs] == [
        "explaining: 0 of 100 passes, 0 passes/s",
        "explaining: 50 of 100 passes, 25 passes/s, 2 s left",
        "scoring whole sets",
        "scoring whole sets: 7 passes",
        "done in 4.0 s",
    ]
    assert outputs[1]["text/html"].startswith('<progress max="1" value="0.500"')
    assert "<progress" not in outputs[-1]["text/html"]


def test_marimos_sign_goes_when_the_run_has_ended(clock):
    shown = []
    go_through(NotebookLine(MarimoLine(marimo(shown))), clock)
    assert shown == [
        ("explaining", "0 of 100 passes, 0 passes/s"), ("explaining", "50 of 100 passes, 25 passes/s, 2 s left"),
        ("scoring whole sets", ""), ("scoring whole sets", "7 passes"), "gone",
    ]  # fmt: skip


def test_a_run_that_takes_more_passes_than_planned_is_full_and_not_fuller(clock):
    outputs = []
    line = NotebookLine(JupyterLine(jupyter(outputs)))
    line.stage("predicting", 10)
    clock[0] = 1.0
    line.advance(30)
    assert 'value="1.000"' in outputs[-1]["text/html"] and outputs[-1]["text/plain"].endswith("0 s left")


@pytest.mark.parametrize(
    ("modules", "shown"),
    [
        ({"IPython": jupyter([])}, True),
        ({"marimo": marimo([]), "IPython": None}, True),
        ({"IPython": jupyter([], kernel=False)}, False),  # IPython in a terminal
        ({"IPython": None, "marimo": marimo([], running=False)}, False),  # a notebook of marimo as a script
        ({"IPython": None, "marimo": None}, False),
    ],
)
def test_the_line_stands_where_a_notebook_runs(monkeypatch, modules, shown):
    for name in ("marimo", "IPython"):
        monkeypatch.setitem(sys.modules, name, modules.get(name))
    assert (notebook_line() is not None) is shown
    progress = Progress(Parameters())
    progress.run_begins(RunBegins(run="r", out="out", output="json"))
    assert isinstance(progress._display, NotebookLine if shown else Lines)


def test_failures_are_lines_of_their_own(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "marimo", None)
    monkeypatch.setitem(sys.modules, "IPython", jupyter(outputs := []))
    progress = Progress(Parameters())
    progress.run_begins(RunBegins(run="r", out="out", output="json"))
    progress.stage_begins(StageBegins(stage="explain", passes=4))
    progress.passes_done(PassesDone(forward=4))
    progress._display.say("failed: lime: \x1b[31mno")
    assert capsys.readouterr() == ("", "failed: lime: \\x1b[31mno\n")
    assert outputs[0]["text/plain"].startswith("explaining and scoring: 0 of 4")
