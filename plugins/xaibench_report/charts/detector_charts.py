"""What a detector says of untouched pictures, and what fills do to real ones."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

import numpy as np

from xaibench_report.charts.chart_theme import DIM, INK, SERIES
from xaibench_report.charts.run_chart import Drawing, Rows, RunChart, data, listed
from xaibench_report.detectors.detection import Detection, readings_of
from xaibench_report.judgement.fill_gate import METRIC, MOST_TURNED, TURNS, fill_text
from xaibench_report.values.number_format import interval, number
from xaibench_report.values.run_values import Cells, Table, Where, texts
from xaibench_statistics import mean_interval

BINS: Final = 20
_ROW: Final = 22  # pixels


def p_fake_charts(detections: tuple[Detection, ...], predictions: Table) -> list[RunChart]:
    """The distribution of P(fake) by label, one chart a detector and data set."""
    return [c for d in detections if (c := _p_fake(d, predictions)) is not None]


def _p_fake(detection: Detection, predictions: Table) -> RunChart | None:
    here = [
        texts(predictions, n) == own for n, own in zip(("dataset", "model", "member"), detection.where, strict=True)
    ]
    readings = readings_of(predictions.filter(np.logical_and.reduce(here)))
    rows = [
        r
        for label, of in (("fake", readings.fake), ("real", ~readings.fake))
        for r in _bins(label, readings.p_fake[of])
    ]
    if not rows:
        return None
    threshold = detection.accuracy.threshold
    return RunChart(
        kind="p-fake",
        where=detection.where,
        parts=(),
        title="P(fake) by label",
        note=f"share of the pictures of a label, fake above and real below the line; threshold {threshold:g}",
        alt=f"Histogram of P(fake). {' '.join(_label_words(detection))} The threshold is {threshold:g}.",
        height=180,
        draw=partial(_draw_p_fake, rows, threshold),
    )


def _label_words(detection: Detection) -> Iterator[str]:
    for x in detection.accuracy.labels:
        yield f"Of {x.n} {x.label} pictures {x.called_fake} are called fake; their median is {number(x.median)}."


def _bins(label: str, p_fake: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Rows:
    counts, edges = np.histogram(np.clip(p_fake, 0, 1), bins=BINS, range=(0, 1))
    sign = 1 if label == "fake" else -1
    return [
        {"label": label, "from": float(a), "to": float(b), "pictures": int(n), "share": float(n / len(p_fake)),
         "height": float(sign * n / len(p_fake)), "zero": 0}
        for n, a, b in zip(counts.tolist(), edges[:-1], edges[1:], strict=True)
        if n
    ]  # fmt: skip


def _draw_p_fake(rows: Rows, threshold: float) -> Drawing:
    import altair as alt

    labels = list(dict.fromkeys(row["label"] for row in rows))
    colours = {"fake": SERIES[1], "real": SERIES[0]}
    colour = alt.Color("label:N", title=None, scale=alt.Scale(domain=labels, range=[colours[x] for x in labels]))
    y = alt.Y("height:Q", title="share of pictures", axis=alt.Axis(labelExpr="format(abs(datum.value), '.0%')"))
    x = alt.X("from:Q", title="P(fake)", scale=alt.Scale(domain=[0, 1]))
    tips = ["label:N", "from:Q", "to:Q", "pictures:Q", alt.Tooltip("share:Q", format=".1%")]
    bars = (
        alt.Chart(data(rows))
        .mark_bar(binSpacing=1)
        .encode(x=x, x2="to:Q", y=y, y2="zero:Q", color=colour, tooltip=tips)
    )
    rule = alt.Chart(data([{"threshold": threshold, "text": f"threshold {threshold:g}"}]))
    return alt.layer(
        bars,
        alt.Chart(data([{"zero": 0}])).mark_rule(color=DIM).encode(y=alt.Y("zero:Q", title="share of pictures")),
        rule.mark_rule(color=INK, strokeDash=[4, 3]).encode(x=alt.X("threshold:Q", title="P(fake)")),
        rule.mark_text(align="left", dx=4, y=6).encode(x=alt.X("threshold:Q", title="P(fake)"), text="text:N"),
    )


def fill_charts(cells: Cells) -> list[RunChart]:
    """How often a fill anywhere turns real pictures fake, one chart a detector and data set that measured it."""
    by_where: dict[Where, Rows] = {}
    for key, cell in sorted(cells.items()):
        if key.metric.partition(":")[0] == METRIC and key.score == TURNS and len(cell.values):
            e = mean_interval(cell.values)
            row = {"fill": fill_text(key.metric).removeprefix("fill="), "mean": e.value, "low": e.low, "high": e.high,
                   "pictures": e.n, "text": f"{number(e.value)} {interval(e)}".strip()}  # fmt: skip
            by_where.setdefault(key.where, []).append(row)
    return [_fill(where, rows) for where, rows in by_where.items()]


def _fill(where: Where, rows: Rows) -> RunChart:
    over = [row["fill"] for row in rows if row["mean"] > MOST_TURNED]
    each = listed(f"{row['fill']} {row['text']}" for row in rows)
    judged = f"Above the line of {MOST_TURNED:.0%}: {listed(over)}." if over else f"None is above {MOST_TURNED:.0%}."
    return RunChart(
        kind="fill-response",
        where=where,
        parts=(),
        title="Fill response: real pictures that a fill turns fake",
        note=f"share of regions filled anywhere, 95 % interval; scores by a fill above {MOST_TURNED:.0%} rank nothing",
        alt=f"Share of filled regions that turn real pictures fake: {each}. {judged}",
        height=max(60, _ROW * len(rows)),
        draw=partial(_draw_fill, rows),
    )


def _draw_fill(rows: Rows) -> Drawing:
    import altair as alt

    title = "share turned fake"
    y = alt.Y("fill:N", title=None, sort=[row["fill"] for row in rows])
    tips = [alt.Tooltip("fill:N"), alt.Tooltip("text:N", title="share"), alt.Tooltip("pictures:Q")]
    base = alt.Chart(data(rows)).encode(y=y, tooltip=tips)
    gate = alt.Chart(data([{"gate": MOST_TURNED, "text": "most that is let pass"}]))
    scale = alt.Scale(domain=[0, 1])
    return alt.layer(
        gate.mark_rule(color=INK, strokeDash=[4, 3]).encode(x=alt.X("gate:Q", title=title, scale=scale)),
        gate.mark_text(align="left", dx=4, y=-5).encode(x=alt.X("gate:Q", title=title), text="text:N"),
        base.mark_rule(strokeWidth=2, color=SERIES[0]).encode(x=alt.X("low:Q", title=title), x2="high:Q"),
        base.mark_point(filled=True, size=60, opacity=1, color=SERIES[0]).encode(
            x=alt.X("mean:Q", title=title, axis=alt.Axis(format=".0%"))
        ),
    )
