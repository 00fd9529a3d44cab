"""Leaderboards from small tables whose numbers are known."""

import io
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from leaderboard_tables import CONTROLS, DELETION, HIT, INFO, WHERE, build, column, sample, score, tables
from rich.console import Console

from xaibench.api import ScoreSpec
from xaibench_report.boards.leaderboard import build_leaderboards
from xaibench_report.terminal.boards_terminal import print_leaderboards, to_json
from xaibench_report.values.run_values import ScoreInfo, Where, cell_values, inverse_of, short
from xaibench_statistics import Rank


def logit(p):
    return math.log(max(p, 1e-9) / max(1 - p, 1e-9))


def prediction(i, label, p_fake, **changes):
    return {
        **WHERE, **sample(i, label), "probabilities": [1 - p_fake, p_fake], "classes": ["real", "fake"],
        "p_fake": p_fake, "log_odds": logit(p_fake), "prediction": "fake", "verdict": "fake" if p_fake >= 0.5 else "real",
        "correct": (p_fake >= 0.5) == (label == "fake"), "status": "ok", "reason": None,
    } | changes  # fmt: skip


def only_board(scores, info=INFO):
    (board,) = build(scores, info).boards
    return board


def cell(board, explainer, at=0):
    return next(row.cells[at] for row in board.rows if row.explainer == explainer)


def sentence(board):
    (verdict,) = board.verdicts
    return verdict.sentence


# ---- values within samples --------------------------------------------------------------------------------------


def test_repeats_and_items_are_averaged_within_their_sample_first():
    rows = [score("a", v, 0, repeat=r) for r, v in enumerate((1.0, 2.0, 6.0))] + [score("a", 5.0, 1)]
    (found,) = cell_values(tables(rows).scores).values()
    assert found.values.values.tolist() == [3.0, 5.0]  # not (1 + 2 + 6 + 5) / 4


def test_a_sample_with_one_undefined_repeat_is_left_out_and_counted():
    rows = [score("a", 1.0, 0), score("a", 0.0, 0, repeat=1, status="undefined", reason="constant map"),
            score("a", 5.0, 1)]  # fmt: skip
    (found,) = cell_values(tables(rows).scores).values()
    assert found.values.values.tolist() == [5.0]
    assert found.incomplete == 1
    assert found.left_out == {("undefined", "constant map"): 1}


def test_names_and_roles():
    assert short("xaibench/rise:masks=8") == "rise:masks=8"
    assert short("acme/rise") == "acme/rise"
    assert inverse_of("xaibench/inverse:of=xaibench/gradcam") == inverse_of("xaibench/inverse:of=gradcam") == "gradcam"
    roles = [INFO.role(e) for e in ("acme/x", *CONTROLS, "xaibench/mask-oracle")]
    assert roles == ["explainer", "control", "control", "control", "inverse", "reference"]


# ---- boards -----------------------------------------------------------------------------------------------------


def test_a_board_ranks_explainers_and_never_controls():
    board = only_board(column({"xaibench/rise": 0.3, "xaibench/gradcam": 0.2, "xaibench/random": 0.1}))
    assert [(row.explainer, row.role) for row in board.rows] == [
        ("xaibench/gradcam", "explainer"), ("xaibench/rise", "explainer"), ("xaibench/random", "control"),
    ]  # fmt: skip
    gradcam, rise, random = (row.cells[0] for row in board.rows)
    assert gradcam.estimate.value == pytest.approx(0.2)
    assert gradcam.estimate.low < 0.2 < gradcam.estimate.high
    assert (gradcam.rank, rise.rank, random.rank) == (Rank(rank=1, low=1, high=1), Rank(rank=2, low=2, high=2), None)
    assert rise.versus_best.value == pytest.approx(0.1)
    assert gradcam.versus_best is None


def test_each_family_has_its_own_board_and_there_is_no_overall_number():
    rows = column({"a": 0.2}) + column({"a": 0.7}, metric=HIT, score="hit", better="higher")
    assert [b.family for b in build(rows).boards] == ["faithfulness", "localisation"]


def test_only_primary_scores_stand_on_a_board_in_the_order_of_their_declaration():
    specs = {
        (DELETION, "b"): ScoreSpec(name="b", better="lower"),
        (DELETION, "auc"): ScoreSpec(name="auc", better="lower"),
        (DELETION, "hidden"): ScoreSpec(name="hidden", better="lower", primary=False),
    }
    rows = [r for name in ("auc", "b", "hidden") for r in column({"a": 0.2}, score=name)]
    board = only_board(rows, ScoreInfo(families=INFO.families, specs=specs))
    assert [c.score for c in board.columns] == ["b", "auc"]


