"""Tables of pictures: CSV and Parquet that are none, or hold what no table of pictures holds."""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fuzzing.base import Base, Command, check, cut, eval_data, flipped, save_picture

_COLUMNS = ("id", "image", "label", "method", "identity", "donor", "pair", "mask", "landmarks", "split")


def _rows(here: Path) -> list[dict[str, Any]]:
    rows = []
    for i in range(6):
        label = ("real", "fake")[i % 2]
        save_picture(here / f"p{i}.png", i)
        rows.append({"id": f"s{i}", "image": f"p{i}.png", "label": label, "identity": f"i{i // 2}", "split": "test"})
    return rows


def _csv(rows: Sequence[dict[str, Any]], delimiter: str = ",") -> str:
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [delimiter.join(names), *(delimiter.join(str(row.get(n, "")) for n in names) for row in rows)]
    return "\n".join(lines) + "\n"


def _commands(rng: Random, name: str) -> Sequence[Command]:
    spec = f"manifest:path={name}"
    return eval_data(spec), check("toy", "-D", spec, "--limit", "4")


def _bytes(rng: Random, here: Path, base: Base) -> Sequence[Command]:
    """Other encodings, NUL, a byte order mark, ends of line, flips and cuts."""
    text = _csv(_rows(here))
    data = text.encode()
    ways = (
        text.encode("utf-16"), text.encode("utf-16-be"), text.encode("utf-32"), b"\xef\xbb\xbf" + data, data + b"\0",
        data.replace(b",", b"\0"), data.replace(b"\n", b"\r"), data.replace(b",", b";"), flipped(rng, data), b"",
        cut(rng, data), b"\n\n\n", data.replace(b"s1", b'"s1'), data.replace(b"p1", b"\xff\xfe"), rng.randbytes(3000),
    )  # fmt: skip
    (here / "m.csv").write_bytes(ways[rng.randrange(len(ways))])
    return _commands(rng, "m.csv")


def _cells(rng: Random, here: Path, base: Base) -> Sequence[Command]:
    """Odd values in the columns that are known and in further ones."""
    rows = _rows(here)
    values = (
        "x" * 200_000, "9" * 5000, "-", "nan", "1e400", "../../etc/passwd", "/etc/passwd", "C:\\x", "a\0b", "\x1b[2J",
        "s0", "=1+1", " ", "p1.png/", "p1.png/x", "n" * 300 + ".png", "10" * 2200, "true", ".", "..", "\u202e", "~", "a//b",
    )  # fmt: skip
    for _ in range(rng.randrange(1, 4)):
        rng.choice(rows)[rng.choice((*_COLUMNS, "age", "generator"))] = rng.choice(values)
    (here / "m.csv").write_text(_csv(rows))
    return _commands(rng, "m.csv")


def _columns(rng: Random, here: Path, base: Base) -> Sequence[Command]:
    rows = _rows(here)
    way = rng.randrange(6)
    if way == 0:
        text = "id,id,image,label\n" + "a,b,p0.png,real\n"
    elif way == 1:
        text = "id,image,label," + ",".join(f"c{i}" for i in range(1_000_000)) + "\na,p0.png,real\nb,p1.png,fake\n"
    elif way == 2:
        text = "id,image,label" + "," * 1_000_000 + "\na,p0.png,real\nb,p1.png,fake\n"
    elif way == 3:
        text = _csv([{**row, "digest": 1, "Age": 2, "age": 3} for row in rows])
    elif way == 4:
        text = "id,image\n" + "a,p0.png\n"
    else:
        text = _csv([{**row, "a" * 100_000: "1", "b\0": "2"} for row in rows])
    (here / "m.csv").write_text(text)
    return _commands(rng, "m.csv")


def _many_rows(rng: Random, here: Path, base: Base) -> Sequence[Command]:
    _rows(here)
    name = rng.choice(("p0.png", "nowhere.png"))
    lines = [f"s{i},{name},{('real', 'fake')[i % 2]}" for i in range(30_000)]
    (here / "m.csv").write_text("id,image,label\n" + "\n".join(lines))
    return _commands(rng, "m.csv")[:1]


