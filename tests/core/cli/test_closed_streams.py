"""Commands without a terminal: closed and full streams, no width."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from toy_runs import LONG

from conftest import TOY


def shell(words: str, streams: str) -> tuple[int, str, str]:
    script = f'"{sys.executable}" -m xaibench {words} {streams}'
    done = subprocess.run(["sh", "-c", script], check=False, capture_output=True, text=True, timeout=100)
    return done.returncode, done.stdout, done.stderr


EVAL = (
    f'eval --plugin "{TOY}" -m toy -D demo:identities=2 -e rows -x range --no-controls --threads 1 --limit 2 --json -o '
)


def test_a_closed_stderr_leaves_stdout_to_the_answer():
    code, out, _ = shell("list --json", "2>&-")
    assert code == 0 and json.loads(out)["components"]
    assert shell("info nobody", "2>&-")[:2] == (3, "")


def test_a_closed_and_a_full_stdout_end_as_they_should():
    assert shell("list", ">&-") == (0, "", "")
    code, out, err = shell("list", ">/dev/full")
    assert (code, out) == (3, "") and "No space left" in err and len(err.splitlines()) == 2
    assert shell("info nobody", "2>/dev/full")[0] == 3


@LONG
@pytest.mark.parametrize("streams", ["2>&-", "<&- 2>&-", "2>/dev/null", "COLUMNS=0", "COLUMNS=1 TERM="])
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_run_needs_no_stderr(tmp_path, streams, jobs):
    words = f"{EVAL} {tmp_path}/run -j {jobs}"
    if "=" in streams:
        done = subprocess.run(
            ["sh", "-c", f'{streams} "{sys.executable}" -m xaibench {words}'],
            check=False,
            capture_output=True,
            text=True,
        )
        code, out = done.returncode, done.stdout
    else:
        code, out, _ = shell(words, streams)
    assert code == 0 and json.loads(out)["done"] == 6
