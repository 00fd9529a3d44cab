"""The charts of a run: what they show, what they say, and that files hold their fonts."""

import json
import re
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from report_tables import METRIC, hand_made_context, run_tables

from xaibench.api import NothingToEvaluate, ScoreSpec, UsageError
from xaibench.store.schema import COMMITS
from xaibench_report import run_plots
from xaibench_report.charts import vega_bundle
from xaibench_report.charts.agreement import explainers_agreement, spearman
from xaibench_report.charts.chart_files import chart_bytes
from xaibench_report.charts.chart_theme import SERIES, line_colours, of_page
from xaibench_report.charts.mean_curves import mean_curves
from xaibench_report.charts.page_charts import page_charts
from xaibench_report.charts.run_chart import unique_names
from xaibench_report.charts.run_charts import charts_of_kind, run_charts
from xaibench_report.values.run_values import ScoreInfo
from xaibench_statistics import Values, mean_interval

INFO = ScoreInfo(
    controls=frozenset({"xaibench/random", "xaibench/edges"}),
    families={METRIC: "faithfulness"},
    specs={(METRIC, "auc"): ScoreSpec(name="auc", better="lower", untouched="start")},
)
NAMES = ("xaibench/gradcam", "acme/other", "xaibench/random", "xaibench/edges")


@pytest.fixture(scope="module")
def context():
    tables = run_tables(explainers=NAMES)
    commit = tables.commits.to_pylist()[0] | {
        "explainer": "xaibench/gradcam",
        "forward": 30,
        "backward": 10,
        "done": 10,
    }
    commits = [commit, commit | {"explainer": "acme/other", "forward": 500, "backward": 0, "done": 5}]
    return hand_made_context(replace(tables, commits=pa.Table.from_pylist(commits, COMMITS)), INFO)


def test_the_interval_plot_shades_the_best_control_and_says_who_is_beyond_it(context):
    (chart,) = charts_of_kind(context, "intervals")
    rows = chart.altair().to_dict()["layer"]
    (shade,) = [part["data"]["values"] for part in rows if part["mark"]["type"] == "rect"]
    assert [row["explainer"] for row in shade] == ["random"]  # 0.2 + ..., edges 0.3 + ...; lower is better
    assert "lower is better" in chart.note and "the best control, random" in chart.note
    assert "Wholly better than the interval of the best control, random: those of 2 of 2 explainers." in chart.alt
    assert "gradcam 0.055 [" in chart.alt


def test_ranks_are_those_of_the_board(context):
    (chart,) = charts_of_kind(context, "ranks")
    assert "gradcam rank 1 (#1), acme/other rank 2 (#2)" in chart.alt
    assert "No two explainers share a rank." in chart.alt


def test_cost_is_passes_over_the_pictures_that_were_explained(context):
    (chart,) = charts_of_kind(context, "cost")
    points = [layer["data"]["values"] for layer in chart.altair().to_dict()["layer"] if "data" in layer]
    assert {row["explainer"]: row["passes"] for row in points[0]} == {"gradcam": 4.0, "acme/other": 100.0}


def test_a_band_is_the_interval_of_the_mean_at_each_point():
    curves = run_tables().curves
    rng = np.random.default_rng(0)
    y = rng.random(len(curves))
    curves = curves.set_column(
        curves.schema.get_field_index("y"), curves.schema.field("y"), pa.array(y, curves["y"].type)
    )
    (lines,) = mean_curves(curves).values()
    rows = [r for r in curves.to_pylist() if r["explainer"] == "xaibench/gradcam" and r["point"] == 2]
    expected = mean_interval(Values.of([r["sample"] for r in rows], [r["y"] for r in rows], [r["group"] for r in rows]))
    line = lines["xaibench/gradcam"]
    assert (line.y[2], line.low[2], line.high[2]) == pytest.approx((expected.value, expected.low, expected.high))


