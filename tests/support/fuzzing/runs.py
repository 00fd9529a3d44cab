"""Folders of runs that are damaged, or hold what no run holds."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq

from fuzzing.base import EVAL, Base, Command, cut, flipped

_TABLES = ("commits", "samples", "predictions", "scores", "maps", "runs", "components")


def _commands(rng: Random, base: Base) -> Sequence[Command]:
    """Some that read the run ``run``, and the one that goes on with it."""
    reading = (
        ("status", "run"), ("status", "run", "--json", "--verify"), ("report", "run", "-o", "page.html"), ("export", "run", "-o", "s.csv"),
        ("export", "run", "--table", rng.choice(_TABLES), "-o", "s.parquet"), ("merge", "run", str(base.run), "-o", "joined"),
        ("table", "run"), ("rank", "detectors", "run"), ("eval", "run/run.toml", "--dry-run"),
    )  # fmt: skip
    return *rng.sample(reading, 3), (*EVAL, "-o", "run")


def _copy(here: Path, base: Base) -> Path:
    shutil.copytree(base.run, here / "run")
    return here / "run"


def _file(rng: Random, run: Path) -> Path:
    return rng.choice(sorted(f for f in run.rglob("*") if f.is_file() and f.suffix in (".parquet", ".toml")))


def _bytes(rng: Random, here: Path, base: Base) -> Sequence[Command]:
    file = _file(rng, _copy(here, base))
    data = file.read_bytes()
    file.write_bytes(rng.choice((b"", cut(rng, data), flipped(rng, data, 3), rng.randbytes(len(data)), data + b"x")))
    return _commands(rng, base)


def _kinds(rng: Random, here: Path, base: Base) -> Sequence[Command]:
    """A folder in the place of a file, a file in the place of a folder, links, permissions."""
    run = _copy(here, base)
    file, table = _file(rng, run), run / rng.choice(_TABLES)
    way = rng.randrange(7)
    if way == 0:
        file.unlink()
        file.mkdir()
    elif way == 1:
        shutil.rmtree(table)
        table.write_bytes(b"x")
    elif way == 2:
        file.unlink()
        file.symlink_to(file.name)
    elif way == 3:
        shutil.rmtree(table)
        table.symlink_to(table.name)
    elif way == 4:
        file.chmod(0)
    elif way == 5:
        shutil.rmtree(run)
        (run.write_bytes if rng.random() < 0.5 else run.symlink_to)(b"run")  # type: ignore[operator]
    else:
        (run / ".lock").unlink(missing_ok=True)
        (run / ".lock").mkdir()
        (run / ".staging").mkdir(exist_ok=True)
        (run / ".staging" / "folder").mkdir()
    return _commands(rng, base)


def _names(rng: Random, here: Path, base: Base) -> Sequence[Command]:
    """Odd names beside the commits."""
    run = _copy(here, base)
    commit = next((run / "commits").iterdir())
    data = commit.read_bytes()
    for name in rng.sample((
        "x", "00000000-0000000000000000.parquet", "99999999-" + hashlib.sha256(data).hexdigest()[:16] + ".parquet",
        "00000099-" + hashlib.sha256(data).hexdigest()[:16] + ".parquet", "a\nb.parquet", "\udcff.parquet", "00000001-zz.parquet",
        "٠٠٠٠٠٠٠١-0000000000000000.parquet", "..parquet", "00000001.parquet", " ", "00000002-0000000000000000.parquet",
    ), 3):  # fmt: skip
        (run / "commits" / name).write_bytes(data)
    return _commands(rng, base)


def _forged(rng: Random, here: Path, base: Base) -> Sequence[Command]:
    """A commit whose name fits its contents, and whose contents are none."""
    run = _copy(here, base)
    sound = sorted((run / "commits").iterdir())[-1]
    table = pq.read_table(sound)
    metadata = dict(table.schema.metadata or {})
    header = json.loads(metadata[b"xaibench.commit"])
    way = rng.randrange(14)
    if way == 0:
        metadata.pop(b"xaibench.commit")
    elif way == 1:
        metadata[b"xaibench.commit"] = rng.choice(
            (b"", b"{}", b"[]", b"null", b"[" * 20_000, b"{", b"1" + b"0" * 5000, b"\xff")
        )
    elif way == 2:
        metadata[b"xaibench.schema"] = rng.choice(
            (b"", b"x", b"xaibench/999", b"xaibench/x", b"/" + b"9" * 5000, b"\xff", b"/-1")
        )
    elif way == 3:
        table = pa.table({"x": [1]})
    elif way == 4:
        table = table.slice(0, 0)
    elif way == 5:
        table = table.drop_columns([rng.choice(table.column_names)])
    elif way == 6:
        name = rng.choice(table.column_names)
        at = table.column_names.index(name)
        table = table.set_column(at, name, pa.nulls(len(table)))
    elif way == 7:
        name = rng.choice(table.column_names)
        at = table.column_names.index(name)
        table = table.set_column(at, name, pa.array([rng.choice((-1, 2**40))] * len(table)))
    else:
        key, inner = rng.choice((
            ("level", "x"), ("replaces", ["a"]), ("replaces", [10**400]), ("replaces", [1, 2, 3]), ("files", [{}]), ("files", [1]),
            ("files", [{"table": "../../x", "name": "/etc/passwd", "size": 1, "rows": 1, "digest": "x"}]), ("level", None),
            ("files", [{"table": "scores", "name": "../runs/x", "size": -1, "rows": 10**400, "digest": None}]), ("replaces", None),
        ))  # fmt: skip
        header[key] = inner
        metadata[b"xaibench.commit"] = json.dumps(header).encode()
    sink = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata(metadata), sink)
    data = sink.getvalue().to_pybytes()
    number = sound.name[:8]
    sound.unlink()
    (sound.parent / f"{number}-{hashlib.sha256(data).hexdigest()[:16]}.parquet").write_bytes(data)
    return _commands(rng, base)


def _schema(rng: Random, here: Path, base: Base) -> Sequence[Command]:
    """A data file of another table or of none, under its name."""
    run = _copy(here, base)
    file = rng.choice([f for f in run.rglob("*.parquet") if f.parent.name != "commits"])
    pq.write_table(rng.choice((pa.table({"x": [1]}), pa.table({}), pa.table({"cell": [[1]], "sample": [None]}))), file)
    return _commands(rng, base)


def _run_file(rng: Random, here: Path, base: Base) -> Sequence[Command]:
    run = _copy(here, base)
    deep = 10_000
    (run / "run.toml").write_text(rng.choice((
        "", "x", "[record]\ncommit = -1\n", "[record]\ncommit = 1" + "0" * 400, "[record]\ncommit = nan\n", "record = 1\n", "[record]\ncommit = 99\n",
        "[record]\ncommit = true\n", "a = " + "[" * deep + "]" * deep, "[record]\ncommit = 99999999\n", "a." * deep + "a = 1\n",
    )))  # fmt: skip
    return _commands(rng, base)


def _emptied(rng: Random, here: Path, base: Base) -> Sequence[Command]:
    run = _copy(here, base)
    for name in rng.sample(_TABLES, rng.randrange(1, 7)):
        shutil.rmtree(run / name, ignore_errors=True)
    return _commands(rng, base)


MAKERS = (_forged, _kinds, _bytes, _names, _forged, _schema, _run_file, _emptied, _forged, _kinds)
