"""Real workers of every executor, killed again and again: each task comes back once, with its own outcome.

What runs on them is light and has nothing of xaibench, so that many can be killed.
"""

from __future__ import annotations

import importlib.util
import os
import random
import signal
import threading
import time
from pathlib import Path

import pytest
from descendants import MARKS, descendants

from xaibench.api import Lost
from xaibench_executors.futures_executor import FuturesExecutor, FuturesParameters
from xaibench_executors.ray_executor import RayExecutor, RayParameters

WORK = """
import time

def double(task):
    time.sleep(0.05)
    return 2 * task

def refuse(task):
    raise ValueError(f"not {task}")
"""
EVERYWHERE = bool(os.environ.get("XAIBENCH_TEST_EVERYWHERE"))
KILLS = 20 if EVERYWHERE else 1
DASK = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ""}

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # those libraries leave sockets and event loops to the collector
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="workers are found in /proc"),
]


def make(library):
    if library == "ray":
        return RayExecutor(RayParameters(jobs=2, retries=5))
    more = {"factory": "distributed:Client", "arguments": DASK, "patience": 20} if library == "distributed" else {}
    return FuturesExecutor(
        FuturesParameters(**{"factory": "loky:ProcessPoolExecutor", "jobs": 2, "retries": 5, **more})
    )


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A module that the workers can import."""
    (tmp_path / "work.py").write_text(WORK)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    import work

    return work


class Killer:
    """Kills a worker a while after every few outcomes."""

    def __init__(self, mark, kills, every):
        self.mark, self.kills, self.every = mark, kills, every
        self.killed, self.chance = [], random.Random(mark)

    def after(self, count):
        if count % self.every == 0 and len(self.killed) < self.kills:
            threading.Timer(self.chance.uniform(0, 0.2), self.kill).start()

    def kill(self):
        for pid in self.chance.sample(found := descendants(self.mark), len(found)):
            if pid not in self.killed:
                self.killed.append(pid)
                os.kill(pid, signal.SIGKILL)
                return


@pytest.mark.parametrize("library", [
    "loky",
    *(pytest.param(name, marks=pytest.mark.skipif(not EVERYWHERE, reason="takes a minute: nox -s slow"))
      for name in ("distributed", "ray")),
])  # fmt: skip
def test_killed_workers(work, library):
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    executor = make(library)
    killer = Killer(MARKS["ray" if library == "ray" else "futures:loky" if library == "loky" else "futures"], KILLS, 4)
    outcomes, taken = [], []
    tasks = (taken.append(i) or i for i in range(10_000))
    enough = iter(lambda: len(killer.killed) < KILLS or len(taken) < 12, False)
    answers = executor.run((task for _, task in zip(enough, tasks, strict=False)), work.double)
    for count, answer in enumerate(answers, 1):
        outcomes.append(answer)
        killer.after(count)
    assert sorted(task for task, _ in outcomes) == taken  # nothing twice, nothing lost
    assert all(outcome == 2 * task for task, outcome in outcomes if not isinstance(outcome, Lost))
    assert not [outcome for _, outcome in outcomes if isinstance(outcome, Lost)]
    assert len(set(killer.killed)) == KILLS
    with pytest.raises(ValueError, match="not 7"):
        list(executor.run(iter([7]), work.refuse))
    executor.close()
    begun = time.monotonic()
    while (left := descendants(killer.mark)) and time.monotonic() - begun < 30:
        time.sleep(0.1)
    assert not left
