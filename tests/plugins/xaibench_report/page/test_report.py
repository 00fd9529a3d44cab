"""The report, its figures, and the comparison of two runs."""

import io
import json
import re
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from report_tables import METRIC, N, map_table, markup, report_page, run_tables, where
from rich.console import Console

from xaibench.api import PlanError, ScoreSpec, UnreadablePicture
from xaibench.store.schema import CURVES, PREDICTIONS, SCORES
from xaibench_report.answer.comparison_answer import comparison_answer
from xaibench_report.boards.leaderboard import build_leaderboards
from xaibench_report.comparisons.compare import compare_runs
from xaibench_report.displays.map_colours import overlay
from xaibench_report.page.figures import mean_curves
from xaibench_report.terminal.comparison_terminal import comparison_to_json, print_comparison
from xaibench_report.values.run_values import RunTables, ScoreInfo

INFO = ScoreInfo(controls=frozenset({"xaibench/random"}), families={METRIC: "faithfulness"})


# ---- report -----------------------------------------------------------------------------------------------------


def picture(sample_id):
    if sample_id == "s01":
        raise UnreadablePicture("s01 is broken")
    return np.full((16, 16, 3), 128, dtype=np.uint8)


def test_the_report_is_one_file_that_needs_nothing_beside_it(tmp_path):
    html = report_page(tmp_path, run_tables(), INFO, picture)
    assert not re.search(r'(src|href)="(?!data:image/png|#)', markup(html))
    assert "<script" not in markup(html)
    assert "ValueError: &lt;script&gt;" in html
    assert html.count('"layer":"data:image/png;base64,') == (N - 1) * 2  # two maps of all pictures but the broken one
    assert html.count("s01 is broken") == 1
    for text in (
        "<td>AUC</td><td>1.000</td>",
        "gradcam",
        "faithfulness",
        "gradcam is shown better than every control (random)",
        "seed 7",
        "quick",
    ):
        assert text in html


def test_the_report_does_without_maps_curves_and_pictures(tmp_path):
    full = run_tables()
    bare = RunTables(scores=full.scores, predictions=full.predictions, commits=full.commits)
    html = report_page(tmp_path, bare, INFO, picture, maps=map_table().slice(0, 0))
    assert "<img" not in html
    assert "No run is recorded" in html


def test_the_report_says_why_it_has_no_pictures(tmp_path):
    html = report_page(tmp_path, run_tables(), INFO, why="faces is no folder")
    assert "No maps are shown: faces is no folder" in html
    assert "No maps are shown" not in report_page(tmp_path, run_tables(), INFO, picture)


def test_what_is_not_primary_stands_beside_the_board(tmp_path):
    tables = run_tables()
    null = [r | {"score": "null", "value": 0.25, "better": "none"} for r in tables.scores.to_pylist()]
    tables = replace(tables, scores=pa.concat_tables([tables.scores, pa.Table.from_pylist(null, schema=SCORES)]))
    spec = ScoreSpec(name="null", better="none", primary=False, why_not="a control", description="what chance gives")
    info = replace(INFO, specs={(METRIC, "null"): spec})
    html = report_page(tmp_path, tables, info)
    board, _, rest = html.partition("<summary>beside them")
    assert "deletion null" not in board and "what chance gives" not in board
    row = rest[rest.index("what chance gives") :].partition("</tr>")[0]
    assert re.findall(r"<td>(.*?)</td>", row.replace("\n", "")) == ["0.250<small>n=12</small>"] * 2
    (found,) = build_leaderboards(tables, info).boards
    assert [c.column.score for c in found.beside] == ["null"]
    assert all(cell.rank is None for cell in found.beside[0].cells.values())


def test_the_report_of_equal_tables_is_equal(tmp_path):
    one, two = (report_page(tmp_path, run_tables(), INFO, picture) for _ in range(2))
    assert one == two


# ---- figures ----------------------------------------------------------------------------------------------------


def curve(explainer, sample_id, repeat, xs, ys):
    row = where() | {"sample": sample_id, "group": "g", "cross_group": None, "label": "fake", "method": None,
                     "explainer": explainer, "metric": METRIC, "curve": "deletion", "item": "",
                     "repeat": repeat}  # fmt: skip
    return [row | {"point": p, "x": x, "y": y} for p, (x, y) in enumerate(zip(xs, ys, strict=True))]


def test_mean_curves_average_repeats_first_and_use_common_samples():
    rows = [
        *curve("a", "s1", 0, [0, 1], [1.0, 0.0]), *curve("a", "s1", 1, [0, 1], [3.0, 2.0]),
        *curve("a", "s2", 0, [0, 1], [4.0, 4.0]), *curve("a", "s3", 0, [0, 1], [100.0, 100.0]),
        *curve("b", "s1", 0, [0, 1], [1.0, 1.0]), *curve("b", "s2", 0, [0, 0.5, 1], [1.0, 2.0, 3.0]),
    ]  # fmt: skip
    (lines,) = mean_curves(pa.Table.from_pylist(rows[::-1], CURVES)).values()
    assert (lines["a"].x.tolist(), lines["a"].y.tolist(), lines["a"].n) == ([0, 1], [3.0, 2.5], 2)
    assert len(lines["b"].x) == 101  # two abscissae: interpolated
    assert lines["b"].y[[0, 50, 100]] == pytest.approx([1.0, 1.5, 2.0])


def test_a_curve_of_a_whole_set_is_of_no_samples():
    (lines,) = mean_curves(pa.Table.from_pylist(curve("", "", 0, [0, 1], [1.0, 0.0]), CURVES)).values()
    assert (lines[""].y.tolist(), lines[""].n) == ([1.0, 0.0], 0)


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)))


