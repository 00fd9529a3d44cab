"""Heat maps of rank correlations between measures, and between explainers."""

from __future__ import annotations

from functools import partial
from typing import Final, Literal

from xaibench_report.charts.agreement import Pair, explainers_agreement, measures_agreement
from xaibench_report.charts.run_chart import Drawing, Rows, RunChart, data, listed
from xaibench_report.values.number_format import number
from xaibench_report.values.run_values import Cells, ScoreInfo, Where

KIND: Final = "agreement"
_DIGITS: Final = 18  # pixels that the number of a cell takes
_CELL: Final = 24  # pixels
_STRONG: Final = 0.6


def agreement_charts(where: Where, cells: Cells, info: ScoreInfo) -> list[RunChart]:
    """At most two: of measures, averaged over explainers, and of explainers, averaged over measures."""
    found: list[tuple[Literal["measures", "explainers"], str, list[Pair]]] = [
        ("measures", "explainers that are no controls", measures_agreement(where, cells, info)),
        ("explainers", "measures", explainers_agreement(where, cells, info)),
    ]
    return [_chart(where, what, over, pairs) for what, over, pairs in found if pairs]


def _chart(where: Where, what: str, over: str, pairs: list[Pair]) -> RunChart:
    names = list(dict.fromkeys(p.first for p in pairs))
    once = sorted({frozenset(p[:2]): p for p in pairs}.values(), key=lambda p: p.correlation)
    low, high = once[0], once[-1]
    return RunChart(
        kind=KIND,
        where=where,
        parts=(what,),
        title=f"Do {what} agree on the samples?",
        note=f"Spearman's rank correlation over samples, scores turned so that more is better; mean over {over}",
        alt=f"Rank correlations over samples between {len(names)} {what}: {listed(names)}. The highest is "
        f"{number(high.correlation, 2)} between {high.first} and {high.second}, the lowest "
        f"{number(low.correlation, 2)} between {low.first} and {low.second}.",
        height=_CELL * len(names),
        draw=partial(_draw, pairs, names, over),
    )


def _draw(pairs: list[Pair], names: list[str], over: str) -> Drawing:
    import altair as alt

    rows: Rows = [p._asdict() | {"text": f"{p.correlation:.2f}".replace("0.", ".", 1)} for p in pairs]
    axis = alt.Axis(labelAngle=-45, labelLimit=130)
    x = alt.X("second:N", title=None, sort=names, axis=axis)
    y = alt.Y("first:N", title=None, sort=names)
    scale = alt.Scale(scheme="purpleorange", domain=[-1, 1], reverse=True)
    bar = alt.Legend(title="rank correlation", gradientLength=160)
    tips = [alt.Tooltip("first:N"), alt.Tooltip("second:N"), alt.Tooltip("correlation:Q", format=".3f"),
            alt.Tooltip("parts:Q", title=over), alt.Tooltip("samples:Q", title="samples, at least")]  # fmt: skip
    base = alt.Chart(data(rows)).encode(x=x, y=y)
    cells = base.mark_rect().encode(color=alt.Color("correlation:Q", scale=scale, legend=bar), tooltip=tips)
    strong = f"abs(datum.correlation) > {_STRONG}"
    wide = alt.condition(f"width > {_DIGITS * len(names)}", alt.value(1), alt.value(0))
    text = base.mark_text(fontSize=9).encode(
        text="text:N", color=alt.condition(strong, alt.value("#ffffff"), alt.value("#111111")), opacity=wide
    )
    return alt.layer(cells, text)
