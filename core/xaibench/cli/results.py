"""Commands that read a run's folder: ``status`` and ``export``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xaibench.api import (
    FORMULA_START,
    JsonFlag,
    RunFolder,
    StoreError,
    UsageError,
    completion,
    help_page,
    print_json,
    printable,
    spreadsheet_text,
)
from xaibench.store.folder import LOG_FILE
from xaibench.store.folder import RunFolder as Folder

if TYPE_CHECKING:
    import pyarrow as pa

    from xaibench.store.snapshot import Snapshot


@help_page(
    "Read a run", "xaibench status xaibench-runs/RUN", "xaibench status xaibench-runs/RUN --verify  # compare digests"
)
def show_status(
    run: RunFolder,
    verify: Annotated[bool, typer.Option("--verify", help="Compare every file with its digest.")] = False,
    json: JsonFlag = False,
) -> None:
    """Say what is done, failed and left in a run's folder, and whether its files are there."""
    snapshot = Folder(run).snapshot(verify=verify)
    log = LOG_FILE in snapshot.log.files.entries()
    found = {
        "schema": "xaibench.status/2", "out": str(run), "log": f"{run}/{LOG_FILE}" if log else None, **_state(snapshot),
    }  # fmt: skip
    if json:
        print_json(found)
    else:
        _print_state(found)
    if snapshot.log.damage:
        raise typer.Exit(3)


def _state(snapshot: Snapshot) -> dict[str, Any]:
    """What is done, failed and left of the last plan, and what it cost."""
    relation, ledger = snapshot.relation, snapshot.log.ledger
    counts: Counter[tuple[str, str]] = Counter()
    left = 0
    for cell in relation.cells:
        ids = ("",) if cell.whole else relation.samples[cell.address.dataset].ids
        valid = ledger.valid(cell, relation)
        left += int((~valid).sum())
        statuses = (s for s, v in zip(ledger.statuses(cell.address, ids), valid, strict=True) if v)
        counts.update((cell.address.kind, "failed" if "failed" in s else s.partition(" ")[0]) for s in statuses)
    rows = snapshot.commits().select(["metric", "explainer", "kind", "failed", "seconds", "forward", "backward",
                                      "error", "reason"]).to_pylist()  # fmt: skip
    return {
        "results": [{"kind": k, "status": s, "count": n} for (k, s), n in sorted(counts.items())],
        "samples": {d: len(s.ids) for d, s in relation.samples.items()}, "left": left, "outside": snapshot.outside,
        "seconds": sum(r["seconds"] for r in rows), "forward": sum(r["forward"] for r in rows),
        "backward": sum(r["backward"] for r in rows), "damage": snapshot.log.damage,
        "errors": {r["metric"] or r["explainer"] or r["kind"]: r["error"] or r["reason"] for r in rows if r["failed"]},
    }  # fmt: skip


def _print_state(found: Mapping[str, Any]) -> None:
    for row in found["results"]:
        print(f"{row['kind']}: {row['count']:,} {row['status']}")
    print(f"left: {found['left']:,}")
    if found["outside"]:
        print(f"of other plans: {found['outside']:,} results, which nothing shows")
    print(f"{found['forward']:,} forward and {found['backward']:,} backward passes, {found['seconds']:.0f} s")
    for component, error in found["errors"].items():
        print(printable(f"failed: {component}: {error}"))
    for name, what in found["damage"].items():
        print(f"damaged: {printable(f'{name}: {what}')}; the same xaibench eval does its work again")
    if found["log"]:
        print(f"log: {found['log']}")


@help_page(
    "Read a run",
    "xaibench export xaibench-runs/RUN -o scores.csv",
    "xaibench export xaibench-runs/RUN --table predictions -o predictions.parquet",
)
def export_table(
    run: RunFolder,
    out: Annotated[Path, typer.Option("--out", "-o", help="File ending in .parquet or .csv.")] = Path("scores.parquet"),
    table: Annotated[str, typer.Option(help="Table to write.", autocompletion=completion("table"))] = "scores",
) -> None:
    """Write one table of a run into one file.

    In a .csv, text that a spreadsheet would take for a formula begins with an apostrophe.
    """
    import pyarrow.csv
    import pyarrow.parquet

    from xaibench.store.schema import TABLES

    if table not in TABLES:
        raise UsageError(f"no table '{table}'", f"tables: {', '.join(TABLES)}")
    if out.suffix not in (".parquet", ".csv"):
        raise UsageError(f"{out} ends in neither .parquet nor .csv", "choose one of them")
    folder = Folder(run)
    folder.snapshot()
    if isinstance(folder.path, Path) and any(out.resolve().is_relative_to((folder.path / t).resolve()) for t in TABLES):
        raise UsageError(f"{out} lies among the run's own tables", "choose another --out")
    rows = folder.table(table)
    beyond = [f.name for f in rows.schema if pyarrow.types.is_nested(f.type) or pyarrow.types.is_binary(f.type)]
    beyond = beyond if out.suffix == ".csv" else []
    aside = out.with_name(f".{out.name}.part")
    try:
        if out.suffix == ".csv":
            pyarrow.csv.write_csv(_without_formulas(rows.drop_columns(beyond)), aside)
        else:
            pyarrow.parquet.write_table(rows.replace_schema_metadata(TABLES[table].metadata), aside, compression="zstd")
        aside.replace(out)
    except OSError as error:
        raise StoreError(f"cannot write {out}: {error.strerror or error}", "choose another --out") from None
    finally:
        with suppress(OSError):
            aside.unlink(missing_ok=True)
    lacking = f", without {', '.join(beyond)} (a .parquet file holds all columns)" if beyond else ""
    print(f"wrote {len(rows):,} rows to {out}{lacking}")


def _without_formulas(rows: pa.Table) -> pa.Table:
    """The rows with an apostrophe before every text, and every column's name, that a spreadsheet would run."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for at, column in enumerate(rows.schema):
        name = spreadsheet_text(column.name)
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        values = rows.column(at)
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            values = pc.replace_substring_regex(values.cast(kind), pattern=f"({FORMULA_START})", replacement="'\\1")
        rows = rows.set_column(at, pa.field(name, values.type), values)
    return rows
