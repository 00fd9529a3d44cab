"""Runs of the toy detector in this process, without the command line, and what lies in their folders."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from conftest import TOY, comparable, same_bytes
from xaibench.detector.torch_settings import prepare_torch
from xaibench.discovery.registry import Registry, load_registry
from xaibench.plan.settings import make_settings
from xaibench.run.driver import RunResult, execute, prepare

EQUAL = ("scores", "predictions", "curves", "detectors")
"""The tables that are equal to the byte, however a run came about. The structure of a detector is told from the pictures
that the run had first, and is left out."""
LONG = pytest.mark.skipif(not os.environ.get("XAIBENCH_TEST_EVERYWHERE"), reason="takes minutes: nox -s slow")
_DEFAULTS = {
    "model": ["toy"], "dataset": ["demo:identities=8"], "explainer": ["rows"], "metric": ["range", "spread"],
    "controls": False, "isolation": False, "threads": 1, "limit": 12, "plugin": [str(TOY)],
}  # fmt: skip


@cache
def registry() -> Registry:
    return load_registry((str(TOY),), ())


def toy_run(out: Path | str, *, rerun: Any = "missing", replace: bool = False, **settings: Any) -> RunResult:
    """What ``xaibench eval`` does, with the toy detector on twelve demo samples where nothing else is given."""
    asked = make_settings(None, {**_DEFAULTS, "out": str(out), **settings})
    prepared = prepare(asked, registry())
    prepare_torch(prepared.plan.runtime.threads)
    return execute(prepared, registry(), rerun=rerun, replace=replace)


def differences(first: Path, second: Path, tables: Iterable[str] = EQUAL) -> list[str]:
    """The tables that two runs show unequally."""
    return [t for t in tables if not same_bytes(*(without_structure(comparable(run, t)) for run in (first, second)))]


def without_structure(rows: pa.Table) -> pa.Table:
    """The rows without those of the structure of a detector."""
    return rows.filter(pc.not_equal(rows["check"], "structure")) if "check" in rows.schema.names else rows


def glob_differences(folder: Path, tables: Iterable[str] = EQUAL) -> list[str]:
    """The tables of which a plain glob gives other rows than the last plan's."""
    return [t for t in tables if not same_bytes(comparable(folder, t), _plain(folder, t))]


def _plain(folder: Path, table: str) -> pa.Table:
    """The rows of all files of a table, as :func:`comparable` gives those of the last plan."""
    files = sorted((folder / table).glob("*.parquet"))
    if not files:
        return comparable(folder, table).slice(0, 0)
    rows = pa.concat_tables(pq.read_table(f) for f in files).replace_schema_metadata(None).drop_columns(["run", "unit"])
    flat = [f.name for f in rows.schema if not (pa.types.is_list(f.type) or pa.types.is_map(f.type))]
    rows = rows.sort_by([(name, "ascending") for name in sorted(flat, key=lambda name: name == "cell")])
    return rows.cast(comparable(folder, table).schema).combine_chunks()
