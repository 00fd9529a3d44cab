"""The built-in sections of the page. Like those of other plugins each is a function of an opened run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xaibench_report.boards.by_column import EXPLANATION, cell_name, gap_lines
from xaibench_report.boards.wording import place
from xaibench_report.browser.browser_data import browser_page
from xaibench_report.browser.picture_choice import REASONS
from xaibench_report.page.board_rows import beside_rows, board_rows, detector_rows, method_rows
from xaibench_report.page.figures import curve_figure, data_uri, mean_curves, pareto_figure
from xaibench_report.page.html_templates import render
from xaibench_report.page.report_context import context_of
from xaibench_report.page.run_provenance import component_rows, cost_rows, model_notes, run_rows

if TYPE_CHECKING:
    from xaibench import Run
    from xaibench_report.boards.detector_tables import DetectorTable
    from xaibench_report.boards.leaderboard import Board
    from xaibench_report.detectors.detection import Detection


def answer(run: Run) -> str | None:
    """A paragraph on every detector, what is shown of each explainer, what that rests on, and what comes next."""
    found = context_of(run).answer
    return render("answer.html", answer=found) if found.detectors else None


def marks(run: Run) -> str | None:
    """What a reader of any result of a detector must know first."""
    found = context_of(run).leaderboards.marks
    return render("marks.html", marks=found) if found else None


def detectors(run: Run) -> str:
    """The accuracy of every detector, over all pictures and by manipulation method, and P(fake) by label; samples in
    doubt."""
    leaderboards = context_of(run).leaderboards
    return render("detectors.html", detections=leaderboards.detections, doubts=leaderboards.doubts)


def boards(run: Run) -> str:
    """One leaderboard a metric family, with verdicts and notes; below them the measures of detectors themselves."""
    leaderboards = context_of(run).leaderboards
    return render(
        "boards.html",
        boards=leaderboards.boards,
        detectors=leaderboards.detectors,
        board_rows=board_rows,
        beside_rows=beside_rows,
        detector_rows=detector_rows,
        method_rows=method_rows,
    )


def by_column(run: Run) -> str | None:
    """Every board by the values of the columns that ``--by`` names."""
    columns = context_of(run).by_columns
    if not columns:
        return None
    return render("by_column.html", columns=columns, explanation=EXPLANATION, cell_name=cell_name, gap_lines=gap_lines)


def balance(run: Run) -> str | None:
    """Accuracy and interpretability of every detector beside the one that ``--baseline`` names."""
    balances = context_of(run).balances
    if balances is None:
        return None
    png = pareto_figure(balances)
    return render("balance.html", balances=balances, pareto=data_uri(png) if png else "")


def curves(run: Run) -> str | None:
    """The mean curves of every metric that draws some, one figure a detector and data set."""
    context = context_of(run)
    means = mean_curves(context.tables.curves) if context.tables.curves is not None else {}
    figures = []
    for where in sorted({key.where for key in means}):
        png = curve_figure({k: v for k, v in means.items() if k.where == where}, context.info)
        if png is not None:
            figures.append((place(where), data_uri(png)))
    return render("curves.html", curves=figures) if figures else None


def maps(run: Run) -> str | None:
    """The browser of pictures with their masks, verdicts and maps, or why there are no pictures."""
    context = context_of(run)
    picture, reason = context.pictures
    index, entries = browser_page(context) if picture else ({}, {})
    if index and not entries:  # the run kept no map
        return None
    return render("browser.html", index=index, entries=entries, reasons=REASONS, reason=reason)


def left_out(run: Run) -> str:
    """What failed, missing artefacts and values that are not ok, counted by reason, board by board."""
    leaderboards = context_of(run).leaderboards
    parts: list[Detection | Board | DetectorTable] = [
        *leaderboards.detections,
        *leaderboards.boards,
        *leaderboards.detectors,
    ]
    return render("left_out.html", parts=[part for part in parts if part.left_out])


def provenance(run: Run) -> str:
    """Commands, versions, plans, components and costs of the runs in the folder."""
    tables = context_of(run).tables
    return render(
        "provenance.html",
        runs=run_rows(tables.runs),
        components=component_rows(tables.components),
        model_notes=model_notes(tables.components),
        cost=cost_rows(tables.commits),
    )
