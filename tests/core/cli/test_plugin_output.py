"""What plugins print, in a process of its own: at import, in hooks, at work, from native code, threads and at exit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from toy_runs import LONG

from xaibench.discovery.registry import PROJECT, Registry

TALKER = """
import atexit, os, threading
from xaibench.api import Explanation, ExplainerRecord, Forward, ListenerRecord, Passes, hookimpl

def say(where):
    print("PRINTED", where, "\\x1b[2J")
    os.write(1, b"PRINTED natively\\n")

say("at import")
atexit.register(say, "at exit")

@hookimpl
def xaibench_explainers():
    say("in a hook")
    return [ExplainerRecord(name="talker", target="xaibench_local_talker:Talker", summary="red \\x1b[31m")]

@hookimpl
def xaibench_run_events():
    return [ListenerRecord(name="crier", target="xaibench_local_talker:Crier", summary="s")]

class Crier:
    def __init__(self, parameters):
        say("in a listener")
    def run_ends(self, event):
        say("at the end of a run")

class Talker:
    def __init__(self, parameters):
        say("when made")
    def passes(self, query):
        say("in passes")
        return Passes(forward=1)
    def explain(self, request):
        yield Forward(request.picture.image[None])
        thread = threading.Thread(target=say, args=("in a thread",))
        thread.start()
        thread.join()
        os.system("echo PRINTED by a child")
        return Explanation(map=request.picture.image.mean(0).clone())
"""
PLACES = ("at import", "in a hook", "when made", "in passes", "in a listener", "at the end of a run", "in a thread",
          "at exit", "natively", "by a child")  # fmt: skip


def program(*arguments: object) -> subprocess.CompletedProcess[str]:
    environment = {
        k: v for k, v in os.environ.items() if k not in ("FORCE_COLOR", "GITHUB_ACTIONS", "XAIBENCH_EVAL_NO_ISOLATION")
    }
    return subprocess.run(
        [sys.executable, "-m", "xaibench", *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False,
        env={**environment, "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
    )  # fmt: skip


@pytest.fixture
def talker(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("talker.py").write_text(TALKER)
    return Path("talker.py")


@pytest.mark.parametrize("as_json", [True, pytest.param(False, marks=LONG)])
def test_whatever_a_plugin_prints_in_a_run_goes_to_stderr(talker, as_json):
    done = program("eval", "--plugin", talker, "-e", "talker", "-x", "sparseness", "--no-controls", "--limit", 2,
                   *["--json"] * as_json)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "PRINTED" not in done.stdout
    assert [place for place in PLACES if f"PRINTED {place}" not in done.stderr] == []
    assert "\x1b" not in done.stdout + done.stderr
    if as_json:
        assert json.loads(done.stdout)["schema"] == "xaibench.eval/1"
    else:
        assert "local/talker" in done.stdout


@pytest.mark.parametrize("command", [["list", "explainers"], ["info", "talker"]])
def test_commands_that_list_components_keep_stdout_too(talker, command):
    shown = program(*command, "--plugin", talker)
    assert "talker" in shown.stdout
    assert "red \\x1b[31m" in shown.stdout
    assert "PRINTED" not in shown.stdout
    assert isinstance(json.loads(program(*command, "--plugin", talker, "--json").stdout), dict)


class _Manager:
    """A plugin manager with one hook implementation that adds a command."""

    def __init__(self, distribution: str) -> None:
        self.hook = self.xaibench_add_commands = self
        self.plugin_name = f"{distribution}:plugin"

    def get_hookimpls(self):
        return [self]

    def function(self, app) -> None:
        app.command("shout")(lambda: None)


@pytest.mark.parametrize(("distribution", "foreign"), [("xaibench-acme", {"shout"}), (PROJECT, set())])
def test_commands_of_third_parties_are_told_from_built_in_ones(distribution, foreign):
    import typer

    assert Registry(manager=_Manager(distribution)).add_commands(typer.Typer()) == foreign  # type: ignore[arg-type]


FOREIGN = """
import os, sys
from typing import Annotated
from xaibench.api import JsonFlag, plugin_output, print_json
from xaibench.api.output_streams import foreign_command, program_streams, reserve_answer

with program_streams():
    os.write(1, b"native before\\n")
    with foreign_command():
        reserve_answer()
        with plugin_output():
            print("of another plugin")
        sys.argv[1] == "print" and print('{"own": 1}')
        sys.argv[1] == "helper" and print_json({"own": 1})
        sys.argv[1] == "native" and os.write(1, b'{"own": 1}\\n')
    print("after")
print("at exit")
"""


@pytest.mark.parametrize("way", ["print", "helper", "native"])
def test_the_command_of_a_third_party_prints_its_object_as_it_likes(way):
    done = subprocess.run([sys.executable, "-c", FOREIGN, way], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.replace("after\n", "") == '{"own": 1}\n', done.stderr
    assert done.stderr == "native before\nof another plugin\nat exit\n"


def test_a_reader_that_goes_away_ends_a_command_without_complaint(tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "xaibench", "list", "fills"],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")
