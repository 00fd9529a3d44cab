"""The gates of a board: what a score ranks nothing for, and what is said of it."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from leaderboard_tables import DELETION, HIT, INFO, build, column, score, tables
from report_tables import report_page
from rich.console import Console

from xaibench.api import ScoreSpec
from xaibench_report.boards.leaderboard import build_leaderboards
from xaibench_report.terminal.boards_terminal import print_leaderboards, to_json

MEASURED = ScoreSpec(name="auc", better="lower", low=0, high=1, ranks_evidence=True)
SPECS = {(DELETION, "auc"): MEASURED, (HIT, "hit"): ScoreSpec(name="hit", better="higher", low=0, high=1)}
BOUNDED = replace(INFO, specs=SPECS)
RANDOM, ORACLE = "xaibench/random", "xaibench/mask-oracle"


def rows(values, **changes):
    """A row for each value of each explainer."""
    return [score(e, v, i, **changes) for e, found in values.items() for i, v in enumerate(found)]


def board(scores, info=BOUNDED):
    (found,) = build(scores, info).boards
    return found


def withheld(scores, info=BOUNDED):
    return board(scores, info).columns[0].withheld


def wiggling(mean, n=12, seed=0, spread=0.05):
    wiggle = np.random.default_rng(seed).normal(size=n)
    return (mean + spread * (wiggle - wiggle.mean())).tolist()


# ---- floor and ceiling ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("level", "words"), [(0.995, "saturated at 1.000"), (0.004, "floored at 0.000")])
def test_where_all_values_lie_at_a_bound_nothing_is_ranked(level, words):
    values = {"a": [level - 0.002] * 12, "b": [level + 0.002] * 12, RANDOM: [level] * 12}
    found = board(rows(values))
    assert found.columns[0].withheld == words
    assert [v.sentence for v in found.verdicts] == [f"deletion auc: no ranks and no verdicts: {words}."]
    assert all(r.cells[0].rank is None and r.cells[0].versus_best is None for r in found.rows)
    assert [r.cells[0].estimate.value for r in found.rows] == pytest.approx([level - 0.002, level + 0.002, level])


@pytest.mark.parametrize(("a", "random", "closed"), [
    (12, 12, True),
    (10, 12, True),  # 22 of 24 values, .917
    (9, 12, False),  # 21 of 24, .875
    (12, 10, False),  # 22 of 24 as above, but of the random control's own .833
])  # fmt: skip
def test_nine_tenths_of_all_values_and_of_the_random_control_count(a, random, closed):
    values = {"a": [1.0] * a + [0.5] * (12 - a), RANDOM: [0.99] * random + [0.4] * (12 - random)}
    assert withheld(rows(values)) == ("saturated at 1.000" if closed else "")


@pytest.mark.parametrize(("a", "random", "closed"), [
    (8, 10, True),  # 18 of 20 values
    (7, 10, False),
    (10, 9, True),  # nine of ten of the random control's own
    (10, 8, False),  # 18 of 20, but eight of ten of its own
])  # fmt: skip
def test_exactly_nine_tenths_are_enough(a, random, closed):
    values = {"a": [1.0] * a + [0.5] * (10 - a), RANDOM: [1.0] * random + [0.4] * (10 - random)}
    assert withheld(rows(values)) == ("saturated at 1.000" if closed else "")


def test_a_hair_is_a_hundredth_of_the_range():
    wide = replace(INFO, specs={(DELETION, "auc"): replace(MEASURED, high=100)})
    for level, reason in ((99.0, "saturated at 100.000"), (98.96, "")):
        values = {"a": [level] * 12, "b": [level + 0.002] * 12, RANDOM: [level + 0.004] * 12}
        assert withheld(rows(values), wide) == reason


def test_a_reference_at_a_bound_does_not_count():
    assert withheld(rows({"a": wiggling(0.3), RANDOM: wiggling(0.6, seed=1), ORACLE: [0.0] * 12})) == ""
    values = {"a": [1.0] * 12, RANDOM: [1.0] * 12, ORACLE: wiggling(0.3)}
    assert withheld(rows(values)) == "saturated at 1.000"


def test_a_hair_is_of_the_declared_range_and_nothing_without_one():
    values = {"a": [98.0] * 12, RANDOM: wiggling(97, spread=0.1)}
    wide = replace(MEASURED, high=100)
    narrow = replace(MEASURED, high=98.5)
    without = replace(MEASURED, high=float("inf"))
    for spec, reason in ((wide, ""), (narrow, ""), (without, "")):
        assert withheld(rows(values), replace(INFO, specs={(DELETION, "auc"): spec})) == reason
    values[RANDOM] = [99.5] * 12
    assert withheld(rows({**values, "a": [99.0] * 12}), replace(INFO, specs={(DELETION, "auc"): wide})) == (
        "saturated at 100.000"
    )


def test_means_that_print_alike_rank_nothing():
    values = {"a": [0.5, 0.3] * 6, "b": [0.3002, 0.5002] * 6, RANDOM: [0.4] * 12}
    found = board(rows(values), INFO)  # no declared range
    assert found.columns[0].withheld == "all means are 0.400, equal at the shown precision"
    assert withheld(rows({**values, RANDOM: [0.401] * 12}), INFO) == ""
    assert withheld(rows({"a": [0.5, 0.3] * 6, RANDOM: [0.4] * 12}), INFO).startswith("all means are 0.400")
    assert withheld(rows({"a": [0.5, 0.3] * 6}), INFO) == ""  # one explainer is no comparison


def test_four_pictures_at_a_bound_are_told_from_none():
    assert withheld(rows({"a": [1.0] * 4, RANDOM: [1.0] * 4})) == "saturated at 1.000"
    assert withheld(rows({"a": wiggling(0.5, 4), RANDOM: wiggling(0.7, 4, seed=1)})) == ""


def test_a_score_that_is_only_shown_has_no_gate():
    shown = replace(MEASURED, ranks_evidence=False, ranked=False, why_not="it is a cost")
    found = board(rows({"a": [1.0] * 12, RANDOM: [1.0] * 12}), replace(INFO, specs={(DELETION, "auc"): shown}))
    assert found.columns[0].withheld == ""
    assert [v.sentence for v in found.verdicts] == ["deletion auc: not held against controls: it is a cost."]


# ---- a reference told from random maps --------------------------------------------------------------------------


def test_a_reference_that_is_told_from_random_maps_lets_ranks_stand():
    values = {"a": wiggling(0.4), RANDOM: wiggling(0.6, seed=1), ORACLE: wiggling(0.1, seed=2)}
    found = board(rows(values))
    assert found.columns[0].withheld == ""
    assert found.rows[0].cells[0].rank is not None
    assert not any("reference" in note for note in found.notes if "told" in note)


def test_a_reference_that_is_no_better_than_random_maps_withholds_ranks():
    values = {"a": wiggling(0.1), "b": wiggling(0.3), RANDOM: wiggling(0.6, seed=1), ORACLE: wiggling(0.6, seed=2)}
    reason = withheld(rows(values))
    assert reason.startswith("mask-oracle is not told from random maps: difference ")
    worse = withheld(rows({**values, ORACLE: wiggling(0.8, seed=2)}))
    assert worse.startswith("mask-oracle is not told from random maps: difference 0.200 [")


def test_one_reference_that_is_told_is_enough_and_the_first_by_name_gives_the_reason():
    two = replace(BOUNDED, references=frozenset((ORACLE, "acme/truth")))
    values = {
        "a": wiggling(0.4),
        RANDOM: wiggling(0.6, seed=1),
        ORACLE: wiggling(0.59, seed=2),
        "acme/truth": wiggling(0.1),
    }
    assert withheld(rows(values), two) == ""
    assert withheld(rows(values)).startswith("mask-oracle is not told")
    assert withheld(rows({**values, "acme/truth": wiggling(0.61, seed=3)}), two).startswith("acme/truth is not told")


def test_random_maps_are_the_control_of_that_name_whatever_its_parameters():
    drawn, other = "xaibench/random:smooth=3", "xaibench/random-regions"
    info = replace(BOUNDED, controls=INFO.controls | {drawn, other})
    values = {"a": wiggling(0.4), ORACLE: wiggling(0.6, seed=2), drawn: wiggling(0.61, seed=1), other: wiggling(0.9)}
    assert "is not told from random:smooth=3 maps" in withheld(rows(values), info)
    del values[drawn]
    assert withheld(rows(values), info) == ""
    assert any(note.endswith("no random maps have values") for note in board(rows(values), info).notes)


def test_of_several_random_controls_the_first_by_name_is_compared():
    smooth = "xaibench/random:smooth=3"
    info = replace(BOUNDED, controls=INFO.controls | {smooth})
    values = {"a": wiggling(0.4), ORACLE: wiggling(0.6, seed=2), RANDOM: wiggling(0.61, seed=1), smooth: wiggling(0.9)}
    assert withheld(rows(values), info).startswith("mask-oracle is not told from random maps: ")
    assert withheld(rows({**values, RANDOM: values[smooth], smooth: values[RANDOM]}), info) == ""


def test_a_reference_and_random_maps_of_other_pictures_are_not_compared():
    scores = [*rows({"a": wiggling(0.4), RANDOM: wiggling(0.6)}), *[score(ORACLE, 0.1, i) for i in range(20, 32)]]
    assert withheld(scores) == ""
    assert any(note.endswith("random maps: no common samples") for note in board(scores).notes)


def test_a_candidate_is_no_reference():
    values = {"a": wiggling(0.6), RANDOM: wiggling(0.61, seed=1)}
    assert withheld(rows(values)) == ""
    note = "deletion auc: not measured whether a reference is told from random maps: no reference, such as mask-oracle, has values"
    assert note in board(rows(values)).notes


@pytest.mark.parametrize(("values", "why"), [
    ({"a": wiggling(0.4), ORACLE: wiggling(0.1)}, "no random maps have values"),
    ({"a": wiggling(0.4, 9), RANDOM: wiggling(0.6, 9), ORACLE: wiggling(0.6, 9, seed=2)}, "9 groups, fewer than 10"),
])  # fmt: skip
def test_what_is_not_measured_withholds_nothing(values, why):
    found = board(rows(values))
    assert found.columns[0].withheld == ""
    assert f"deletion auc: not measured whether a reference is told from random maps: {why}" in found.notes


def test_scores_that_need_not_rank_evidence_are_not_held_to_a_reference():
    other = replace(MEASURED, ranks_evidence=False, why_not="it asks how stable maps are")
    info = replace(INFO, specs={(DELETION, "auc"): other})
    found = board(rows({"a": wiggling(0.4), RANDOM: wiggling(0.6), ORACLE: wiggling(0.6, seed=2)}), info)
    assert found.columns[0].withheld == ""
    assert found.rows[0].cells[0].rank is not None
    assert not any("reference" in note for note in found.notes if "told" in note)


def test_a_reference_within_what_ties_move_is_not_told():
    spread = ScoreSpec(name="tie-spread", better="none", primary=False, why_not="ties")
    info = replace(
        INFO, specs={(DELETION, "auc"): replace(MEASURED, tie_spread="tie-spread"), (DELETION, "tie-spread"): spread}
    )
    values = {"a": wiggling(0.4), RANDOM: wiggling(0.6, seed=1), ORACLE: wiggling(0.3, seed=2)}
    ties = [score(ORACLE, 0.4, i, score="tie-spread", better="none") for i in range(12)]
    assert withheld(rows(values), info) == ""
    assert withheld([*rows(values), *ties], info).endswith("; ties move it by 0.400")
    steps = [i / 32 for i in range(12)]
    exact = {"a": wiggling(0.7), RANDOM: [s + 0.25 for s in steps], ORACLE: steps}
    ties = [score(ORACLE, 0.25, i, score="tie-spread", better="none") for i in range(12)]
    assert withheld([*rows(exact), *ties], info).endswith("; ties move it by 0.250")  # as far as they differ
    alike = withheld([*rows({**exact, ORACLE: exact[RANDOM]}), *ties], info)
    assert alike == "mask-oracle is not told from random maps: difference 0.000 in 12 groups"


# ---- where it is shown ------------------------------------------------------------------------------------------


def saturated():
    return rows({"a": [1.0] * 12, "b": [0.999] * 12, RANDOM: [0.998] * 12})


def test_the_terminal_says_why_beneath_the_board():
    console = Console(file=io.StringIO(), width=80)
    print_leaderboards(build(saturated(), BOUNDED), console)
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    assert "deletion auc: no ranks and no verdicts: saturated at 1.000." in text
    assert "no ranks" in text.partition("explainer")[2].partition("\n a ")[0]
    assert "#" not in text.partition("Means with")[0]


def test_json_and_page_hold_the_reason(tmp_path):
    data = json.loads(json.dumps(to_json(build(saturated(), BOUNDED)), allow_nan=False))["boards"][0]
    assert data["columns"][0]["withheld"] == "saturated at 1.000"
    assert data["verdicts"][0]["verdicts"] == []
    page = report_page(tmp_path, tables(saturated()), BOUNDED)
    assert '<small class="why" title="saturated at 1.000">no ranks</small>' in page
    assert "<li>deletion auc: no ranks and no verdicts: saturated at 1.000.</li>" in page
    assert 'class="rank"' not in page


def test_one_score_may_be_withheld_and_another_ranked():
    info = replace(BOUNDED, families=INFO.families | {HIT: "faithfulness"})
    scores = [*saturated(), *column({"a": 0.2, "b": 0.3, RANDOM: 0.5}, metric=HIT, score="hit", better="higher")]
    (found,) = build_leaderboards(tables(scores), info).boards
    assert [c.withheld for c in found.columns] == ["saturated at 1.000", ""]
    assert [r.explainer for r in found.rows] == ["b", "a", RANDOM]  # by the score that ranks
    assert [r.cells[1].rank.rank for r in found.rows[:2]] == [1, 2]
