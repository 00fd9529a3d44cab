"""What holds exactly at a limit: equal to a level, a margin or the fewest groups."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import stdtr

from xaibench_statistics import (
    CHANCE,
    NOT_MEASURED,
    VERDICTS,
    WRONG_WAY,
    Difference,
    Values,
    accuracy_gains,
    auc_interval,
    detector_accuracy,
    judge_against_controls,
    mean_interval,
    paired_difference,
    rank_explainers,
    runs_difference,
)
from xaibench_statistics.accuracy import _ranking_marks, _verdict_marks
from xaibench_statistics.bootstrap import percentile_interval
from xaibench_statistics.control_tests import _Comparison, _judge
from xaibench_statistics.gain import Gain, _told
from xaibench_statistics.paired import _t_test
from xaibench_statistics.ranking import shown_better
from xaibench_statistics.runs import Runs

BEYOND = np.nextafter(0.5, 1)


def constant(value, groups=12):
    return Values.of([f"s{i:03d}" for i in range(groups)], [value] * groups)


def spread(shift=0.0, groups=20):
    """Numbers with one sample a group; ``shift`` moves all of them exactly."""
    numbers = np.random.default_rng(0).integers(0, 64, groups) / 64
    return Values.of([f"s{i:03d}" for i in range(groups)], numbers + shift)


# ---- intervals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "higher", "lower"),
    [
        (0.0, 1.0, False, False),
        (np.nextafter(0, 1), 1.0, True, False),
        (-1.0, 0.0, False, False),
        (-1.0, np.nextafter(0, -1), False, True),
        (None, None, None, None),
    ],
)
def test_an_interval_that_ends_at_0_favours_nobody(low, high, higher, lower):
    found = Difference(value=0.5, n=9, dropped=0, low=low, high=high)
    assert (found.favours_first("higher"), found.favours_first("lower")) == (higher, lower)


def test_one_resample_in_twenty_may_be_missing():
    replicates = np.arange(40.0)
    replicates[:2] = np.nan
    assert percentile_interval(replicates, 20) is not None
    replicates[2] = np.nan
    assert percentile_interval(replicates, 20) is None


def test_the_t_test_of_replicates_is_students():
    replicates = np.array([0.0, 1.0, 2.0])  # of standard deviation 1
    assert _t_test(0.7, replicates, 5) == pytest.approx(2 * stdtr(4, -0.7 * (4 / 5) ** 0.5), rel=1e-12)
    assert (_t_test(0.0, np.ones(3), 5), _t_test(0.1, np.ones(3), 5)) == (1.0, 0.0)


def test_ten_groups_of_each_label_are_enough_for_an_area_and_a_gain():
    for fakes, enough in ((10, True), (9, False)):
        fake = np.arange(10 + fakes) >= 10
        values = Values.of([f"s{i:02d}" for i in range(len(fake))], np.random.default_rng(1).normal(size=len(fake)))
        assert (auc_interval(values, fake).low is not None) is enough
        (found,) = accuracy_gains(values, fake, [(values, ~fake)], fake)
        assert (found.auc is not None) is enough


def test_ten_donors_are_enough():
    ids = [f"{t:02d}-{d:02d}" for t in range(12) for d in range(10)]
    numbers = np.random.default_rng(3).normal(size=120)
    for donors, enough in ((10, True), (9, False)):
        names = [f"d{int(i[3:]) % donors}" for i in ids]
        assert (mean_interval(Values.of(ids, numbers, [i[:2] for i in ids], names)).low is not None) is enough


def test_two_runs_have_one_pair_and_none_can_be_left_out():
    assert Runs.of_pairs({("a", "b"): 0.5}).variance is None
    three = Runs.of_pairs({("a", "b"): 0.5, ("a", "c"): 0.5, ("b", "c"): 0.8})
    # without a, b and c: .8, .5 and .5, whose squares about their mean add to .06, times 2/3
    assert three.variance == pytest.approx(0.04)


# ---- marks of a detector --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "names"),
    [(0.5, 0.9, [CHANCE]), (BEYOND, 0.9, []), (0.3, 0.5, [CHANCE]), (0.3, np.nextafter(0.5, 0), [WRONG_WAY])],
)
def test_an_area_whose_interval_ends_at_one_half_is_not_told_from_chance(low, high, names):
    found = measured()
    marks = _ranking_marks(replace(found, auc=replace(found.auc, low=low, high=high)))
    assert [m.name for m in marks] == names


@pytest.mark.parametrize(("low", "names"), [(0.5, [VERDICTS]), (BEYOND, []), (None, [])])
def test_verdicts_whose_interval_ends_at_one_half_are_not_told_from_chance(low, names):
    found = measured()
    marks = _verdict_marks(replace(found, balanced_accuracy=replace(found.balanced_accuracy, low=low)))
    assert [m.name for m in marks] == names


def measured():
    fake = np.arange(24) % 2 == 1
    odds = np.random.default_rng(2).normal(size=24) + fake
    values = Values.of([f"s{i:02d}" for i in range(24)], odds)
    return detector_accuracy(values, 1 / (1 + np.exp(-odds)), fake, odds > 0)


def test_ten_groups_of_each_label_measure_accuracy():
    for fakes, few in ((10, False), (9, True)):
        fake = np.arange(10 + fakes) >= 10
        odds = np.random.default_rng(4).normal(size=len(fake))
        values = Values.of([f"s{i:02d}" for i in range(len(fake))], odds)
        found = detector_accuracy(values, 1 / (1 + np.exp(-odds)), fake, odds > 0)
        assert (NOT_MEASURED in [m.name for m in found.marks]) is few


def of_gain(p, p_loss=1.0):
    return Gain(value=0.1, low=0.0, high=0.2, p=p, p_loss=p_loss)


def test_a_gain_is_told_below_the_level():
    below = np.nextafter(0.05, 0)
    assert _told(of_gain(0.05), of_gain(0.05)).better_by == ""
    assert _told(of_gain(below), of_gain(below)).better_by == "AUC"
    assert _told(of_gain(0.05, 0.05), of_gain(below)).better_by == "balanced accuracy"
    assert _told(of_gain(0.05, below), of_gain(below)).better_by == ""  # the AUC is told worse


# ---- explainers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("better", "worse", "word"),
    [
        (0.05, 1.0, "better"),
        (np.nextafter(0.05, 1), 1.0, "not told apart"),
        (0.05, 0.05, "worse"),
        (1.0, np.nextafter(0.05, 1), "not told apart"),
    ],
)
def test_a_p_that_equals_the_level_is_told(better, worse, word):
    compared = [_Comparison(control="random", t=1.0, better=better, worse=worse, beyond=True)]
    assert _judge(compared, {"random": ""}, 0.05).word == word


def test_a_difference_as_large_as_ties_make_it_shows_nothing():
    for margin, word in ((0.5, "not told apart"), (np.nextafter(0.5, 0), "better")):
        key = ("e", "auc")
        found = judge_against_controls({key: {"random": constant(0.5)}}, margins={key: {"random": margin}})[key]
        assert (found.word, found.within_margin) == (word, word != "better")
        explainers = {"a": spread(), "b": spread(0.5)}
        ranks = rank_explainers(explainers, "higher", margins={"a": margin}).ranks
        assert (ranks["a"].rank, ranks["b"].rank) == ((1, 1) if word != "better" else (2, 1))


def test_ranks_tell_a_p_that_equals_the_level():
    p = 2 * 0.5**12  # of a constant difference: two directions
    rows = [constant(0.5), constant(0.0)]
    for level, shown in ((p, True), (np.nextafter(p, 0), False)):
        found = shown_better(rows, [0.0, 0.0], seed=0, resamples=50, level=level)
        assert found.tolist() == [[False, shown], [False, False]]
        turned = shown_better(rows[::-1], [0.0, 0.0], seed=0, resamples=50, level=level)
        assert turned.tolist() == [[False, False], [shown, False]]


def test_an_explainer_with_half_of_the_samples_is_ranked():
    full = spread()
    for count, unranked in ((10, ()), (9, ("b",))):
        assert rank_explainers({"a": full, "b": full.where(np.arange(20) < count)}, "higher").unranked == unranked


def test_flips_that_equal_the_observed_sum_count():
    # of four signs two give +-4 and two give 0: as large as the observed 4
    assert paired_difference(constant(2.0), constant(1.0)).p == 2 / 2**12
    few = constant(0.0)
    few = few.with_values(np.array([1.0] + [0.0] * 11))
    assert paired_difference(few, constant(0.0)).p == 1.0


def test_five_runs_are_tested_and_four_are_not():
    five, far = Runs.of_values([0.1, 0.2, 0.3, 0.4, 0.5]), Runs.of_values([1.1, 1.2, 1.3, 1.4, 1.5])
    assert runs_difference(five, far).p == 2 / 252
    assert runs_difference(Runs.of_values([0.1, 0.2, 0.3, 0.4]), far).p is None
