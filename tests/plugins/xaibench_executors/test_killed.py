"""Workers of every executor, and the driver of each, killed again and again: equal to the calm run, nothing twice."""

from __future__ import annotations

import importlib.util
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
PATHS = [str(TESTS), str(TESTS / "support"), *filter(None, [os.environ.get("PYTHONPATH")])]
TABLES = (*EQUAL, "maps")
EXECUTORS = {
    "xaibench": "local",
    "ray": "ray",
    "loky": "futures:loky:ProcessPoolExecutor",
    "distributed": "futures:distributed:Client,arguments={n_workers=2,threads_per_worker=1,dashboard_address=''}",
}
KILLS = int(os.environ.get("XAIBENCH_TEST_KILLS", "20"))

pytestmark = [LONG, pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="workers are found in /proc")]


def libraries():
    return [
        pytest.param(name, marks=pytest.mark.skipif(importlib.util.find_spec(name) is None, reason=f"no {name}"))
        for name in EXECUTORS
    ]


def run(out, library, victim, number, delay, kills=1):
    """Start a run and let it kill: how often it did, and whether it came to its end."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(PATHS)}
    arguments = [TESTS / "support" / "killed_run.py", "large", out, 2, victim, number, delay, EXECUTORS[library], kills]
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1500, check=False)
    count = done.stdout.count("killed")
    driver_died = count > 0 and victim == "driver"
    assert done.returncode == (-signal.SIGKILL if driver_died else 0), done.stderr
    assert "done again" not in done.stderr  # a kill is no damage
    if RunFolder(out).exists():
        log = CommitLog.read(RunFolder(out).files, verify=True)
        assert not log.damage and not log.lost
    return count, not driver_died


def assert_equal(calm, out):
    assert not differences(calm, out, TABLES) and not glob_differences(out, TABLES)


@pytest.mark.parametrize("victim", ["worker", "driver"])
@pytest.mark.parametrize("library", libraries())
def test_killed_twenty_times(tmp_path, library, victim):
    """Workers several times a run, which goes on; the driver once a run, which is resumed."""
    calm, out = tmp_path / "calm", tmp_path / "run"
    assert toy_run(calm, **ASKED["large"]).exit_code == 0
    chance, kills = random.Random(f"{library} {victim}"), 0
    for _ in range(100):
        number, delay = chance.randint(1, 6), chance.uniform(0, 0.5)
        count, ended = run(out, library, victim, number, delay, 8 if victim == "worker" else 1)
        kills += count
        if ended:
            assert_equal(calm, out)
            shutil.rmtree(out)
        if kills >= KILLS:
            break
    assert kills >= KILLS
    if out.exists():
        assert toy_run(out, **ASKED["large"]).exit_code == 0
        assert_equal(calm, out)
