"""A run that is killed again and again (its driver, a worker, during merging) ends equal to a calm one."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from killed_run import ASKED
from toy_runs import EQUAL, LONG, differences, glob_differences, toy_run

from xaibench.store.commits import CommitLog
from xaibench.store.folder import RunFolder

TESTS = Path(__file__).parents[2]
TABLES = (*EQUAL, "maps")

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this platform")


def calm_run(plan, out):
    assert toy_run(out, **ASKED[plan]).exit_code == 0
    return out


def run(plan, out, victim, *, jobs=1, number=0, delay=0.0):
    """Start a run and let it kill: whether it did, and whether the driver came to its end."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS / "support")])}
    arguments = [TESTS / "support" / "killed_run.py", plan, out, jobs, victim, number, delay]
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    killed = "killed" in done.stdout
    driver = killed and victim != "worker"
    assert done.returncode == (-signal.SIGKILL if driver else 0), done.stderr
    assert "done again" not in done.stderr  # a kill is no damage
    if RunFolder(out).exists():
        log = CommitLog.read(RunFolder(out).files, verify=True)
        assert not log.damage and not log.lost
    return killed, not driver


def equal(calm, out):
    assert not differences(calm, out, TABLES) and not glob_differences(out, TABLES)


@pytest.mark.parametrize(("victim", "jobs", "number", "delay"), [
    ("driver", 1, 5, 0.01), ("merging", 1, 3, 0.05), pytest.param("worker", 2, 4, 0.02, marks=LONG),
])  # fmt: skip
def test_killed_once_and_resumed(tmp_path, victim, jobs, number, delay):
    out = tmp_path / "run"
    killed, ended = run("small", out, victim, jobs=jobs, number=number, delay=delay)
    assert killed and ended is (victim == "worker")
    resumed = toy_run(out, **ASKED["small"])
    assert resumed.exit_code == 0 and (resumed.done == 0) is ended
    equal(calm_run("small", tmp_path / "calm"), out)


@LONG
@pytest.mark.parametrize(
    ("victim", "jobs"), [("driver", 1), ("driver", 2), ("merging", 1), ("merging", 2), ("worker", 2)]
)
def test_killed_twenty_times(tmp_path, victim, jobs):
    """At random moments, resumed each time. A run that comes to its end is compared, and another one begun."""
    calm, out = calm_run("large", tmp_path / "calm"), tmp_path / "run"
    chance, kills = random.Random(f"{victim} {jobs}"), 0
    for _ in range(100):
        most = 6 if victim == "merging" else 15
        number, delay = chance.randint(victim != "driver", most), chance.uniform(0, 0.2)
        killed, ended = run("large", out, victim, jobs=jobs, number=number, delay=delay)
        kills += killed
        if ended:
            equal(calm, out)
            shutil.rmtree(out)
        if kills == 20:
            break
    assert kills == 20
    if out.exists():
        assert toy_run(out, **ASKED["large"]).exit_code == 0
        equal(calm, out)
