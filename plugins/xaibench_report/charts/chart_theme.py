"""Colours and lines of every chart. Categories are Okabe and Ito's colours, darkened to three to one on white.

No chart says anything by colour alone: lines differ in their dashes, points in their shapes, cells hold their number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

INK: Final = "#1c2330"
DIM: Final = "#565f73"
LINE: Final = "#d8dde6"
SHADE: Final = "#dfe4ec"
SERIES: Final = ("#0072b2", "#d55e00", "#009e73", "#b6528c", "#b87a00", "#3a9bd9", "#6b6b6b")
DASHES: Final = ((1, 0), (6, 2), (2, 2), (8, 2, 2, 2), (12, 3), (4, 4), (1, 4), (10, 2, 2, 2, 2, 2))
SHAPES: Final = {"explainer": "circle", "control": "diamond", "inverse": "triangle-down", "reference": "square"}
FONT: Final = "DejaVu Sans"
_OF_PAGE: Final = {INK: "var(--ink)", DIM: "var(--dim)", LINE: "var(--line)", SHADE: "var(--shade)"} | {
    colour: f"var(--series-{i})" for i, colour in enumerate(SERIES, 1)
}


def config(font: str = "sans-serif") -> dict[str, Any]:
    """The configuration of a chart: thin lines, small text, one font."""
    axis = {"labelColor": DIM, "titleColor": DIM, "gridColor": LINE, "domainColor": LINE, "tickColor": LINE}
    text = {"labelFontSize": 11, "titleFontSize": 11, "titleFontWeight": "normal"}
    return {
        "aria": False,
        "background": "white",
        "font": font,
        "view": {"stroke": None},
        "axis": axis | text | {"labelLimit": 160},
        "legend": text | {"labelColor": INK, "titleColor": DIM, "orient": "bottom", "columns": 3, "labelLimit": 180},
        "title": {"color": INK, "subtitleColor": DIM, "anchor": "start", "fontSize": 13, "subtitleFontSize": 11},
        "text": {"fill": INK, "fontSize": 11},
    }


def of_page(spec: Any) -> Any:
    """A specification whose colours are those of the page, which follow dark, light and print."""
    if isinstance(spec, str):
        return _OF_PAGE.get(spec, spec)
    if isinstance(spec, Mapping):
        return {key: of_page(value) for key, value in spec.items()}
    return [of_page(value) for value in spec] if isinstance(spec, list) else spec


def line_colours(roles: Sequence[str]) -> tuple[list[str], list[Sequence[int]]]:
    """Colour and dashes of every line: explainers in colours, all others grey; no two lines have both alike as long as
    there are at most 56 explainers and eight others."""
    explainers, others = iter(range(len(roles))), iter(range(1, len(roles) + 1))
    colours: list[str] = []
    dashes: list[Sequence[int]] = []
    for role in roles:
        at = next(explainers if role == "explainer" else others)
        colours.append(SERIES[at % len(SERIES)] if role == "explainer" else DIM)
        dashes.append(DASHES[(at // len(SERIES) if role == "explainer" else at) % len(DASHES)])
    return colours, dashes
