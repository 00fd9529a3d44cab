"""The same run under every executor gives the same rows to the byte."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest
from toy_runs import EQUAL, LONG, differences, glob_differences, toy_run

KEPT = (*EQUAL, "maps")
SMALL = {
    "plugin": [], "model": ["demo"], "explainer": ["gradcam", "random"], "metric": ["deletion:steps=3"], "limit": 4,
}  # fmt: skip
ALL = {"explainer": ["rows", "random", "shared"], "metric": ["range", "spread", "channels"], "task_samples": 5}
POOLS = {
    "loky": "futures:loky:ProcessPoolExecutor",
    "distributed": "futures:distributed:Client,arguments={n_workers=2,threads_per_worker=2,dashboard_address=''}",
    "concurrent": "futures:concurrent.futures:ProcessPoolExecutor",
    "submitit": "futures:pools:slurm_rehearsal",
    "ray": "ray",
}
pytestmark = pytest.mark.filterwarnings("ignore")  # those libraries leave sockets and event loops to the collector


def needs(library):
    return pytest.mark.skipif(importlib.util.find_spec(library) is None, reason=f"{library} is not installed")


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    out = tmp_path_factory.mktemp("calm")
    assert toy_run(out / "small", **SMALL).exit_code == 0
    return out / "small"


@pytest.mark.parametrize("library", [
    pytest.param("loky", marks=needs("loky")),
    pytest.param("distributed", marks=needs("distributed")),
    pytest.param("ray", marks=needs("ray")),
])  # fmt: skip
def test_a_small_run_is_equal(calm, tmp_path, library):
    result = toy_run(tmp_path / "run", executor=POOLS[library], jobs=2, task_samples=3, **SMALL)
    assert (result.exit_code, result.failures) == (0, [])
    assert not differences(calm, tmp_path / "run", KEPT) and not glob_differences(tmp_path / "run", KEPT)


@LONG
@pytest.mark.parametrize("plan", ["standard", "isolated"])
@pytest.mark.parametrize("library", [pytest.param(library, marks=needs(library)) for library in POOLS])
def test_a_run_of_all_stages_is_equal(tmp_path, monkeypatch, library, plan):
    """Without and with workers of the executors' processes."""
    shutil.copy(Path(__file__).parents[3] / "docs/examples/pools.py", tmp_path)
    monkeypatch.chdir(tmp_path)
    toy_run(tmp_path / "calm", **ALL)
    toy_run(tmp_path / "workers", jobs=4, isolation=plan == "isolated", **ALL)
    assert not differences(tmp_path / "calm", tmp_path / "workers", KEPT)
    result = toy_run(tmp_path / "run", executor=POOLS[library], jobs=2, isolation=plan == "isolated", **ALL)
    assert (result.exit_code, result.failures) == (0, [])
    assert not differences(tmp_path / "calm", tmp_path / "run", KEPT) and not glob_differences(tmp_path / "run", KEPT)
