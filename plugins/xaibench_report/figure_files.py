"""Every chart of a run, and sheets of chosen samples, as files for print."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from xaibench.api import NothingToEvaluate, StoreError
from xaibench_report.charts.chart_files import Format, chart_bytes
from xaibench_report.charts.run_chart import RunChart, unique_names
from xaibench_report.charts.run_charts import run_charts
from xaibench_report.displays.picture_sheet import PictureSheet, picture_sheet
from xaibench_report.exports.output_file import write_file
from xaibench_report.page.report_context import ReportContext

if TYPE_CHECKING:
    from xaibench import Run


def write_figures(folder: str | Path, out: Path, form: Format, sheets: Sequence[str] = ()) -> None:
    """Write a file ``NAME.FORM`` into the folder ``out`` for every chart of the run and the sheet of every sample
    of ``sheets``, and print what was written.

    Raises :class:`~xaibench.api.NothingToEvaluate` where the run has nothing to draw, and UsageError for an unknown
    sample. Files are whole or not there.
    """
    from xaibench import open_run

    run = open_run(folder)
    figures = dict(_figures(run, form, sheets))
    if not figures:
        raise NothingToEvaluate(f"{folder} has nothing to draw", "xaibench status says what it holds")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot write to {out}: {error.strerror}", "choose another --out") from None
    for name, write in figures.items():
        write_file(run, out / f"{name}.{form}", write)
    print(f"{len(figures)} figures: {out}")


def _figures(run: Run, form: Format, sheets: Sequence[str]) -> Iterator[tuple[str, Callable[[Path], object]]]:
    """Names and what writes them."""
    context = ReportContext.read(run)
    for name, chart in unique_names(run_charts(context)).items():
        yield name, partial(_write_chart, chart, form)
    for i, sample in enumerate(dict.fromkeys(sheets), 1):
        sheet = picture_sheet(run, context.info, sample, None, None)
        yield f"sheet-{i}", partial(_write_sheet, sheet, form)


def _write_sheet(sheet: PictureSheet, form: Format, path: Path) -> None:
    path.write_bytes(sheet.drawn(form))


def _write_chart(chart: RunChart, form: Format, path: Path) -> None:
    path.write_bytes(chart_bytes(chart, form))
