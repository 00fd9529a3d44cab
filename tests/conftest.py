"""What several tests share: the toy plugin, runs of it, and tables without the columns run and unit."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

# The plugins of the tests are our own: a worker process for each run of theirs would take minutes. Tests of isolation
# run programs without the variable.
os.environ["XAIBENCH_EVAL_NO_ISOLATION"] = "1"
os.environ["XAIBENCH_CONFIG"] = ""  # the developer's own config is not read
if "PYTEST_XDIST_WORKER" in os.environ:  # before torch is imported: the workers of pytest share the cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")
# A registered device stays for all that the process does: these files run in processes of their own (test_fake_device.py).
collect_ignore_glob = [] if "XAIBENCH_FAKE_DEVICE" in os.environ else ["*_on_device.py"]
TOY = Path(__file__).parent / "support" / "plugins" / "toy.py"


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run the command line in this process: (exit code, stdout, stderr)."""
    from xaibench.cli.main import main

    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main([str(a) for a in arguments])
        out, err = capfd.readouterr()
        return int(stop.value.code or 0), out, err

    return run


@pytest.fixture
def toy_eval(cli: Callable[..., tuple[int, str, str]]) -> Callable[..., tuple[int, str, str]]:
    """``xaibench eval`` of the toy detector on twelve small demo samples, quietly, without controls."""

    def run(
        *arguments: object, explainer: str = "rows", metric: str = "range", limit: int | None = 12
    ) -> tuple[int, str, str]:
        more = [] if limit is None else ["--limit", limit]
        return cli(
            "eval", "--plugin", TOY, "--model", "toy", "--dataset", "demo:identities=8", "-e", explainer,
            "-x", metric, "--no-controls", "--json", "--threads", 1, "--no-isolation", *more, *arguments,
        )  # fmt: skip

    return run


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A headless Chromium, started once."""
    from headless import MISSING, open_browser

    if MISSING:
        pytest.skip(f"not here: {MISSING}")
    driver = open_browser(tmp_path_factory.mktemp("chromium"))
    yield driver
    driver.quit()


def comparable(folder: Path, table: str) -> pa.Table:
    """A table's rows without the columns run and unit, sorted by all that is left, the key of the cell last."""
    from xaibench.store.folder import RunFolder

    rows = RunFolder(folder).table(table).drop_columns(["run", "unit"])
    flat = [f.name for f in rows.schema if not (pa.types.is_list(f.type) or pa.types.is_map(f.type))]
    flat = sorted(flat, key=lambda name: name == "cell")
    return rows.sort_by([(name, "ascending") for name in flat]).combine_chunks()


def same_bytes(first: pa.Table, second: pa.Table) -> bool:
    """Whether two tables are equal to the byte once written."""
    return _ipc(first) == _ipc(second)


def _ipc(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()
