"""Explainers that never come back, crash, exit or print rubbish: what they cost, and that they are named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from toy_runs import LONG

from conftest import TOY
from xaibench.store.folder import RunFolder

WRECKERS = Path(__file__).parents[2] / "support" / "plugins" / "wreckers.py"
WHY = {
    "hangs": "did not come back", "loops": "took longer", "asks": "asked for", "waits": "waits for another",
    "crashes": "by signal", "leaves": "with exit code 0", "interrupts": "KeyboardInterrupt",
}  # fmt: skip


def evaluate(folder, *explainers, jobs=1, limit=2, more=()):
    """The toy detector with these explainers beside ``rows``, in a process of its own."""
    named = [argument for e in ("rows", *explainers) for argument in ("-e", e)]
    command = [
        sys.executable, "-m", "xaibench", "eval", "--plugin", TOY, "--plugin", WRECKERS, "--model", "toy", "-D",
        "demo:identities=8", *named, "-x", "range", "--no-controls", "--json", "--threads", 1, "--limit", limit,
        "--time-limit", 2, "--jobs", jobs, "-o", folder, *more,
    ]  # fmt: skip
    environment = {k: v for k, v in os.environ.items() if k != "XAIBENCH_EVAL_NO_ISOLATION"}
    return subprocess.run(
        [str(c) for c in command], capture_output=True, text=True, timeout=300, check=False, env=environment
    )


def statuses(folder):
    return {
        (r["explainer"], r["sample"]): (r["status"], r["reason"]) for r in RunFolder(folder).table("scores").to_pylist()
    }


def test_four_wreckers_cost_their_own_cells(tmp_path):
    done = evaluate(tmp_path / "run", "hangs:at=real", "crashes:at=real", "leaves:at=real", "prints")
    assert done.returncode == 1 and json.loads(done.stdout)["failed"]
    assert "\x1b" not in done.stderr and "\x07" not in done.stderr and '{"schema": "nonsense"}' in done.stderr
    found = statuses(tmp_path / "run")
    assert len(found) == 5 * 2
    for (explainer, sample), (status, reason) in found.items():
        kind = explainer.removeprefix("local/").partition(":")[0]
        if kind in ("rows", "prints") or "real" not in sample:
            assert status == "ok", (explainer, sample, reason)
        else:
            assert status == "failed" and WHY[kind] in reason and kind in reason
            assert f"failed: local/{kind}" in done.stderr


@LONG
@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize(
    "kind", ["hangs", "loops", "asks", "waits", "crashes", "leaves", "leaves-thread", "interrupts"]
)
def test_each_wrecker_costs_the_samples_at_which_it_wrecks(tmp_path, kind, jobs):
    done = evaluate(tmp_path / "run", f"{kind}:at=real", jobs=jobs, limit=6)
    assert json.loads(done.stdout)["exit"] == done.returncode == (0 if kind == "leaves-thread" else 1)
    for (explainer, sample), (status, reason) in statuses(tmp_path / "run").items():
        bad = explainer.startswith(f"local/{kind}:") and "real" in sample and kind != "leaves-thread"
        assert status == ("failed" if bad else "ok"), (explainer, sample, reason)
        assert not bad or WHY[kind] in reason


@LONG
def test_who_dies_at_ten_samples_on_end_is_not_tried_at_the_rest(tmp_path):
    done = evaluate(tmp_path / "run", "leaves", limit=12)
    reasons = [reason for (e, _), (status, reason) in statuses(tmp_path / "run").items() if e == "local/leaves"]
    assert done.returncode == 1 and len(reasons) == 12
    assert sum("was not tried here" in r for r in reasons) == 2


POOL = """
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from xaibench.api import ExecutorRecord, hookimpl

@hookimpl
def xaibench_executors():
    return [ExecutorRecord(name="pool", target="xaibench_local_pool:Pool", summary="A pool of two processes.")]

class Pool:
    def __init__(self, parameters):
        self.pool = ProcessPoolExecutor(2, mp_context=get_context("spawn"))
    def run(self, tasks, call):
        futures = {self.pool.submit(call, task): task for task in tasks}
        for future in as_completed(futures):
            yield futures[future], future.result()
    def close(self):
        self.pool.shutdown(cancel_futures=True)
"""


@LONG
def test_an_executor_of_a_plugin_is_supervised_too(tmp_path):
    (tmp_path / "pool.py").write_text(POOL)
    done = evaluate(
        tmp_path / "run",
        "hangs:at=real",
        "crashes:at=real",
        limit=4,
        more=("--plugin", tmp_path / "pool.py", "--executor", "pool"),
    )
    assert done.returncode == 1
    for (explainer, sample), (status, reason) in statuses(tmp_path / "run").items():
        bad = explainer != "local/rows" and "real" in sample
        assert status == ("failed" if bad else "ok"), (explainer, sample, reason)
