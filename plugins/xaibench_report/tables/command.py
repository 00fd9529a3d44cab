"""``xaibench table``: declared here, what computes is imported when the command is given."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from xaibench.api import JsonFlag, RunFolder, UsageError, help_page, printable

if TYPE_CHECKING:
    from xaibench_report.tables.run_table import RunTable

SUFFIXES: Final = {".txt": "text", ".md": "markdown", ".tex": "latex", ".csv": "csv", ".html": "html"}

KEYS: Final = (
    "keys joined by commas: explainer, score, metric, item or a part of it such as k, model, member, dataset, repeat, "
    "family, or a column of the table samples such as method"
)


@help_page(
    "Read a run",
    "xaibench table RUN --columns method --score relevance-mass --intervals",
    "xaibench table RUN --columns method,k --score accuracy -o table.tex",
    "xaibench table RUN --rows model --over-runs  # families of training runs",
)
def table(
    run: RunFolder,
    rows: Annotated[str, typer.Option(help=f"Rows: {KEYS}.")] = "explainer",
    columns: Annotated[str, typer.Option(help="Columns, in the same way; several give levels of headers.")] = "score",
    score: Annotated[
        list[str] | None,
        typer.Option(
            help="SCORE, METRIC, 'METRIC SCORE' or a family such as localisation, and words of an item; seconds for "
            "the time of a map; may be repeated. Default: every primary score."
        ),
    ] = None,
    by: Annotated[
        list[str] | None, typer.Option(help="A table for each value of this key, or column of the samples.")
    ] = None,
    format: Annotated[
        str | None, typer.Option("--format", "-f", help="text (default), markdown, latex, csv or html.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="File; its ending says the format: .txt .md .tex .csv .html.")
    ] = None,
    intervals: Annotated[bool, typer.Option("--intervals", help="Show 95 % intervals.")] = False,
    n: Annotated[bool, typer.Option("--n", help="Show how many samples a number stands on.")] = False,
    controls: Annotated[bool, typer.Option("--controls", help="Show controls and references.")] = False,
    untouched: Annotated[
        bool, typer.Option("--untouched", help="Show what the detector says of the untouched pictures.")
    ] = False,
    bold: Annotated[
        str | None, typer.Option(metavar="best", help="best: bold what is not told apart from the best explainer.")
    ] = None,
    verdicts: Annotated[
        bool, typer.Option("--verdicts", help="Show the verdict against the controls below each value.")
    ] = False,
    over_runs: Annotated[
        bool, typer.Option("--over-runs", help="Show the means over the training runs of a family, not each run.")
    ] = False,
    digits: Annotated[int | None, typer.Option(help="Decimals (default 3; all of them in CSV).")] = None,
    caption: Annotated[str | None, typer.Option(help="LaTeX: the caption, in place of ours.")] = None,
    label: Annotated[str | None, typer.Option(help="LaTeX: the label of the table.")] = None,
    json: JsonFlag = False,
) -> None:
    """Print scores as a table of any shape: for a paper, a page or a spreadsheet."""
    from xaibench import open_run
    from xaibench_report.exports.output_file import write_file
    from xaibench_report.tables.run_table import build_table
    from xaibench_report.tables.show_table import show_table
    from xaibench_report.tables.table_request import make_request
    from xaibench_report.values.run_tables import read_run

    request = make_request(
        rows, columns, score or (), by or (), intervals=intervals, n=n, controls=controls, untouched=untouched,
        bold=bold, verdicts=verdicts, digits=digits, over_runs=over_runs,
    )  # fmt: skip
    name = _format(format, out)
    opened = open_run(run)
    found = build_table(*read_run(opened), request)
    text = found.to_format(name, caption, label)
    if out is not None:
        write_file(opened, out, lambda aside: aside.write_text(text, encoding="utf-8", newline="\n"))
    if name == "csv":
        _print_notes(found)
    if out is not None and not json:
        print(f"wrote {_count(found)} to {out}")
    elif json or name == "text":
        show_table(found, json=json, out=out)
    else:
        print(text, end="")


def _format(name: str | None, out: Path | None) -> str:
    """The format that is named, else that of the file's ending."""
    if name is not None or out is None:
        return name or "text"
    if out.suffix.lower() not in SUFFIXES:
        raise UsageError(f"the ending of {out} names no format", f"end it in {', '.join(SUFFIXES)}, or give --format")
    return SUFFIXES[out.suffix.lower()]


def _count(found: RunTable) -> str:
    return "1 table" if len(found.grids) == 1 else f"{len(found.grids)} tables"


def _print_notes(found: RunTable) -> None:
    """On stderr, what belongs to a whole table: a file of rows has no place for it."""
    for text in dict.fromkeys(note.text for grid in found.grids for note in grid.notes if not note.mark):
        print(f"note: {printable(text)}", file=sys.stderr)
