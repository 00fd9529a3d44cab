"""The marks of a detector stand on everything that shows results of it, and withhold ranks where they say so."""

import io
import json
import math
from dataclasses import replace

import pyarrow as pa
from leaderboard_tables import INFO, WHERE, column, sample, tables
from report_tables import report_page
from rich.console import Console

from xaibench.store.schema import COMPONENTS, DETECTORS
from xaibench_report.boards.leaderboard import build_leaderboards
from xaibench_report.comparisons.compare import compare_runs
from xaibench_report.comparisons.ranking import rank_detectors
from xaibench_report.detectors.marks import DetectorMark, withholding
from xaibench_report.terminal.boards_terminal import print_leaderboards, to_json
from xaibench_report.terminal.comparison_terminal import comparison_to_json, print_all_rows
from xaibench_report.terminal.ranking_terminal import print_all_measures
from xaibench_report.terminal.ranking_terminal import to_json as ranking_to_json
from xaibench_report.values.run_values import Where

MEANS = {"xaibench/gradcam": 0.2, "xaibench/rise": 0.3, "xaibench/random": 0.6}
DROPOUT = "draws anew at each call: accepted with --accept-detector"
ALL_FAKE = "calls all 24 pictures fake: 12 of 12 real ones too (threshold 0.5)"


def prediction(i, label, p_fake, **changes):
    return {
        **WHERE, **sample(i, label), "probabilities": [1 - p_fake, p_fake], "classes": ["real", "fake"],
        "p_fake": p_fake, "log_odds": math.log(p_fake / (1 - p_fake)), "prediction": "fake",
        "verdict": "fake" if p_fake >= 0.5 else "real", "correct": (p_fake >= 0.5) == (label == "fake"),
        "status": "ok", "reason": None,
    } | changes  # fmt: skip


def run(fake=0.9, real=0.1, n=12, **changes):
    """A run in which every fake has one P(fake) and every real picture another."""
    rows = [prediction(i, label, p, **changes) for i in range(n) for label, p in (("fake", fake), ("real", real))]
    return tables([r | changes for r in column(MEANS)], rows)


def row(mark, *, withholds=False, dataset="", **changes):
    return {
        "run": "r", "unit": "u", "cell": "c", "model": WHERE["model"], "member": "0", "dataset": dataset, "sample": "",
        "check": "structure", "name": "repeatable", "item": "", "value": 0.2, "low": None, "high": None, "count": 16,
        "status": "ok", "reason": None, "mark": mark, "withholds_ranks": withholds,
    } | changes  # fmt: skip


def with_rows(tables, *rows):
    return replace(tables, detectors=pa.Table.from_pylist(list(rows), DETECTORS))


def printed(show, found, width=80):
    out = io.StringIO()
    show(found, Console(file=out, width=width))
    return out.getvalue()


def boards(tables):
    return build_leaderboards(tables, INFO)


def test_a_good_detector_has_ranks_and_no_mark():
    for good in (run(), with_rows(run()), with_rows(run(), row(""))):
        found = boards(good)
        assert (found.marks, found.boards[0].withheld) == ((), ())
        assert found.boards[0].rows[0].cells[0].rank.rank == 1
        text = printed(print_leaderboards, found)
        assert "mark" not in text
        assert "gradcam, rise are shown better than every control (random)" in " ".join(text.split())


def test_one_verdict_for_all_stands_on_top_and_withholds_ranks():
    found = boards(run(fake=0.9, real=0.8))
    (board,) = found.boards
    assert [m.text for m in found.marks] == [m.text for m in board.withheld] == [ALL_FAKE]
    assert all(cell.rank is None and cell.versus_best is None for r in board.rows for cell in r.cells)
    assert all(cell.estimate is not None for r in board.rows for cell in r.cells)  # values stay
    assert board.verdicts == ()
    text = printed(print_leaderboards, found)
    assert text.startswith("mark: demo (0) on faces: calls all 24 pictures fake: 12 of 12 real ones too")
    assert f"no ranks and no verdicts: the detector is marked: {ALL_FAKE}" in " ".join(text.split())
    assert "better" not in text
    assert "0.200" in text


def test_the_lines_of_a_detector_fit_80_columns():
    lines = printed(print_leaderboards, boards(run())).splitlines()
    assert lines[0] == "demo (0) on faces: 24 pictures (12 fake, 12 real) in 12 groups"
    assert lines[1] == "  AUC 1.000 [0.793, 1.000], balanced accuracy 1.000 [0.797, 1.000]"
    assert lines[2] == "  sensitivity 1.000 [0.712, 1.000], false alarms 0.000 [0.000, 0.288]"


def test_json_names_the_marks_first_and_the_board_that_is_withheld():
    data = json.loads(json.dumps(to_json(boards(run(fake=0.9, real=0.8)))))
    assert data["marks"][0]["text"] == ALL_FAKE
    assert data["marks"][0]["withholds_ranks"] is True
    assert data["boards"][0]["withheld"] == data["marks"]
    accuracy = data["detections"][0]["accuracy"]
    assert (accuracy["sensitivity"]["value"], accuracy["false_alarm_rate"]["value"]) == (1.0, 1.0)


