"""Commands that read a run's folder: ``status`` and ``export``."""

from __future__ import annotations

import json as jsonlib
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from xaibench.api import JsonFlag, RunFolder, StoreError, UsageError
from xaibench.store.folder import RunFolder as Folder


def show_status(run: RunFolder, json: JsonFlag = False) -> None:
    """Say what is done, failed and left in a run's folder."""
    folder = Folder(run)
    record = folder.run_file().get("record", {})
    units = folder.table("units").to_pylist()
    counts = Counter((u["kind"], u["status"]) for u in units)
    errors = {
        u["metric"] or u["explainer"] or u["kind"]: u["error"] or u["reason"] for u in units if u["status"] == "failed"
    }
    left = units_left(run)
    found = {
        "schema": "xaibench.status/1", "out": str(run), "units": [
            {"kind": k, "status": s, "count": n} for (k, s), n in sorted(counts.items())
        ],
        "samples": record.get("samples", {}), "seconds": sum(u["seconds"] for u in units), "left": left,
        "forward": sum(u["forward"] for u in units), "backward": sum(u["backward"] for u in units), "errors": errors,
    }  # fmt: skip
    if json:
        print(jsonlib.dumps(found))
        return
    for (kind, status), count in sorted(counts.items()):
        print(f"{kind}: {count} {status}")
    print(f"left: {left}")
    print(f"{found['forward']:,} forward and {found['backward']:,} backward passes, {found['seconds']:.0f} s")
    for component, error in errors.items():
        print(f"failed: {component}: {error}")
    if len(units) > 2000:
        print(f"{len(units)} units: 'xaibench export {run}' makes one file, which reads faster")


def units_left(path: Path) -> int:
    """Units that the run's last plan asks for and the folder does not hold."""
    folder = Folder(path)
    wanted = set(folder.run_file().get("record", {}).get("units", []))
    return len(wanted - folder.done())


def export_table(
    run: RunFolder,
    out: Annotated[Path, typer.Option("--out", "-o", help="File ending in .parquet or .csv.")] = Path("scores.parquet"),
    table: Annotated[str, typer.Option(help="Table to write.")] = "scores",
) -> None:
    """Write one table of a run into one file."""
    import pyarrow.csv
    import pyarrow.parquet

    from xaibench.store.schema import TABLES

    if table not in TABLES:
        raise UsageError(f"no table '{table}'", f"tables: {', '.join(TABLES)}")
    if out.suffix not in (".parquet", ".csv"):
        raise UsageError(f"{out} ends in neither .parquet nor .csv", "choose one of them")
    folder = Folder(run)
    folder.run_file()
    if any(out.resolve().is_relative_to((run / t).resolve()) for t in TABLES):
        raise UsageError(f"{out} lies among the run's own tables", "choose another --out")
    rows = folder.table(table)
    beyond = [f.name for f in rows.schema if pyarrow.types.is_nested(f.type) or pyarrow.types.is_binary(f.type)]
    beyond = beyond if out.suffix == ".csv" else []
    aside = out.with_name(f".{out.name}.part")
    try:
        if out.suffix == ".csv":
            pyarrow.csv.write_csv(rows.drop_columns(beyond), aside)
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
