"""Worker processes: that none is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress

import pytest

DRIVER = """
import time
from xaibench.run.local_executor import LocalExecutor, LocalParameters

def work(task):
    print("working", flush=True)
    time.sleep(60)

if __name__ == "__main__":
    for _ in LocalExecutor(LocalParameters(jobs=2)).run([1, 2], work):
        pass
"""


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("how", ["SIGKILL", "SIGTERM"])
def test_workers_end_with_a_driver_that_is_killed(tmp_path, how):
    (tmp_path / "driver.py").write_text(DRIVER)
    driver = subprocess.Popen(
        [sys.executable, str(tmp_path / "driver.py")], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert [driver.stdout.readline() for _ in range(2)] == ["working\n"] * 2
        driver.send_signal(getattr(signal, how))
        driver.communicate(timeout=15)  # returns when nobody holds the pipe, the workers included
    finally:
        with suppress(ProcessLookupError):
            os.killpg(driver.pid, signal.SIGKILL)
        driver.wait()
        driver.stdout.close()