def test_a_mark_of_the_structure_holds_on_every_dataset_and_need_not_withhold():
    found = boards(with_rows(run(), row(DROPOUT)))
    assert [(m.check, m.text) for m in found.marks] == [("structure", DROPOUT)]
    assert found.boards[0].withheld == ()
    assert found.boards[0].rows[0].cells[0].rank is not None
    assert printed(print_leaderboards, found).startswith(f"mark: demo (0) on faces: {DROPOUT[:20]}")
    assert boards(with_rows(run(), row(DROPOUT, withholds=True))).boards[0].verdicts == ()


def test_rows_of_other_detectors_and_datasets_mark_nothing():
    others = (
        row("x", model="xaibench/other"),
        row("x", member="1"),
        row("x", dataset="xaibench/other", check="accuracy"),
    )
    assert boards(with_rows(run(), *others)).marks == ()


def test_what_the_table_and_the_predictions_both_say_is_said_once():
    stored = row(ALL_FAKE, withholds=True, check="accuracy", dataset="xaibench/faces")
    card = row("another card does better", check="card", dataset="xaibench/faces", withholds=True)
    found = boards(with_rows(run(fake=0.9, real=0.8), card, stored, row(DROPOUT)))
    assert [m.text for m in found.marks] == ["another card does better", DROPOUT, ALL_FAKE]
    assert "(and 1 further mark)" in " ".join(printed(print_leaderboards, found).split())


def test_a_board_of_a_whole_family_rests_on_every_member():
    where = Where("xaibench/faces", "xaibench/demo", "1")
    marks = [DetectorMark(where=where, check="accuracy", name="n", text="t", withholds_ranks=True)]
    assert withholding(where._replace(member=""), marks) == marks
    assert withholding(where._replace(member="0"), marks) == []
    assert withholding(where._replace(dataset="xaibench/other"), marks) == []


def test_few_people_are_said_and_ranks_stay():
    found = boards(run(n=6))
    assert [(m.name, m.withholds_ranks) for m in found.marks] == [("not measured", False)]
    assert found.boards[0].withheld == ()


def test_the_threshold_is_that_of_the_card():
    details = json.dumps({"threshold": 0.85})
    row = {"run": "r", "kind": "model", "name": "xaibench/demo 0", "distribution": "xaibench", "version": "",
           "component_version": 0, "parameters": "{}", "digest": None, "details": details}  # fmt: skip
    found = boards(replace(run(), components=pa.Table.from_pylist([row], COMPONENTS)))
    assert found.detections[0].accuracy.threshold == 0.85
    assert printed(print_leaderboards, found).splitlines()[0].endswith("in 12 groups, threshold 0.85")


def test_the_page_shows_marks_first_and_all_figures(tmp_path):
    page = report_page(tmp_path, run(fake=0.9, real=0.8), INFO)
    assert page.index(f"demo (0) on faces: {ALL_FAKE}") < page.index("Leaderboards</h2>")
    assert f"no ranks and no verdicts: the detector is marked: {ALL_FAKE}" in page
    assert 'class="rank"' not in page
    for text in ("sensitivity at threshold 0.5", "false-alarm rate at", "Brier score", "expected calibration error"):
        assert text in page
    assert (
        '<tr><th scope="row">real</th><td>0.800</td><td>0.800</td><td>0.800</td><td>12</td><td>12</td><td>12</td></tr>'
        in page
    )
    assert 'id="marks"' not in report_page(tmp_path, run(), INFO)


def test_compare_shows_the_marks_of_both_runs_and_calls_nothing_improved():
    good, bad = run(), run(fake=0.9, real=0.8)
    more = {f"fake-{i:02d}": 0.1 + 0.01 * (i % 3) for i in range(12)}
    worse = tables([r | {"value": r["value"] + more[r["sample"]]} for r in column(MEANS)], good.predictions.to_pylist())
    assert {r.improved for r in compare_runs(good, worse, INFO).rows} == {False}
    marked = replace(bad, scores=worse.scores)
    for pair, first, second in (((good, marked), 0, 1), ((marked, good), 1, 0)):
        found = compare_runs(*pair, INFO)
        assert (len(found.first_marks), len(found.second_marks)) == (first, second)
        assert {r.improved for r in found.rows} == {None}
        assert found.rows[0].difference.value is not None
        which = "first" if first else "second"
        assert printed(print_all_rows, found, 200).startswith(f"mark: {which} run: demo (0) on faces: {ALL_FAKE}")
    assert comparison_to_json(found)["first_marks"][0]["text"] == ALL_FAKE


def test_detectors_are_not_ranked_where_one_is_marked():
    rows = [r for t, m in ((run(), "xaibench/good"), (run(0.9, 0.8), "xaibench/bad"))
            for r in (x | {"model": m} for x in t.predictions.to_pylist())]  # fmt: skip
    scores = [r | {"model": m} for m in ("xaibench/good", "xaibench/bad") for r in column(MEANS)]
    found = rank_detectors(tables(scores, rows), INFO)
    assert found.classes == ()
    assert f"bad is not compared: {ALL_FAKE}" in found.notes
    assert printed(print_all_measures, found, 200).startswith(f"mark: bad (0) on faces: {ALL_FAKE}")
    assert ranking_to_json(found, None)["entrants"][0]["marks"][0]["text"] == ALL_FAKE
