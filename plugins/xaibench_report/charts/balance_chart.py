"""Change of accuracy against change of interpretability, the baseline at the origin."""

from __future__ import annotations

from functools import partial
from typing import Final

from xaibench_report.charts.chart_theme import LINE, SERIES
from xaibench_report.charts.run_chart import Drawing, Rows, RunChart, data, listed
from xaibench_report.comparisons.balance import Balances
from xaibench_report.values.number_format import number
from xaibench_report.values.run_values import Where, short

KIND: Final = "balance"


def balance_charts(balances: Balances) -> list[RunChart]:
    """One chart, a point a detector; none where fewer than two detectors have both changes."""
    rows: Rows = [
        {"detector": short(r.model), "auc": r.auc_change, "interpretability": r.gained,
         "front": "nobody has both more" if r.front else "somebody has both more"}
        for r in balances.rows
        if r.auc_change is not None and r.gained is not None
    ]  # fmt: skip
    if len(rows) < 2:
        return []
    base = short(balances.baseline)
    said = (f"{r['detector']} {number(r['auc'])} AUC and {number(r['interpretability'])} I, {r['front']}" for r in rows)
    return [
        RunChart(
            kind=KIND,
            where=Where(balances.dataset, balances.baseline, ""),
            parts=(),
            title=f"Accuracy and interpretability against {base}",
            note="circles, joined: nobody has both more; crosses: somebody has",
            alt=f"Change of AUC and of interpretability I against {base}: {listed(said)}.",
            height=260,
            draw=partial(_draw, rows, base),
        )
    ]


def _draw(rows: Rows, base: str) -> Drawing:
    import altair as alt

    names = list(dict.fromkeys(row["front"] for row in rows))
    shapes = ["circle" if name.startswith("nobody") else "cross" for name in names]
    x = alt.X("auc:Q", title=f"AUC minus that of {base}", scale=alt.Scale(padding=20))
    y = alt.Y("interpretability:Q", title="interpretability I minus that of it", scale=alt.Scale(padding=20))
    points = alt.Chart(data(rows)).encode(x=x, y=y, tooltip=["detector:N", "auc:Q", "interpretability:Q", "front:N"])
    front = alt.Chart(data(sorted((r for r in rows if r["front"].startswith("nobody")), key=lambda r: float(r["auc"]))))
    zero = alt.Chart(data([{"auc": 0, "interpretability": 0}]))
    return alt.layer(
        zero.mark_rule(color=LINE).encode(x=x),
        zero.mark_rule(color=LINE).encode(y=y),
        front.mark_line(color=SERIES[0], strokeDash=[2, 2], strokeWidth=1).encode(x=x, y=y),
        points.mark_point(filled=True, size=70, opacity=1, color=SERIES[0]).encode(
            shape=alt.Shape("front:N", title=None, scale=alt.Scale(domain=names, range=shapes))
        ),
        points.mark_text(align="left", dx=8, dy=-5).encode(text="detector:N"),
    )
