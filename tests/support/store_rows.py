"""Rows and commits of runs that no detector made, for the tests of the store."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa

from xaibench.api import canonical_json
from xaibench.store.commits import CellRows, Commit, CommitLog
from xaibench.store.planning import add_plan
from xaibench.store.relation import Address, Relation, RelationCell, RelationSamples, short_digest
from xaibench.store.schema import COMPONENTS, MAPS, PREDICTIONS, RUNS, SAMPLES, SCORES

DATASET = "faces"
KINDS = {"predict": ("predictions", PREDICTIONS), "explain": ("maps", MAPS), "score": ("scores", SCORES)}


def address(kind: str = "score", explainer: str = "rows", metric: str = "range", **more: Any) -> Address:
    """The address of a cell; predictions and maps have no metric."""
    if kind == "predict":
        explainer = metric = ""
    if kind == "explain":
        metric = ""
    return Address(kind, "toy", "", DATASET, explainer, metric, **more)  # type: ignore[arg-type]


def digest_of(sample: str, version: int = 0) -> int:
    """A 64-bit digest of a sample, another for each version of it."""
    return short_digest(hashlib.sha256(f"{sample}/{version}".encode()).hexdigest())


def ids(count: int) -> tuple[str, ...]:
    return tuple(f"s{i}" for i in range(count))


def key_of(where: Address, key: str = "k1") -> str:
    """The key of a cell: that of no other address, as in a plan."""
    return f"{key} {' '.join(map(str, where))}"


def cell(where: Address, key: str = "k1", **fields: Any) -> RelationCell:
    return RelationCell(address=where, key=key_of(where, key), **fields)


def cell_rows(
    where: Address,
    samples: Sequence[str],
    *,
    key: str = "k1",
    whole_key: str = "",
    status: str = "ok",
    version: int = 0,
    **fields: Any,
) -> CellRows:
    """The record of a cell at some samples."""
    digests = tuple(digest_of(s, version) if s else 0 for s in samples)
    return CellRows(
        address=where, key=whole_key or key_of(where, key), samples=tuple(samples), digests=digests,
        statuses=(status,) * len(samples), **fields,
    )  # fmt: skip


def table_of(cell: CellRows, value: float = 0.0, payload: int = 0) -> tuple[str, pa.Table]:
    """The table of a cell and its rows: one a sample, with ``payload`` bytes where it is a map."""
    name, schema = KINDS.get(cell.address.kind, ("scores", SCORES))
    blank = {f.name: _blank(f.type) for f in schema if not f.nullable}
    a = cell.address
    shared = {"cell": cell.key, "model": a.model, "dataset": a.dataset, "explainer": a.explainer, "metric": a.metric}
    rows = []
    for sample, status in zip(cell.samples, cell.statuses, strict=True):
        row = blank | shared | {"sample": sample, "status": status, "value": value, "group": "old"}
        if name == "maps":
            row["map"] = hashlib.shake_256(sample.encode()).digest(payload)
        rows.append({k: v for k, v in row.items() if k in schema.names})
    return name, pa.Table.from_pylist(rows, schema=schema)


def _blank(kind: pa.DataType) -> Any:
    if pa.types.is_string(kind):
        return ""
    return [] if pa.types.is_nested(kind) else 0


def commit(log: CommitLog, *cells: CellRows, value: float = 0.0, payload: int = 0, **more: Any) -> Commit:
    """Commit cells with their rows."""
    tables: dict[str, list[pa.Table]] = {}
    for cell in cells:
        name, rows = table_of(cell, value, payload)
        tables.setdefault(name, []).append(rows)
    return log.add(tables, cells, **more)


def relation(cells: Iterable[RelationCell], samples: Sequence[str], version: int = 0) -> Relation:
    """Cells x samples of one dataset."""
    digests = tuple(digest_of(s, version) for s in samples)
    strangers = tuple(digest_of(s, version + 100) for s in samples)
    return Relation(tuple(cells), {DATASET: RelationSamples(tuple(samples), digests, strangers)})


def plan(log: CommitLog, asked: Relation, *, run: str = "1", group: str = "new", version: int = 0) -> None:
    """Commit a plan: the tables samples, runs and components."""
    rows = [
        {f.name: _blank(f.type) for f in SAMPLES if not f.nullable}
        | {"dataset": DATASET, "sample": s, "order": i, "group": group}
        | {"digest": _hexadecimal(s, version), "stranger_digest": _hexadecimal(s, version + 100)}
        for i, s in enumerate(asked.samples[DATASET].ids)
    ]
    text = canonical_json({"relation": [c.to_json() for c in asked.cells], "run_file": {"out": run}, "identity": {}})
    run_row = {f.name: _blank(f.type) for f in RUNS} | {"run": run, "plan": text, "plan_digest": text}
    component = {f.name: _blank(f.type) for f in COMPONENTS if not f.nullable} | {"run": run}
    add_plan(
        log,
        pa.Table.from_pylist(rows, schema=SAMPLES),
        [pa.Table.from_pylist([run_row], schema=RUNS)],
        [pa.Table.from_pylist([component], schema=COMPONENTS)],
    )


def _hexadecimal(sample: str, version: int) -> str:
    return hashlib.sha256(f"{sample}/{version}".encode()).hexdigest()