def test_ranks_use_common_samples_and_say_so():
    rows = column({"a": 0.3, "b": 0.2})
    rows = [r for r in rows if not (r["explainer"] == "b" and r["sample"] == "fake-00")]
    rows.append(score("b", 0.0, 0, status="undefined", reason="constant map"))
    board = only_board(rows)
    assert board.columns[0].common == 11
    assert (cell(board, "a").estimate.n, cell(board, "b").estimate.n) == (12, 11)
    assert any("(b 11 of 12 samples); ranks use the 11" in note for note in board.notes)
    assert [(x.status, x.reason, x.count) for x in board.left_out] == [("undefined", "constant map", 1)]


def test_few_groups_give_no_interval_and_say_so():
    board = only_board(column({"a": 0.2, "xaibench/random": 0.9}, n=6))
    assert cell(board, "a").estimate.low is None
    assert "deletion auc: 6 groups, fewer than 10: no interval" in board.notes
    assert sentence(board) == "deletion auc: no verdict on a: 6 groups, fewer than 10."


@pytest.mark.parametrize(("common", "why"), [(1, "1 group, fewer than 10"), (0, "no common samples with any control")])
def test_one_common_sample_is_a_comparison_of_one_group(common, why):
    rows = column({"a": 0.2})
    rows += [score("xaibench/random", 0.9, 12 - common + i) for i in range(12)]
    assert sentence(only_board(rows)) == f"deletion auc: no verdict on a: {why}."


def test_an_explainer_without_values_stays_on_the_board_with_the_reason():
    rows = column({"a": 0.2}) + [score("b", 0, i, status="failed", reason="RuntimeError: boom") for i in range(3)]
    found = cell(only_board(rows), "b")
    assert (found.estimate, found.why, found.incomplete) == (None, "failed: RuntimeError: boom", 3)


def test_scores_of_a_whole_detector_have_a_range_over_items_and_no_interval():
    whole = {"sample": "", "scope": "detector", "metric": "xaibench/stability", "score": "r", "better": "higher"}
    rows = [score("a", v, item=i, **whole) for i, v in (("layer1", 0.2), ("layer2", 0.6))]
    rows += [score("xaibench/random", 0.1, **whole)]
    board = only_board(rows)
    found = cell(board, "a")
    assert (found.estimate.value, found.estimate.low, found.span) == (pytest.approx(0.4), None, (0.2, 0.6))
    assert found.rank is None
    assert "no interval" in sentence(board)


def test_scores_of_a_family_stand_on_a_board_of_their_own():
    rows = [*column({"a": 0.2}), score("a", 0.5, member="", sample="", scope="family")]
    assert [b.where.member for b in build(rows).boards] == ["", "0"]


def test_scores_without_direction_have_neither_ranks_nor_verdicts():
    board = only_board(column({"a": 0.2, "xaibench/random": 0.9}, better="none"))
    assert cell(board, "a").rank is None
    assert board.verdicts == ()


# ---- verdicts in three words ------------------------------------------------------------------------------------

BEATEN = {"xaibench/random": 0.5, "xaibench/center-prior": 0.4, "xaibench/edges": 0.45}


def test_an_explainer_shown_better_than_every_control():
    means = {"xaibench/gradcam": 0.2, **BEATEN, "xaibench/inverse:of=gradcam": 0.8, "xaibench/mask-oracle": 0.05}
    board = only_board(column(means | {"xaibench/center-prior": 0.21}))
    every = "center-prior, edges, random, own inverse"  # the mask oracle is better and need not be beaten
    assert sentence(board) == f"deletion auc: gradcam is shown better than every control ({every})."
    (verdict,) = board.verdicts[0].verdicts
    assert (verdict.word, verdict.control) == ("better", "xaibench/center-prior")
    assert verdict.p_better < 0.05 < verdict.p_worse


def test_one_control_is_enough_to_be_shown_worse():
    board = only_board(column({"xaibench/gradcam": 0.2, **BEATEN, "xaibench/edges": 0.1}))
    assert sentence(board) == "deletion auc: gradcam is shown worse than edges."


def test_direction_counts():
    rows = column({"xaibench/gradcam": 0.2, **BEATEN}, metric=HIT, score="hit", better="higher")
    assert sentence(only_board(rows)) == "pointing-game hit: gradcam is shown worse than random."


