"""Charts as the page holds them: a figure with its words, and the specification as data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from xaibench_report.charts.chart_theme import of_page
from xaibench_report.charts.run_chart import RunChart, unique_names


@dataclass(frozen=True, slots=True, kw_only=True)
class PageChart:
    """``identity``: the id of its data block; ``spec``: a Vega-Lite specification without a width."""

    identity: str
    title: str
    note: str
    alt: str
    spec: dict[str, Any]


def page_charts(charts: Iterable[RunChart]) -> list[PageChart]:
    """The charts of one kind or of several, as figures of the page."""
    return [
        PageChart(identity=f"chart-{name}", title=chart.title, note=chart.note, alt=chart.alt, spec=_spec(chart))
        for name, chart in unique_names(charts).items()
    ]


def _spec(chart: RunChart) -> dict[str, Any]:
    """Without what the figure says in HTML. The page gives width and font, and its colours by name."""
    spec: dict[str, Any] = chart.altair().to_dict(validate=False)
    for key in ("title", "description", "width", "$schema"):
        spec.pop(key, None)
    spec["config"] = {k: v for k, v in spec["config"].items() if k != "font"} | {"background": "transparent"}
    spec["autosize"] = {"type": "fit-x", "contains": "padding"}
    found: dict[str, Any] = of_page(spec)
    return found