def _types(rng: Random, here: Path, base: Base) -> Sequence[Command]:
    """Every type of Arrow, as a further column and in the place of a known one."""
    rows = _rows(here)
    n = len(rows)
    now = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    arrays = (
        pa.array([[i] for i in range(n)]), pa.array([{"a": i} for i in range(n)]), pa.array([now] * n),
        pa.array([now] * n, pa.timestamp("ns", "Mars/Olympus")) if rng.random() < 0.5 else pa.array([2**40] * n, pa.timestamp("s")),
        pa.array(["x"] * n).dictionary_encode(), pa.nulls(n), pa.array([b"\xff\0"] * n), pa.array([2**63 - 1] * n),
        pa.array([2**64 - 1] * n, pa.uint64()), pa.array([float("nan"), float("inf"), 1.0, -0.0, 1e308, 5e-324]),
        pa.array([decimal.Decimal("1.5")] * n), pa.array([True] * n), pa.array([datetime.time(1)] * n),
        pa.array([datetime.timedelta(days=1)] * n, pa.duration("s")), pa.array([2**60] * n, pa.duration("s")),
        pa.array([-(2**31)] * n, pa.date32()), pa.array([2**62] * n, pa.date64()), pa.array([[("k", 1)]] * n, pa.map_(pa.string(), pa.int64())),
        pa.array([[0.5, 1.5]] * n, pa.list_(pa.float32(), 2)), pa.array([1.5] * n, pa.float16()),
        pa.array([b"1234"] * n, pa.binary(4)), pa.array(["y"] * n, pa.large_string()),
        pa.array([decimal.Decimal(10) ** 70] * n, pa.decimal256(76)),
        pa.array(["x" * 10_000_000] + ["y"] * (n - 1)), pa.array(["\0"] * n), pa.array([None, "a", None, "b", None, "c"]),
    )  # fmt: skip
    table = pa.Table.from_pylist(rows)
    name = rng.choice((*_COLUMNS, "age", "video", "group", "x\0y", "a" * 1000))
    for array in rng.sample(arrays, 2):
        if name in table.column_names:
            table = table.drop_columns([name])
        table = table.append_column(name, array)
        name = rng.choice((*_COLUMNS, "more"))
    pq.write_table(table, here / "m.parquet")
    return _commands(rng, "m.parquet")


def _parquet(rng: Random, here: Path, base: Base) -> Sequence[Command]:
    """Parquet that is damaged, empty, has no column, or a column twice."""
    rows = _rows(here)
    table = pa.Table.from_pylist(rows)
    pq.write_table(table, here / "m.parquet")
    data = (here / "m.parquet").read_bytes()
    way = rng.randrange(8)
    if way == 0:
        pq.write_table(table.slice(0, 0), here / "m.parquet")
    elif way == 1:
        pq.write_table(pa.table({"id": []}), here / "m.parquet")
    elif way == 2:
        pq.write_table(table.append_column("id", table["id"]), here / "m.parquet")
    elif way == 3:
        pq.write_table(pa.table({f"c{i}": [1] for i in range(2000)}), here / "m.parquet")
    else:
        (here / "m.parquet").write_bytes(
            (cut(rng, data), flipped(rng, data), flipped(rng, data, 4, len(data) // 2), b"PAR1" * 50)[way - 4]
        )
    return _commands(rng, "m.parquet")


def _bomb(rng: Random, here: Path, base: Base) -> Sequence[Command]:
    """A small Parquet file of a gigabyte of cells."""
    rows = 4_000_000
    text = pa.DictionaryArray.from_arrays(pa.array([0] * 1).take(pa.array([0] * 1)).cast(pa.int32()), ["x" * 300])
    column = pa.chunked_array([text.take(pa.array([0] * 100_000))] * (rows // 100_000))
    table = pa.table({"id": column, "image": column, "label": column})
    pq.write_table(table, here / "m.parquet", compression="zstd")
    return _commands(rng, "m.parquet")[:1]


def _places(rng: Random, here: Path, base: Base) -> Sequence[Command]:
    """Paths that are no table."""
    (here / "folder.csv").mkdir()
    (here / "loop.csv").symlink_to("loop.csv")
    (here / "m.csv").write_text("id,image,label\n")
    (here / "m.csv").chmod(0)
    name = rng.choice(("folder.csv", "loop.csv", "m.csv", "x" * 300 + ".csv", ".", "", "m.csv/x", "a\0b", "nowhere", "~", "s3:",
                       "memory://x/m.csv", "zz://x"))  # fmt: skip
    return (eval_data(f"manifest:path={name}") if "\0" not in name else eval_data("manifest:path=."),)


MAKERS = (
    _bytes,
    _types,
    _cells,
    _columns,
    _parquet,
    _types,
    _places,
    _cells,
    _bytes,
    _types,
    _bomb,
    _many_rows,
    _cells,
)
