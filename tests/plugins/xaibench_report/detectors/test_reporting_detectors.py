"""Right-censored scores and measures of a detector itself, in tables and reports."""

import io

import pytest
from leaderboard_tables import INFO, build, score, tables
from leaderboard_tables import column as columns
from report_tables import markup, report_page, run_tables
from rich.console import Console

from xaibench.api import ScoreSpec
from xaibench_report.comparisons.compare import compare_runs
from xaibench_report.terminal.boards_terminal import print_leaderboards, to_json
from xaibench_report.values.run_tables import score_info
from xaibench_report.values.run_values import ScoreInfo

ATTACK, ODC = "xaibench/segment-attack", "xaibench/channel-decorrelation"
BOUND = ScoreSpec(name="bound", better="lower", per_item=True, event="flip")
FLIP = ScoreSpec(name="flip", better="higher", per_item=True, primary=False)
SPECS = ScoreInfo(
    controls=INFO.controls,
    families={ATTACK: "attack", ODC: "interpretability"},
    specs={(ATTACK, "bound"): BOUND, (ATTACK, "flip"): FLIP},
)


def attacked(explainer, values, largest=0.5, **changes):
    rest = {"metric": ATTACK, "item": "top-1", **changes}
    return [
        row for i, v in enumerate(values)
        for row in (
            score(explainer, largest if v is None else v, i, score="bound", **rest),
            score(explainer, float(v is not None), i, score="flip", **rest | {"better": "higher"}),
        )
    ]  # fmt: skip


def printed(found):
    out = io.StringIO()
    print_leaderboards(found, Console(file=out, width=100))
    return out.getvalue()


def test_a_censored_score_has_a_restricted_mean_and_a_median():
    rows = [*attacked("a", [0.1, 0.2, 0.3, None]), *attacked("b", [0.1, None, None, None])]
    found = build(rows, SPECS)
    (board,) = found.boards
    a, b = (row.cells[0] for row in board.rows)
    assert a.estimate.value == pytest.approx((0.1 + 0.2 + 0.3 + 0.5) / 4)  # not the mean over the flipped, .2
    assert (a.median.value, a.median.above, a.median.censored) == (0.25, False, 1)
    assert b.estimate.value == pytest.approx((0.1 + 3 * 0.5) / 4)
    assert (b.median.value, b.median.above) == (0.5, True)
    assert [row.explainer for row in board.rows] == ["a", "b"]
    assert (a.rank, b.rank) == (None, None)  # four groups
    text = printed(found)
    assert "median 0.250" in text
    assert "median >0.500" in text
    assert "restricted mean" in text
    note = "not reached within the largest tried, 0.5: a 1 of 4, b 3 of 4; means are restricted to it"
    assert any(note in n for n in board.notes)
    assert to_json(found)["boards"][0]["rows"][0]["cells"][0]["median"]["value"] == 0.25


def test_a_sample_is_censored_where_no_draw_reached_it():
    rows = [r | {"repeat": k} for k, v in enumerate((0.1, None)) for r in attacked("a", [v, None, None])]
    (board,) = build(rows, SPECS).boards
    median = board.rows[0].cells[0].median
    assert (median.censored, median.value, median.above) == (2, 0.5, True)
    assert board.rows[0].cells[0].estimate.value == pytest.approx((0.3 + 0.5 + 0.5) / 3)


def test_a_missing_mark_is_said():
    rows = [r for r in attacked("a", [0.1, 0.2]) if r["score"] == "bound" or r["sample"] != "fake-00"]
    (board,) = build(rows, SPECS).boards
    assert board.rows[0].cells[0].median is None
    assert any("no median of a: 'flip' does not say" in n for n in board.notes)


def test_what_was_undefined_for_every_item_is_counted_and_makes_no_column():
    rows = attacked("a", [0.1, 0.2])
    real = score("a", None, 9, metric=ATTACK, score="bound", status="undefined", reason="a real picture")
    (board,) = build([*rows, real], SPECS).boards
    assert [c.score for c in board.columns] == ["bound top-1"]
    assert [(x.reason, x.count) for x in board.left_out] == [("a real picture", 1)]
    (board,) = build([real], SPECS).boards  # nothing else: the reason has to stand somewhere
    assert [c.score for c in board.columns] == ["bound"]