def test_another_explainers_inverse_does_not_apply():
    means = {"xaibench/gradcam": 0.2, "acme/rise": 0.3, **BEATEN, "xaibench/inverse:of=gradcam": 0.25}
    assert sentence(only_board(column(means))) == (
        "deletion auc: acme/rise, gradcam are shown better than every control "
        "(center-prior, edges, random, own inverse; no inverse of acme/rise was measured)."
    )


def test_a_difference_within_chance_is_not_told_apart():
    rng = np.random.default_rng(0)
    rows = [score(e, v, i) for e in ("a", "xaibench/random") for i, v in enumerate(rng.normal(size=30))]
    assert sentence(only_board(rows)) == "deletion auc: not told apart: a."


def test_a_failed_control_leaves_the_question_open_and_an_undefined_one_does_not_apply():
    rows = column({"a": 0.2, "xaibench/random": 0.9})
    failed = score("xaibench/edges", 0, status="failed", reason="boom")
    undefined = score("xaibench/edges", 0, status="undefined", reason="no edges")
    assert sentence(only_board([*rows, failed])) == "deletion auc: no verdict on a: edges failed."
    assert sentence(only_board([*rows, undefined])) == "deletion auc: a is shown better than every control (random)."
    worse = column({"a": 0.9, "xaibench/random": 0.2})  # a control that failed cannot mend that
    assert sentence(only_board([*worse, failed])) == "deletion auc: a is shown worse than random."


def test_without_controls_nothing_can_be_said():
    board = only_board(column({"a": 0.2}))
    assert sentence(board).endswith("no verdict on a: no control was measured.")
    assert any("no control ran" in note for note in board.notes)


# ---- the detector -----------------------------------------------------------------------------------------------


def test_detection_by_hand():
    predictions = [prediction(0, "fake", 0.8), prediction(1, "fake", 0.5, method="warp"), prediction(2, "fake", 0.5),
                   prediction(0, "real", 0.5), prediction(1, "real", 0.25),
                   prediction(9, "real", 0.0, status="failed", reason="not decoded")]  # fmt: skip
    failed = {
        "commit": 1, "cell": "c", "kind": "explain", "model": WHERE["model"], "member": "0",
        "dataset": WHERE["dataset"], "explainer": "acme/bad", "metric": "", "artefact": "", "repeat": 0,
        "samples": ["s", "t"], "digests": [1, 2], "statuses": ["failed", "ok"], "done": 2, "failed": 1, "kept": True,
        "reason": "ValueError", "attempts": 1, "seconds": 1.0, "forward": 0, "backward": 0,
        "peak_memory": 0, "device": "cpu", "error": "ValueError: no\nmore", "trace": "",
    }  # fmt: skip
    (found,) = build_leaderboards(tables(predictions=predictions, commits=[failed]), INFO).detections
    assert found.where == Where("xaibench/faces", "xaibench/demo", "0")
    a = found.accuracy
    assert a.auc.value == pytest.approx(5 / 6)
    assert (a.n, a.real, a.fake, a.groups, a.correct) == (5, 2, 3, 3, 4)
    assert (a.sensitivity.value, a.false_alarm_rate.value, a.balanced_accuracy.value) == (1.0, 0.5, 0.75)
    assert [(m.method, m.auc.value, m.sensitivity.value, m.n) for m in found.methods] == [
        ("swap", 0.875, 1.0, 2), ("warp", 0.75, 1.0, 1),
    ]  # fmt: skip
    assert [(x.what, x.reason, x.count) for x in found.left_out] == [
        ("predictions", "not decoded", 1), ("explain acme/bad", "ValueError: no", 1),
    ]  # fmt: skip


def test_a_detector_that_ranks_real_above_fake_is_told_so():
    predictions = [prediction(i, label, p) for i in range(12) for label, p in (("fake", 0.1), ("real", 0.9))]
    (found,) = build_leaderboards(tables(predictions=predictions), INFO).detections
    assert [(m.name, m.withholds_ranks) for m in found.marks] == [("the wrong way round", True)]
    one = [p for p in predictions if p["label"] == "fake"]
    (found,) = build_leaderboards(tables(predictions=one), INFO).detections
    assert (found.accuracy.auc, found.accuracy.note) == (None, "AUC needs both real and fake pictures")
    assert (found.accuracy.sensitivity.value, found.marks) == (0.0, ())


