"""The built-in sections of the page. Like those of other plugins each is a function of an opened run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xaibench_report.boards.by_column import EXPLANATION, cell_name, gap_lines
from xaibench_report.charts.page_charts import PageChart, page_charts
from xaibench_report.charts.run_chart import RunChart
from xaibench_report.charts.run_charts import charts_of_kind
from xaibench_report.page.board_rows import (
    beside_rows,
    board_parts,
    board_rows,
    detector_rows,
    method_rows,
    part_names,
)
from xaibench_report.page.html_templates import render
from xaibench_report.page.report_context import context_of
from xaibench_report.page.run_provenance import component_rows, cost_rows, model_notes, run_rows

if TYPE_CHECKING:
    from xaibench import Run
    from xaibench_report.boards.detector_tables import DetectorTable
    from xaibench_report.boards.leaderboard import Board
    from xaibench_report.detectors.detection import Detection
    from xaibench_report.values.run_values import Where


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
    context = context_of(run)
    charts = _by_place([*charts_of_kind(context, "p-fake"), *charts_of_kind(context, "fill-response")])
    found = context.leaderboards
    return render("detectors.html", detections=found.detections, doubts=found.doubts, charts=charts)


def boards(run: Run) -> str:
    """One leaderboard a metric family, with verdicts and notes; below them the measures of detectors themselves."""
    context = context_of(run)
    leaderboards = context.leaderboards
    charts = {kind: _of_boards(charts_of_kind(context, kind)) for kind in ("intervals", "ranks", "cost")}
    return render(
        "boards.html",
        charts=charts,
        parts=board_parts(leaderboards.boards, context.parts),
        part_names=part_names(context.parts),
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
    return render("balance.html", balances=balances, charts=page_charts(charts_of_kind(context_of(run), "balance")))


def agreement(run: Run) -> str | None:
    """How alike measures, and explainers, order the samples."""
    charts = _by_place(charts_of_kind(context_of(run), "agreement"))
    return render("agreement.html", charts=charts) if charts else None


def curves(run: Run) -> str | None:
    """The mean curves of every metric that draws some, one chart a kind of curve, detector and data set."""
    charts = _by_place(charts_of_kind(context_of(run), "curves"))
    return render("curves.html", charts=charts) if charts else None


def _by_place(charts: list[RunChart]) -> dict[Where, list[PageChart]]:
    """Charts by detector and data set, in the order in which they come."""
    pairs = list(zip(charts, page_charts(charts), strict=True))
    places = dict.fromkeys(chart.where for chart in charts)
    return {where: [shown for chart, shown in pairs if chart.where == where] for where in places}


def _of_boards(charts: list[RunChart]) -> dict[tuple[Where, str], list[PageChart]]:
    """Charts by the place and the family of their board."""
    found: dict[tuple[Where, str], list[PageChart]] = {}
    for chart, shown in zip(charts, page_charts(charts), strict=True):
        found.setdefault((chart.where, chart.parts[0]), []).append(shown)
    return found


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
