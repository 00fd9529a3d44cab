"""Explainers held against controls: the three words, what decides, and where there is none."""

import numpy as np
import pytest

from xaibench_statistics import Values, judge_against_controls

GROUPS = 30
NOISE = np.random.default_rng(8).normal(size=(12, GROUPS))


def deltas(row, shift=0.0, groups=GROUPS):
    """Noise of standard deviation 1 around ``shift``, one sample a group."""
    return Values.of([f"s{g:03d}" for g in range(groups)], NOISE[row, :groups] - NOISE[row, :groups].mean() + shift)


def judge(controls, **settings):
    return judge_against_controls({("e", "deletion auc"): controls}, **settings)["e", "deletion auc"]


def test_better_than_every_control():
    found = judge({"random": deltas(0, 3.0), "edges": deltas(1, 2.0)})
    assert (found.word, found.least_control, found.note) == ("better", "edges", "")
    assert found.p_better == 2 / 2001  # two directions, and no resample reaches either
    assert found.p_worse == 1.0


def test_one_control_that_is_not_beaten_withholds_better():
    found = judge({"random": deltas(0, 3.0), "edges": deltas(1, 0.1)})
    assert (found.word, found.least_control) == ("not told apart", "edges")
    assert found.p_better > 0.05


def test_worse_than_one_control_is_worse():
    found = judge({"random": deltas(0, 3.0), "edges": deltas(1, -2.0), "prior": deltas(2, 0.0)})
    assert (found.word, found.least_control) == ("worse", "edges")
    assert found.p_worse == 2 / 2001
    assert found.p_better == 1.0


def test_p_is_corrected_for_scores_and_directions():
    board = {("e", f"score {i}"): {"random": deltas(i, 3.0)} for i in range(10)}
    found = judge_against_controls(board)
    # 20 families, of 4,000 resamples each
    assert [j.p_better for j in found.values()] == pytest.approx([20 / 4001] * 10)


def test_more_explainers_raise_the_bar():
    weak = {("weak", "x"): {"random": deltas(0, 0.55)}}
    others = {(f"e{i}", "x"): {"random": deltas(i)} for i in range(1, 12)}
    alone, among = judge_against_controls(weak)["weak", "x"], judge_against_controls(weak | others)["weak", "x"]
    assert alone.word == "better"
    assert among.word == "not told apart"
    assert alone.p_better < 0.05 < among.p_better


def test_a_constant_difference_has_the_p_of_flipped_signs():
    def constant(value, groups):
        return Values.of([f"s{g:03d}" for g in range(groups)], [value] * groups)

    assert judge({"random": constant(0.5, 12)}).p_better == 2 * 0.5**12
    assert judge({"random": constant(-0.5, 12)}).word == "worse"
    nothing = judge({"random": constant(0.0, 12)})
    assert (nothing.word, nothing.p_better, nothing.p_worse) == ("not told apart", 1.0, 1.0)
    board = {(f"e{i}", "x"): {"random": constant(0.5, 10)} for i in range(60)}
    assert judge_against_controls(board)["e0", "x"].word == "not told apart"  # 120 / 1024


def test_few_groups_that_differ_show_nothing():
    few = np.zeros(GROUPS)
    few[:3] = 1.0
    found = judge({"random": deltas(0, 0.0).with_values(few)})
    assert (found.word, found.p_better) == ("not told apart", 1.0)


def test_with_few_groups_nothing_is_judged():
    found = judge({"random": deltas(0, 3.0, groups=9)})
    assert (found.word, found.p_better, found.p_worse) == (None, None, None)
    assert found.note == "random: 9 groups, fewer than 10: no judgement"
    assert judge({}).note == "no control was measured"


def test_a_control_that_cannot_be_compared_withholds_better_but_not_worse():
    few, none = deltas(1, 3.0, groups=9), deltas(2).where(np.zeros(GROUPS, dtype=bool))
    found = judge({"random": deltas(0, 3.0), "edges": few, "prior": none})
    assert (found.word, found.p_better) == (None, None)
    assert found.note == "edges: 9 groups, fewer than 10: no judgement; prior: no common samples"
    assert judge({"random": deltas(0, -3.0), "edges": few}).word == "worse"


def test_a_difference_that_ties_alone_can_make_shows_nothing():
    controls = {"random": deltas(0, 3.0), "edges": deltas(1, 2.0)}
    beyond = judge(controls, margins={("e", "deletion auc"): {"edges": 1.9}})
    assert (beyond.word, beyond.within_margin) == ("better", False)
    found = judge(controls, margins={("e", "deletion auc"): {"edges": 2.1}})
    assert (found.word, found.least_control, found.p_better) == ("not told apart", "edges", 1.0)
    assert found.within_margin, "without the margin it is better"
    nothing = judge({"random": deltas(0, 0.0)}, margins={("e", "deletion auc"): {"random": 5.0}})
    assert (nothing.word, nothing.within_margin) == ("not told apart", False), "nothing is told with no margin either"


def test_each_control_may_have_samples_of_its_own():
    found = judge({"random": deltas(0, 3.0).where(np.arange(GROUPS) < 15), "edges": deltas(1, 3.0)})
    assert found.word == "better"


def test_crossed_factors_are_judged():
    rng = np.random.default_rng(3)
    ids, targets = [f"s{i:03d}" for i in range(100)], [f"t{i % 20}" for i in range(100)]
    donors = [f"d{i}" for i in rng.permutation(np.resize(np.arange(25), 100))]
    noise = rng.normal(size=100)
    assert judge({"random": Values.of(ids, noise + 2, targets, donors)}).word == "better"
    assert judge({"random": Values.of(ids, noise - noise.mean(), targets, donors)}).word == "not told apart"
    few = ["d1"] * 50 + ["d2"] * 50
    assert "2 donors" in judge({"random": Values.of(ids, noise + 2, targets, few)}).note


def test_the_order_of_rows_and_keys_changes_nothing():
    board = {(f"e{i}", "x"): {"random": deltas(i, 0.2 * i), "edges": deltas(i + 1, 0.3)} for i in range(5)}
    turned = {
        key: {c: Values.of(v.samples[::-1], v.values[::-1], v.groups[::-1]) for c, v in reversed(controls.items())}
        for key, controls in reversed(board.items())
    }
    assert judge_against_controls(board) == judge_against_controls(turned)
    assert list(judge_against_controls(board)) == list(board)


@pytest.mark.parametrize("level", [0.01, 0.2])
def test_the_level_decides_the_word_not_p(level):
    found = judge({"random": deltas(0, 0.5)}, level=level)
    assert (found.word == "better") == (found.p_better <= level)