def test_spearman_uses_common_samples_and_mean_ranks_of_ties():
    ids = [f"s{i}" for i in range(12)]
    first = Values.of(ids, [0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    second = Values.of(ids[1:], [1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 9.5])
    d = np.asarray([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]) - np.asarray([2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 11])
    assert spearman(first, second) == (pytest.approx(1 - 6 * (d**2).sum() / (11 * 120)), 11)
    assert spearman(first, Values.of(ids, [1.0] * 12)) == (None, 12)
    assert spearman(first, Values.of(ids[:9], range(9))) == (None, 9)


def test_explainers_that_order_the_samples_alike_agree(context):
    where = context.leaderboards.boards[0].where
    pairs = explainers_agreement(where, context.cells, INFO)
    assert {(round(p.correlation, 9), p.parts, p.samples) for p in pairs} == {(1.0, 1, 12)}
    assert len(pairs) == 12 and pairs[0].first in ("gradcam", "acme/other")


def test_every_chart_is_valid_and_takes_the_colours_of_the_page(context):
    charts = run_charts(context)
    assert {c.kind for c in charts} == {"p-fake", "intervals", "ranks", "cost", "agreement", "curves"}
    for chart, shown in zip(charts, page_charts(charts), strict=True):
        chart.altair().to_dict()  # altair validates it
        assert len(chart.alt) > 40 and "title" not in shown.spec and "width" not in shown.spec
        assert not re.search("|".join(SERIES), json.dumps(shown.spec))
    assert all(re.fullmatch(r"[a-z0-9-]+", name) for name in unique_names([*charts, *charts]))
    assert len(unique_names([*charts, *charts])) == 2 * len(charts)
    assert of_page({"a": [SERIES[1], "x"]}) == {"a": ["var(--series-2)", "x"]}


def test_no_two_lines_look_alike():
    roles = ["explainer"] * 20 + ["control"] * 7
    colours, dashes = line_colours(roles)
    assert len({(c, tuple(d)) for c, d in zip(colours, dashes, strict=True)}) == 27


def test_files_hold_their_fonts(context):
    (chart,) = charts_of_kind(context, "p-fake")
    svg = chart_bytes(chart, "svg").decode()
    assert "@font-face{font-family:'DejaVu Sans';src:url(data:font/woff;base64," in svg and "http" not in svg.replace(
        "http://www.w3.org", ""
    )
    pdf = chart_bytes(chart, "pdf")
    assert pdf.startswith(b"%PDF") and b"DejaVuSans" in pdf and b"FontFile" in pdf
    assert chart_bytes(chart, "png").startswith(b"\x89PNG")


def test_plots_of_a_notebook_are_the_same_charts(context, monkeypatch):
    monkeypatch.setattr(run_plots, "context_of", lambda run: context)
    plots = run_plots.RunPlots(None)
    (chart,) = charts_of_kind(context, "intervals")
    assert plots.intervals("faithfulness").to_dict() == chart.altair().to_dict()
    assert "vegaEmbed" in str(plots.intervals()._repr_mimebundle_())
    assert plots.cost(unit="seconds").to_dict()["layer"][0]["encoding"]["x"]["field"] == "seconds"
    with pytest.raises(UsageError, match="no 'faith' to draw"):
        plots.intervals("faith")
    with pytest.raises(UsageError, match="no chart of 'nobody'"):
        plots.curves(model="nobody")
    with pytest.raises(NothingToEvaluate, match="nothing for this chart"):
        plots.fill_response()


def test_the_script_is_made_once(tmp_path, monkeypatch):
    import vl_convert

    texts = iter(["made = 1", "made = 2"])
    monkeypatch.setattr(vl_convert, "javascript_bundle", lambda snippet: next(texts))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert [vega_bundle.vega_script.__wrapped__() for _ in range(2)] == ["made = 1"] * 2
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))  # nothing can be kept there
    assert vega_bundle.vega_script.__wrapped__() == "made = 2"


def test_the_command_writes_every_chart_and_sheets(toy_eval, cli, tmp_path):
    run, out = tmp_path / "run", tmp_path / "figures"
    assert toy_eval("-o", run)[0] == 0
    code, said, err = cli("export", run, "--figures", "svg", "-o", out)
    assert code == 0, err
    names = sorted(p.name for p in out.iterdir())
    assert f"{len(names)} figures: {out}" in said and any(n.startswith("p-fake-") for n in names)
    assert all(n.endswith(".svg") for n in names)
    code, _, err = cli("export", run, "--sheet", "s", "-o", out)
    assert code == 2 and "--sheet alone does not say how to write it" in err
    code, _, err = cli("export", run, "--figures", "svg", "--table", "scores")
    assert code == 2 and "--figures goes with none of" in err