def test_the_declaration_survives_the_tables():
    details = '{"family": "attack", "scores": [{"name": "bound", "better": "lower", "event": "flip", "headroom": null}]}'  # as record.component_rows writes it
    info = score_info([{"run": "r", "kind": "metric", "name": ATTACK, "details": details}])
    assert info.specs[ATTACK, "bound"].event == "flip"


def model_score(member, value, item="", **changes):
    where = {"sample": "", "group": "", "cross_group": None, "label": "", "method": None, "scope": "model"}
    return score("", value, **where, metric=ODC, score="odc", item=item, member=member, **changes)


def test_measures_of_detectors_stand_in_a_table_of_their_own():
    rows = [model_score("0", 0.2), model_score("1", 0.4, "p0"), model_score("1", 0.6, "p1"),
            model_score("2", None, status="undefined", reason="a constant layer")]  # fmt: skip
    found = build([*columns({"a": 0.1}), *rows], SPECS)
    assert [(b.family, [r.explainer for r in b.rows]) for b in found.boards] == [("other", ["a"])]
    (table,) = found.detectors
    assert (table.family, [r.where.member for r in table.rows]) == ("interpretability", ["0", "1", "2"])
    one, two, three = (r.cells[0] for r in table.rows)
    assert one.estimate.value == 0.2
    assert (two.estimate.value, two.span) == (0.5, (0.4, 0.6))
    assert three.why == "undefined: a constant layer"
    text = printed(found)
    assert "interpretability of detectors on faces" in text
    assert "demo (1)" in text
    assert "left out: channel-decorrelation: " not in text
    assert "values of channel-decorrelation: 1 undefined: a constant layer" in text


def test_the_report_shows_them(tmp_path):
    rows = [model_score("0", 0.2), *attacked("a", [0.1, None, None])]
    page = report_page(tmp_path, tables(rows), SPECS)
    assert "interpretability of detectors" in page
    assert "median &gt;0.500" in page
    assert "restricted mean" in page


def test_the_report_counts_what_was_left_out_of_them(tmp_path):
    rows = [model_score("0", 0.2), model_score("1", None, status="undefined", reason="a constant layer")]
    page = report_page(tmp_path, tables(rows), SPECS)
    left_out = page.partition('id="left-out"')[2].partition('id="provenance"')[0]
    assert "values of channel-decorrelation: 1 undefined: a constant layer" in left_out
    assert "Nothing." not in left_out


def test_values_of_a_whole_set_are_not_said_to_be_of_no_samples(tmp_path):
    where = {"sample": "", "group": "", "cross_group": None, "label": "", "method": None, "scope": "family"}
    rows = [score("a", 0.7, **where, member=""), score("b", 0.8, **where, member="")]
    page = report_page(tmp_path, tables(rows), SPECS)
    assert "n=0" not in markup(page)
    assert "n=0" not in printed(build(rows, SPECS))


def test_runs_are_compared_on_a_measure_of_the_detector():
    (row,) = compare_runs(tables([model_score("0", 0.2)]), tables([model_score("0", 0.5)]), SPECS).rows
    assert (row.first, row.second, row.explainer) == (0.2, 0.5, "")


def test_methods_weigh_alike_when_runs_are_compared_on_localisation():
    def half(shift):
        found = run_tables(shift=shift, explainers=("xaibench/gradcam",))
        rows = [
            r | {"method": "rare" if i < 3 else "often", "value": r["value"] + (0.9 if i < 3 else 0) * (shift > 0)}
            for i, r in enumerate(found.scores.to_pylist())
        ]
        return type(found)(scores=found.scores.from_pylist(rows, found.scores.schema), commits=found.commits,
                           predictions=found.predictions)  # fmt: skip

    where = {"xaibench/deletion": "localisation"}
    (row,) = compare_runs(half(0.0), half(0.1), ScoreInfo(families=where)).rows
    shifts = [0.09, 0.11] * 6
    rare, often = 0.9 + sum(shifts[:3]) / 3, sum(shifts[3:]) / 9
    assert row.difference.value == pytest.approx((rare + often) / 2)  # over samples it is .1 + .9 * 3 / 12
    assert row.second - row.first == pytest.approx(row.difference.value)
    (row,) = compare_runs(half(0.0), half(0.1), ScoreInfo(families={"xaibench/deletion": "robustness"})).rows
    assert row.difference.value == pytest.approx(0.1 + 0.9 / 4)