def test_overlay_shows_evidence_for_in_red_and_against_in_blue():
    grey = np.full((4, 4, 3), 128, dtype=np.uint8)
    signed = np.zeros((8, 8))
    signed[0, 0], signed[7, 7] = 2.0, -2.0
    out = pixels(overlay(grey, signed))
    assert out.shape == (8, 8, 3)
    assert out[0, 0, 0] > out[0, 0, 2]
    assert out[7, 7, 2] > out[7, 7, 0]
    assert (out[4, 4] == 128).all()
    assert (pixels(overlay(grey, np.zeros((8, 8)))) == 128).all()
    with pytest.raises(ValueError, match="uint8"):
        overlay(grey.astype(float), signed)


def words(text):
    return " ".join(text.split())


# ---- comparison -------------------------------------------------------------------------------------------------


def test_a_run_compared_with_itself_has_not_changed():
    found = compare_runs(run_tables(), run_tables(), INFO)
    assert [(r.explainer, r.difference.value, r.difference.p_holm, r.improved) for r in found.rows] == [
        ("xaibench/gradcam", 0.0, 1.0, None), ("xaibench/random", 0.0, 1.0, None),
    ]  # fmt: skip


def test_differences_are_second_minus_first_on_common_samples():
    second = run_tables(shift=-0.05, explainers=("xaibench/gradcam", "acme/new"), n=10)
    found = compare_runs(run_tables(), second, INFO)
    (row,) = found.rows
    d = row.difference
    assert (d.n, d.dropped, row.improved) == (10, 2, True)  # lower is better
    half = 2.262157 * 0.005 / 3  # t(.975, 9) s / sqrt(10); the differences are five of -.045 and five of -.055
    assert [d.value, d.low, d.high] == pytest.approx([-0.05, -0.05 - half, -0.05 + half])
    assert (row.first, row.second) == pytest.approx((0.045, -0.005))
    assert d.p == d.p_holm == 2 / 2**10
    assert [k.explainer for k in found.only_first] == ["xaibench/random"]
    assert [k.explainer for k in found.only_second] == ["acme/new"]


def test_two_single_detectors_are_compared_whatever_their_names():
    found = compare_runs(run_tables(), run_tables(model="acme/other"), INFO)
    assert len(found.rows) == 2
    assert found.rows[0].where.model == "acme/other"
    assert found.notes == ("model demo of the first run is compared with acme/other",)


def test_definitions_that_differ_are_not_compared():
    (row, _) = compare_runs(run_tables(), run_tables(definition=2), INFO).rows
    assert (row.difference.value, row.improved) == (None, None)
    assert row.difference.note == "definition 1 against 2: not comparable"


def test_other_pictures_under_the_same_names_are_refused():
    second = run_tables()
    groups = pa.array([f"other{i}" for i in range(N)])
    at = PREDICTIONS.get_field_index("group")
    changed = second.predictions.set_column(at, PREDICTIONS.field(at), groups)
    with pytest.raises(PlanError, match="sample 's00' is another picture"):
        compare_runs(run_tables(), RunTables(scores=second.scores, predictions=changed, commits=second.commits))


def test_comparisons_print_in_eighty_columns_and_as_json():
    found = compare_runs(run_tables(), run_tables(shift=0.1, n=9), INFO)
    console = Console(file=io.StringIO(), width=80)
    print_comparison(found, console, detail=True)
    assert max(map(len, console.file.getvalue().splitlines())) <= 80
    assert "fewer than" in console.file.getvalue()
    data = json.loads(json.dumps(comparison_to_json(found), allow_nan=False))
    assert data["rows"][0]["difference"]["value"] == pytest.approx(0.1 * 8.9 / 9)


def test_a_comparison_begins_with_what_changed():
    same = comparison_answer(compare_runs(run_tables(), run_tables(), INFO))
    assert same.sentences[:2] == (
        "None of 2 means is shown to have changed.",
        "2 are not shown to differ (2 are equal).",
    )
    assert (same.changed, same.level, same.untested) == ((), 2, ())
    better = comparison_answer(compare_runs(run_tables(), run_tables(shift=-0.05), INFO))
    assert better.sentences[0] == "2 of 2 means changed by more than chance: 2 for the better."
    assert [row.explainer for row in better.changed] == ["xaibench/gradcam", "xaibench/random"]
    few = comparison_answer(compare_runs(run_tables(), run_tables(shift=0.1, n=9), INFO))
    assert few.sentences[:2] == (
        "None of 2 means is shown to have changed.", "2 could not be tested: 9 groups, fewer than 10.",
    )  # fmt: skip
    none = comparison_answer(compare_runs(run_tables(), run_tables(explainers=("acme/new",)), INFO))
    assert none.sentences == ("The runs have no measure of an explainer in common: nothing is compared.",)


def test_a_comparison_prints_the_changed_rows_and_all_with_detail():
    found = compare_runs(run_tables(), run_tables(shift=-0.05), INFO)

    def printed(detail):
        console = Console(file=io.StringIO(), width=80)
        print_comparison(found, console, detail=detail)
        return console.file.getvalue()

    short = printed(False)
    assert max(map(len, short.splitlines())) <= 80
    assert [line.split()[:4] for line in short.splitlines() if line.startswith(("gradcam", "random"))] == [
        ["gradcam", "deletion", "auc", "↓"], ["random", "deletion", "auc", "↓"],
    ]  # fmt: skip
    assert short.count("better") == 1 + 2
    full = printed(True)
    assert words(full).startswith(words(short).replace(" All rows: --detail.", "").partition(" explainer")[0])
    assert full.count("p adjusted by Holm over") == 2
    assert len(full.splitlines()) > len(short.splitlines())
    assert comparison_to_json(found)["answer"]["changed"][0]["explainer"] == "xaibench/gradcam"
