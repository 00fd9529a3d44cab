"""``run.plot.NAME(...)``: the charts of the page as altair objects, for notebooks."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from xaibench.api import NothingToEvaluate, UsageError, closest_first
from xaibench_report.charts.cost_chart import Unit, cost_charts, map_costs
from xaibench_report.charts.run_chart import RunChart
from xaibench_report.charts.run_charts import charts_of_kind
from xaibench_report.page.report_context import ReportContext, context_of
from xaibench_report.values.run_values import short

if TYPE_CHECKING:
    from xaibench import Run

_COLUMNS: Final = 2


class RunPlots:
    """The charts of a run. Each method gives one altair object: a chart, or several side by side where the run has
    several detectors or scores. ``model`` names one detector; a word of ``score`` or ``metric`` chooses among titles.

    Raises :class:`~xaibench.api.NothingToEvaluate` where there is nothing to draw.
    """

    def __init__(self, run: Run) -> None:
        self._run = run

    def p_fake(self, *, model: str | None = None) -> Any:
        """The distribution of P(fake) by label, with the threshold."""
        return _side_by_side(self._charts("p-fake"), "", "", model)

    def fill_response(self, *, model: str | None = None) -> Any:
        """How often a fill anywhere turns real pictures fake."""
        return _side_by_side(self._charts("fill-response"), "", "", model)

    def intervals(self, family: str = "", score: str = "", *, model: str | None = None) -> Any:
        """Means with 95 % intervals of explainers and controls, the best control shaded."""
        return _side_by_side(self._charts("intervals"), family, score, model)

    def ranks(self, family: str = "", score: str = "", *, model: str | None = None) -> Any:
        """Ranks with their intervals; what is not told apart shares one."""
        return _side_by_side(self._charts("ranks"), family, score, model)

    def cost(self, family: str = "", score: str = "", *, unit: Unit = "passes", model: str | None = None) -> Any:
        """Means against ``passes`` of the detector or ``seconds`` a picture."""
        costs = map_costs(self._context.tables)
        charts = [c for board in self._context.leaderboards.boards for c in cost_charts(board, costs, unit)]
        return _side_by_side(charts, family, score, model)

    def agreement(self, what: str = "", *, model: str | None = None) -> Any:
        """Rank correlations over samples between ``measures`` and between ``explainers``."""
        return _side_by_side(self._charts("agreement"), what, "", model)

    def curves(self, metric: str = "", *, model: str | None = None) -> Any:
        """Mean curves with bands."""
        return _side_by_side(self._charts("curves"), "", metric, model)

    @cached_property
    def _context(self) -> ReportContext:
        return context_of(self._run)

    def _charts(self, kind: str) -> list[RunChart]:
        return charts_of_kind(self._context, kind)


def _side_by_side(charts: list[RunChart], part: str, word: str, model: str | None) -> Any:
    import altair as alt

    if not charts:
        raise NothingToEvaluate("the run has nothing for this chart", "run.leaderboards() says what it holds")
    parts = list(dict.fromkeys(c.parts[0] for c in charts if c.parts))
    if part and part not in parts:
        raise UsageError(f"no '{part}' to draw", f"there are: {closest_first(part, parts)}")
    chosen = [
        c
        for c in charts
        if (not part or c.parts[0] == part) and word in c.title and model in (None, c.where.model, short(c.where.model))
    ]
    if not chosen:
        titles = closest_first(word or str(model), list(dict.fromkeys(c.title for c in charts)))
        raise UsageError(f"no chart of '{word or model}'", f"there are: {titles}")
    if len(chosen) == 1:
        return chosen[0].altair()
    plain = [chart.altair() for chart in chosen]
    shown = alt.concat(*plain, columns=_COLUMNS)
    shown.config = plain[0].config  # altair lets the whole alone have one
    for chart in plain:
        chart.config = alt.Undefined
    return shown.resolve_scale(color="independent", shape="independent", strokeDash="independent")
