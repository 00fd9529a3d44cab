"""``xaibench export``: declared here, what writes is imported when the command is given."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from xaibench.api import RunFolder, UsageError, completion, help_page


class FigureFormat(StrEnum):
    """What a chart is written as."""

    pdf = "pdf"
    svg = "svg"
    png = "png"


@help_page(
    "Read a run",
    "xaibench export xaibench-runs/RUN --table predictions -o predictions.parquet",
    "xaibench export RUN --methods -o methods.tex --bibtex methods.bib",
    "xaibench export RUN --figures pdf -o figures",
)
def export(
    run: RunFolder,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="File ending in .parquet or .csv; for --methods in .tex, .md or .txt, default stdout; "
            "for --figures a folder, default figures.",
        ),
    ] = None,
    table: Annotated[
        str | None, typer.Option(help="Table to write; default scores.", autocompletion=completion("table"))
    ] = None,
    methods: Annotated[
        bool, typer.Option("--methods", help="The methods of the run in words, for a paper, instead of a table.")
    ] = False,
    bibtex: Annotated[
        Path | None, typer.Option(help="File ending in .bib: BibTeX of every method and measure of the run.")
    ] = None,
    figures: Annotated[
        FigureFormat | None, typer.Option(help="Every chart of the page as a file of this format, instead of a table.")
    ] = None,
    sheet: Annotated[
        list[str] | None,
        typer.Option(help="With --figures: this sample beside the maps of every explainer, too; may be repeated."),
    ] = None,
) -> None:
    """Write one table of a run into one file, its methods for a paper, or its charts.

    In a .csv, text that a spreadsheet would take for a formula begins with an apostrophe.
    """
    if figures is not None or sheet:
        if figures is None:
            raise UsageError("--sheet alone does not say how to write it", "add --figures pdf, svg or png")
        if methods or bibtex is not None or table is not None:
            raise UsageError("--figures goes with none of --table, --methods and --bibtex", "give one command for each")
        from xaibench_report.figure_files import write_figures

        write_figures(run, out or Path("figures"), figures.value, sheet or ())
        return
    if not methods and bibtex is None:
        from xaibench_report.exports.table_file import write_table

        write_table(run, table or "scores", out or Path("scores.parquet"))
        return
    if table is not None:
        raise UsageError("--table goes with neither --methods nor --bibtex", "give one command for each")
    if out is not None and not methods:
        raise UsageError("--out and --bibtex alone do not say what to write to --out", "add --methods")
    from xaibench_report.exports.methods_files import write_methods

    write_methods(run, out, bibtex, with_text=methods)
