"""Runs the tests on a fake device, the files ``*_on_device.py``, in a process of their own.

Torch knows how many devices there are from its first backward pass on, and a registered device is there for all that
the process does afterwards (:mod:`tests.support.fake_device`).
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.fake_device import ALONE

TESTS = Path(__file__).parents[2]


def test_on_a_fake_device() -> None:
    files = sorted(map(str, TESTS.rglob("*_on_device.py")))
    assert len(files) >= 5
    command = [sys.executable, "-m", "pytest", "-n0", "-q", "-p", "no:cacheprovider", *files]
    alone = {**os.environ, ALONE: "1"}
    done = subprocess.run(command, check=False, cwd=TESTS.parent, env=alone, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-6000:]
