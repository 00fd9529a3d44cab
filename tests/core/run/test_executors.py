"""Worker processes: that none is left behind, and that none runs the caller's script."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from contextlib import suppress

import pytest

from xaibench.run.local_executor import LocalExecutor, LocalParameters

WORK = """
import os, time

def work(task):
    os.write(1, b"working\\n")  # one write: two workers share the pipe
    time.sleep(60)

def double(task):
    return 2 * task
"""
DRIVER = """
from work import work
from xaibench.run.local_executor import LocalExecutor, LocalParameters

for _ in LocalExecutor(LocalParameters(jobs=2)).run([1, 2], work):
    pass
"""
SCRIPT = """
from work import double
from xaibench.run.local_executor import LocalExecutor, LocalParameters

print("script", flush=True)
print(sorted(LocalExecutor(LocalParameters(jobs=2)).run([1, 2], double)))
"""


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("how", ["SIGKILL", "SIGTERM"])
def test_workers_end_with_a_driver_that_is_killed(tmp_path, how):
    (tmp_path / "work.py").write_text(WORK)
    (tmp_path / "driver.py").write_text(DRIVER)
    driver = subprocess.Popen(
        [sys.executable, str(tmp_path / "driver.py")], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert [driver.stderr.readline() for _ in range(2)] == ["working\n"] * 2
        driver.send_signal(getattr(signal, how))
        driver.communicate(timeout=15)  # returns when nobody holds the pipe, the workers included
    finally:
        with suppress(ProcessLookupError):
            os.killpg(driver.pid, signal.SIGKILL)
        driver.wait()
        driver.stderr.close()


def test_a_script_without_a_guard_runs_once(tmp_path):
    (tmp_path / "work.py").write_text(WORK)
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, str(tmp_path / "script.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.stdout, done.stderr) == ("script\n[(1, 2), (2, 4)]\n", "")


def test_a_worker_that_dies_between_two_tasks_costs_nothing():
    """Its end is told while another one works."""
    executor = LocalExecutor(LocalParameters(jobs=2))
    try:
        assert sorted(executor.run([3, 4], math.factorial)) == [(3, 6), (4, 24)]
        for worker in executor._workers:
            worker.process.kill()
            worker.process.wait()
        assert list(executor.run([5], math.factorial)) == [(5, 120)]
    finally:
        executor.close()
