"""One table of a run as one Parquet or CSV file."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from xaibench.api import UsageError
from xaibench_report.exports.output_file import write_file
from xaibench_report.values.run_values import Table
from xaibench_report.values.spreadsheet_text import FORMULA_START, spreadsheet_text


def write_table(folder: str, name: str, out: Path) -> None:
    """Write the rows of the last plan, and say how many. A .csv lacks the columns of lists and bytes, which is said."""
    from xaibench import open_run

    if out.suffix not in (".parquet", ".csv"):
        raise UsageError(f"{out} ends in neither .parquet nor .csv", "choose one of them")
    run = open_run(folder)
    rows = run.to_arrow(name)
    beyond = [f.name for f in rows.schema if pa.types.is_nested(f.type) or pa.types.is_binary(f.type)]
    beyond = beyond if out.suffix == ".csv" else []
    metadata = run.tables[name].metadata

    def write(aside: Path) -> None:
        if out.suffix == ".csv":
            pyarrow.csv.write_csv(without_formulas(rows.drop_columns(beyond)), aside)
        else:
            pyarrow.parquet.write_table(rows.replace_schema_metadata(metadata), aside, compression="zstd")

    write_file(run, out, write)
    lacking = f", without {', '.join(beyond)} (a .parquet file holds all columns)" if beyond else ""
    print(f"wrote {len(rows):,} rows to {out}{lacking}")


def without_formulas(rows: Table) -> Table:
    """The rows with an apostrophe before every text, and every column's name, that a spreadsheet would run."""
    for at, column in enumerate(rows.schema):
        name = spreadsheet_text(column.name)
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        values = rows.column(at)
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            values = pc.replace_substring_regex(values.cast(kind), pattern=f"({FORMULA_START})", replacement="'\\1")
        rows = rows.set_column(at, pa.field(name, values.type), values)
    return rows
