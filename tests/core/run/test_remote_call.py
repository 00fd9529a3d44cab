"""The call for executors of plugins: what it brings along, and where it is refused."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from dataclasses import replace

import pytest
from toy_runs import registry, toy_run

from conftest import TOY
from xaibench.api import PlanError, UsageError
from xaibench.discovery.registry import load_registry
from xaibench.plan.settings import make_settings
from xaibench.run import remote_call as module
from xaibench.run.driver import prepare
from xaibench.run.remote_call import remote_call

ELSEWHERE = """
import os, pickle, sys
call = pickle.load(open(sys.argv[1], "rb"))
assert "torch" not in sys.modules
os.environ.pop("OMP_WAIT_POLICY", None)
call._prepare()
print("printed")
print(os.getcwd(), os.environ["XAIBENCH_SECRET_ACME_KEY"], os.environ["OMP_WAIT_POLICY"], sys.argv[2] in sys.path, file=sys.stderr)
"""


STRIPES = """
from xaibench.api import FillRecord, hookimpl

@hookimpl
def xaibench_fills():
    return [FillRecord(name="stripes", target="xaibench_local_fills:stripes", summary="Stripes.")]

def stripes(request):
    return request.image * 0 + 0.5
"""
ASKED = {
    "model": ["toy"], "dataset": ["demo:identities=2"], "explainer": ["rows"], "metric": ["range"],
    "controls": False, "isolation": False, "threads": 1, "limit": 2, "plugin": [str(TOY)],
}  # fmt: skip


@pytest.fixture
def call(tmp_path, monkeypatch):
    monkeypatch.setenv("XAIBENCH_SECRET_ACME_KEY", "wolf-17")
    asked = make_settings(None, {**ASKED, "out": str(tmp_path / "run")})
    return remote_call(prepare(asked, registry()).plan, registry())


def test_the_code_of_a_fill_is_compared_too(tmp_path):
    file = tmp_path / "fills.py"
    file.write_text(STRIPES)
    asked = make_settings(None, {
        **ASKED, "metric": ["deletion:steps=2,fill=stripes"], "plugin": [str(TOY), str(file)], "out": str(tmp_path / "run"),
    })  # fmt: skip
    components = load_registry(asked.plugin)
    codes = remote_call(prepare(asked, components).plan, components).codes
    assert [origin.entry_point for origin, _, _ in codes[1:]] == [str(TOY), str(file)]


def test_it_brings_along_what_another_process_needs(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path / "more"))
    (tmp_path / "more").mkdir()
    there = replace(call, search_path=tuple(sys.path), folder=str(tmp_path))
    (tmp_path / "call").write_bytes(pickle.dumps(there))
    command = [sys.executable, "-c", ELSEWHERE, str(tmp_path / "call"), str(tmp_path / "more")]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("XAIBENCH_SECRET")}
    done = subprocess.run(command, cwd="/", env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == ""  # a worker has no answer to print
    assert done.stderr == f"printed\n{tmp_path} ********** PASSIVE True\n"
    assert "wolf-17" not in repr(call)


@pytest.mark.parametrize("what", ["version", "missing", "code", "file"])
def test_other_libraries_and_other_code_are_refused(call, what, tmp_path):
    assert {origin.distribution for origin, _, _ in call.codes} == {"xaibench", "local"}
    call._refuse_others()
    changes, words = {
        "version": ({"versions": (*call.versions, ("torch", "1.0"))}, "has torch 2.* and not 1.0"),
        "missing": ({"versions": (*call.versions, ("acme", "1.0"))}, "has acme is missing and not 1.0"),
        "code": ({"codes": tuple((o, t, "0") for o, t, _ in call.codes[:1])}, "has other code of xaibench"),
        "file": ({"codes": tuple((o, t, "0") for o, t, _ in call.codes[1:])}, "has other code of local"),
    }[what]
    with pytest.raises(PlanError, match=words) as refusal:
        replace(call, **changes)._refuse_others()
    assert sys.executable in refusal.value.mend


def test_a_plugin_file_that_is_not_there_is_refused(call):
    gone = [
        (replace(o, entry_point="/nowhere/acme.py"), t, code) for o, t, code in call.codes if o.distribution == "local"
    ]
    with pytest.raises(UsageError, match=r"plugin file '/nowhere/acme\.py' does not exist"):
        replace(call, codes=tuple(gone))._refuse_others()


def test_a_fork_of_the_driver_is_refused(call):
    with pytest.raises(PlanError, match="is a fork of this process, which torch does not survive"):
        replace(call, driver=(call.driver[0], -1))(None)


@pytest.mark.parametrize(
    ("isolated", "is_foreign", "elsewhere", "supervised"),
    [
        (True, True, False, True),
        (False, True, True, True),  # the threads of a pool's owner change what is watched
        (False, True, False, False),
        (False, False, True, False),
    ],
)
def test_where_a_task_runs(call, monkeypatch, isolated, is_foreign, elsewhere, supervised):
    from xaibench.run import supervised as workers
    from xaibench.run import tasks_here

    monkeypatch.setattr(tasks_here, "run_in_worker", lambda task: "here")
    monkeypatch.setattr(workers, "run_supervised", lambda task: "in a worker")
    monkeypatch.setattr(module, "_PREPARED", {("another", 1)})
    driver = ("another", 1) if elsewhere else call.driver
    there = replace(call, isolated=isolated, is_foreign=is_foreign, driver=driver)
    assert call.is_foreign and there(None) == ("in a worker" if supervised else "here")


class InThreads:
    """Runs the call in threads of this process."""

    def __init__(self):
        self.calls = []

    def run(self, tasks, call):
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(1) as pool:
            for task in tasks:
                self.calls.append(call)
                yield task, pool.submit(call, task).result()

    def close(self):
        pass


def test_nothing_is_prepared_in_the_process_of_the_driver(tmp_path, monkeypatch):
    from xaibench.run import driver
    from xaibench.run.checked_executor import CheckedExecutor

    inner = InThreads()
    use = type("Use", (), {"name": "threads", "instance": inner})
    monkeypatch.setattr(driver, "_executor", lambda *arguments: CheckedExecutor(use))
    monkeypatch.setattr(module, "_set_up_process", lambda parent: pytest.fail("prepared"))
    assert toy_run(tmp_path / "run", limit=2, metric=["range"]).exit_code == 0
    assert len({id(call) for call in inner.calls}) == 1