def test_fakes_without_a_method_stand_apart_from_real_pictures():
    values = {"real": (0.2, 0.4), "fake": (0.3, 0.9)}
    predictions = [prediction(i, label, p, method=None) for label, ps in values.items() for i, p in enumerate(ps)]
    (found,) = build_leaderboards(tables(predictions=predictions), INFO).detections
    assert [(m.method, m.auc.value, m.n, m.correct) for m in found.methods] == [("", 0.75, 2, 1)]


# ---- order, printing, JSON --------------------------------------------------------------------------------------


def crowded():
    means = {"xaibench/gradcam": 0.2, "a-vendor/a-map-with-a-very-long-name:masks=8000,cells=7": 0.3, **BEATEN}
    rows = [r for name in ("auc", "b", "c", "d", "e") for r in column(means, score=name)]
    rows.append(score("xaibench/edges", 0, 99, status="undefined", reason="a [bold]picture[/] has no edges"))
    predictions = [prediction(i, label, p) for i in range(12) for label, p in (("fake", 0.9), ("real", 0.2))]
    return rows, predictions


def test_any_order_of_rows_gives_the_same_leaderboards():
    rows, predictions = crowded()
    first = to_json(build_leaderboards(tables(rows, predictions), INFO))
    rng = np.random.default_rng(0)
    rows, predictions = ([x[i] for i in rng.permutation(len(x))] for x in (rows, predictions))
    assert to_json(build_leaderboards(tables(rows, predictions), INFO)) == first
    json.dumps(first, allow_nan=False)
    assert first["boards"][0]["where"] == {"dataset": "xaibench/faces", "model": "xaibench/demo", "member": "0"}


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_boards_fit_eighty_columns(encoding):
    raw = io.BytesIO()
    console = Console(file=io.TextIOWrapper(raw, encoding=encoding, write_through=True), width=80)
    print_leaderboards(build_leaderboards(tables(*crowded()), INFO), console)
    text = raw.getvalue().decode(encoding)
    assert max(map(len, text.splitlines())) <= 80
    assert "faithfulness (1/2)" in text
    assert "gradcam" in text
    assert "xaibench/" not in text
    assert "a [bold]picture[/] has no edges" in " ".join(text.split())


def test_empty_tables_give_empty_leaderboards():
    found = build_leaderboards(tables(), INFO)
    assert (found.detections, found.boards) == ((), ())
    print_leaderboards(found, Console(file=io.StringIO()))


def test_maps_that_no_detector_enters_are_marked_and_not_ranked():
    info = replace(INFO, independent=frozenset(("acme/edges", "xaibench/random")))
    board = only_board(column({"acme/edges": 0.1, "acme/good": 0.2, "acme/bad": 0.4, "xaibench/random": 0.5}), info)
    roles = {row.explainer: row.role for row in board.rows}
    assert roles["acme/edges"] == "reference" and roles["xaibench/random"] == "control"
    assert cell(board, "acme/edges").rank is None
    assert cell(board, "acme/good").rank.rank == 1
    assert "model-independent, never ranked: acme/edges, random: no detector enters these maps" in board.notes
    (verdict,) = board.verdicts
    assert {a.control for v in verdict.verdicts for a in v.against} == {"xaibench/random"}


def test_verdicts_are_corrected_over_explainers_and_scores_of_the_board():
    rng = np.random.default_rng(0)

    def rows(explainers, scores):
        return [
            score(e, 0.9 if e == "xaibench/random" else float(v), i, score=s)
            for s in scores
            for e in (*explainers, "xaibench/random")
            for i, v in enumerate(0.82 + 0.1 * rng.normal(size=12))
        ]

    def p_better(board):
        return board.verdicts[0].verdicts[0].p_better

    first = rows(["a"], ["auc"])
    alone = p_better(only_board(first))
    scores = p_better(only_board([*first, *rows(["a"], ["b", "c", "d"])]))
    explainers = p_better(only_board([*first, *[r for r in rows(["b", "c", "d"], ["auc"]) if r["explainer"] in "bcd"]]))
    assert 2 * alone < scores
    assert alone < explainers


def test_no_interval_reaches_beyond_the_declared_range():
    values = [*[1.0] * 10, 0.2, 0.6]
    rows = [score("a", v, i) for i, v in enumerate(values)]
    free = cell(only_board(rows), "a").estimate
    bounded = replace(INFO, specs={(DELETION, "auc"): ScoreSpec(name="auc", better="lower", low=0, high=1)})
    found = cell(only_board(rows, bounded), "a").estimate
    assert free.high > 1
    assert (found.value, found.low, found.high) == (free.value, free.low, 1.0)
