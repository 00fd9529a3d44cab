"""Commands that read a run's folder: ``status``, ``report``, ``compare``, ``export``."""

from __future__ import annotations

import json as jsonlib
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path

from xaibench.errors import StoreError, UsageError
from xaibench.store.folder import RunFolder


def print_leaderboards(path: Path) -> None:
    """Print the leaderboards of everything in the folder."""
    from rich.console import Console

    from xaibench.cli import render
    from xaibench.reporting.leaderboard import build_leaderboards
    from xaibench.reporting.open_run import open_run

    tables, info = open_run(path)
    render.print_leaderboards(build_leaderboards(tables, info), Console())


def show_status(path: Path, as_json: bool) -> None:
    """Units by kind and status, and the last error of each component."""
    folder = RunFolder(path)
    record = folder.run_file().get("record", {})
    units = folder.table("units").to_pylist()
    counts = Counter((u["kind"], u["status"]) for u in units)
    errors = {
        u["metric"] or u["explainer"] or u["kind"]: u["error"] or u["reason"] for u in units if u["status"] == "failed"
    }
    left = units_left(path)
    found = {
        "schema": "xaibench.status/1", "out": str(path), "units": [
            {"kind": k, "status": s, "count": n} for (k, s), n in sorted(counts.items())
        ],
        "samples": record.get("samples", {}), "seconds": sum(u["seconds"] for u in units), "left": left,
        "forward": sum(u["forward"] for u in units), "backward": sum(u["backward"] for u in units), "errors": errors,
    }  # fmt: skip
    if as_json:
        print(jsonlib.dumps(found))
        return
    for (kind, status), count in sorted(counts.items()):
        print(f"{kind}: {count} {status}")
    print(f"left: {left}")
    print(f"{found['forward']:,} forward and {found['backward']:,} backward passes, {found['seconds']:.0f} s")
    for component, error in errors.items():
        print(f"failed: {component}: {error}")
    if len(units) > 2000:
        print(f"{len(units)} units: 'xaibench export {path}' makes one file, which reads faster")


def units_left(path: Path) -> int:
    """Units that the run's last plan asks for and the folder does not hold."""
    folder = RunFolder(path)
    wanted = set(folder.run_file().get("record", {}).get("units", []))
    return len(wanted - folder.done())


def make_report(path: Path, out: Path | None, as_json: bool, baseline: str | None = None) -> None:
    """Print the leaderboards and write the page; with ``baseline``, the balance beside that model too."""
    from rich.console import Console

    from xaibench.cli import render
    from xaibench.registry import load_registry
    from xaibench.reporting.balance import balances
    from xaibench.reporting.leaderboard import build_leaderboards
    from xaibench.reporting.open_run import open_run, pictures
    from xaibench.reporting.report import write_report

    tables, info = open_run(path, maps=True)
    boards = build_leaderboards(tables, info)
    balanced = balances(tables, info, baseline) if baseline is not None else None
    settings = RunFolder(path).run_file()
    read, why = pictures(tables, load_registry(settings.get("plugin", ()), settings.get("no-plugin", ())))
    if why:
        print(why, file=sys.stderr)
    target = out or path / "report.html"
    try:
        write_report(tables, info, target, read, leaderboards=boards, balanced=balanced, no_pictures=why)
    except OSError as error:
        raise StoreError(f"cannot write {target}: {error.strerror}", "choose another --out") from None
    if as_json:
        print(jsonlib.dumps(render.to_json(boards) | {"report": str(target)}))
        return
    render.print_leaderboards(boards, Console())
    print(f"report: {target}")


def compare_two(first: Path, second: Path, as_json: bool) -> None:
    """Print paired differences, second minus first."""
    from rich.console import Console

    from xaibench.cli import render
    from xaibench.reporting.compare import compare_runs
    from xaibench.reporting.open_run import open_run

    (a, info), (b, _) = open_run(first), open_run(second)
    comparison = compare_runs(a, b, info)
    if as_json:
        print(jsonlib.dumps(render.comparison_to_json(comparison)))
        return
    render.print_comparison(comparison, Console())


def export_table(path: Path, out: Path, table: str) -> None:
    """Write all rows of a table into one Parquet or CSV file."""
    import pyarrow.csv
    import pyarrow.parquet

    from xaibench.store.schema import TABLES

    if table not in TABLES:
        raise UsageError(f"no table '{table}'", f"tables: {', '.join(TABLES)}")
    if out.suffix not in (".parquet", ".csv"):
        raise UsageError(f"{out} ends in neither .parquet nor .csv", "choose one of them")
    folder = RunFolder(path)
    folder.run_file()
    if any(out.resolve().is_relative_to((path / t).resolve()) for t in TABLES):
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
