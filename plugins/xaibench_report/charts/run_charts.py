"""Every chart of a run, in the order of the page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Protocol

from xaibench_report.boards.leaderboard import Leaderboards
from xaibench_report.charts.agreement_chart import agreement_charts
from xaibench_report.charts.balance_chart import balance_charts
from xaibench_report.charts.cost_chart import cost_charts, map_costs
from xaibench_report.charts.curve_chart import curve_charts
from xaibench_report.charts.detector_charts import fill_charts, p_fake_charts
from xaibench_report.charts.interval_chart import interval_charts
from xaibench_report.charts.mean_curves import mean_curves
from xaibench_report.charts.rank_chart import rank_charts
from xaibench_report.charts.run_chart import RunChart
from xaibench_report.comparisons.balance import Balances
from xaibench_report.values.run_values import Cells, RunTables, ScoreInfo


class ChartSource(Protocol):
    """What charts are drawn from: a run as it was read, and what is computed from it."""

    @property
    def tables(self) -> RunTables: ...
    @property
    def info(self) -> ScoreInfo: ...
    @property
    def leaderboards(self) -> Leaderboards: ...
    @property
    def cells(self) -> Cells: ...
    @property
    def balances(self) -> Balances | None: ...


def run_charts(source: ChartSource) -> list[RunChart]:
    """Every chart of the run."""
    return [chart for kind in _DRAWERS for chart in charts_of_kind(source, kind)]


def charts_of_kind(source: ChartSource, kind: str) -> list[RunChart]:
    """All charts of one kind. Raises KeyError for a kind that there is not."""
    return _DRAWERS[kind](source)


def _p_fake(source: ChartSource) -> list[RunChart]:
    return p_fake_charts(source.leaderboards.detections, source.tables.predictions)


def _fill_response(source: ChartSource) -> list[RunChart]:
    return fill_charts(source.cells)


def _intervals(source: ChartSource) -> list[RunChart]:
    return [chart for board in source.leaderboards.boards for chart in interval_charts(board)]


def _ranks(source: ChartSource) -> list[RunChart]:
    return [chart for board in source.leaderboards.boards for chart in rank_charts(board)]


def _cost(source: ChartSource) -> list[RunChart]:
    costs = map_costs(source.tables)
    return [chart for board in source.leaderboards.boards for chart in cost_charts(board, costs)]


def _balance(source: ChartSource) -> list[RunChart]:
    return balance_charts(source.balances) if source.balances is not None else []


def _agreement(source: ChartSource) -> list[RunChart]:
    places = sorted({board.where for board in source.leaderboards.boards})
    return [chart for where in places for chart in agreement_charts(where, source.cells, source.info)]


def _curves(source: ChartSource) -> list[RunChart]:
    curves = source.tables.curves
    return curve_charts(mean_curves(curves), source.info) if curves is not None else []


_DRAWERS: Final[Mapping[str, Callable[[ChartSource], list[RunChart]]]] = {
    "p-fake": _p_fake,
    "fill-response": _fill_response,
    "intervals": _intervals,
    "ranks": _ranks,
    "cost": _cost,
    "balance": _balance,
    "agreement": _agreement,
    "curves": _curves,
}
