"""The accuracy of a detector, its marks and its intervals against numbers worked out by hand and by simulation."""

from math import sqrt

import numpy as np
import pytest
from scipy.special import ndtri
from toy_runs import LONG

from xaibench_statistics import (
    CHANCE,
    CONSTANT,
    NEEDS_BOTH,
    NOT_MEASURED,
    ONE_CLASS,
    VERDICTS,
    WRONG_WAY,
    Values,
    accuracy_gains,
    auc_interval,
    detector_accuracy,
    expected_calibration_error,
    proportion_interval,
)

SHARES = (0.5, 0.9, 0.97)


def people(values, size=1):
    """``size`` pictures of each person, in the order of the values."""
    ids = [f"{i:04d}" for i in range(len(values))]
    return Values.of(ids, np.asarray(values, dtype=float), [f"p{i // size:03d}" for i in range(len(values))])


def accuracy(fakes, reals, threshold=0.0):
    """One fake and one real picture of each person, with these log-odds."""
    n = len(fakes)
    values = Values.of([f"{i:03d}" for i in range(2 * n)], [*fakes, *reals], [f"p{i % n:02d}" for i in range(2 * n)])
    fake = np.arange(2 * n) < n
    p = 1 / (1 + np.exp(-values.values))
    return detector_accuracy(values, p, fake, values.values >= threshold)


def names(found):
    return [(m.name, m.withholds_ranks) for m in found.marks]


# ---- values ---------------------------------------------------------------------------------------------------------


def test_figures_by_hand():
    fakes = [2.0] * 9 + [-1.0] * 3
    reals = [-2.0] * 8 + [1.0] * 4
    found = accuracy(fakes, reals)
    assert found.auc.value == pytest.approx((9 * 12 + 3 * 8) / 144)
    assert (found.sensitivity.value, found.false_alarm_rate.value) == (0.75, pytest.approx(1 / 3))
    assert found.balanced_accuracy.value == pytest.approx((0.75 + 2 / 3) / 2)
    assert (found.n, found.real, found.fake, found.correct, found.groups) == (24, 12, 12, 17, 12)
    high, low = 1 / (1 + np.exp(-2.0)), 1 / (1 + np.exp(1.0))
    assert found.brier.value == pytest.approx(
        (9 * (1 - high) ** 2 + 3 * (1 - low) ** 2 + 8 * (1 - high) ** 2 + 4 * (1 - low) ** 2) / 24
    )
    fake, real = found.labels
    assert (fake.label, fake.called_fake, fake.median) == ("fake", 9, pytest.approx(high))
    assert (real.label, real.called_fake, real.median) == ("real", 4, pytest.approx(1 - high))
    assert names(found) == [(VERDICTS, True)]  # balanced accuracy of 24 pictures: .708, and .5 is not excluded


def test_calibration_error_by_hand():
    # bins of a fifteenth: .01 and .02 stand in the first, of which half are fake; .99 alone in the last
    p, fake = np.array([0.01, 0.02, 0.99]), np.array([True, False, True])
    assert expected_calibration_error(p, fake) == pytest.approx((abs(0.03 - 1) + 0.01) / 3)
    assert expected_calibration_error(np.array([1.0, 0.0]), np.array([True, False])) == 0.0


def test_saturated_outputs_are_ranked_by_their_log_odds():
    fakes, reals = np.arange(12) + 60.0, np.arange(12) + 45.0  # P(fake) is 1 to the last bit for every one
    assert accuracy(fakes, reals).auc.value > 0.9


def test_one_class_of_data_has_its_share_and_no_mark():
    values = people(np.full(12, 3.0))
    for label, name in ((True, "sensitivity"), (False, "false_alarm_rate")):
        found = detector_accuracy(values, np.full(12, 0.95), np.full(12, label), np.ones(12, bool))
        assert (found.auc, found.balanced_accuracy, found.note, found.marks) == (None, None, NEEDS_BOTH, ())
        assert getattr(found, name).value == 1.0


def test_hundreds_of_pictures_are_as_good_as_few():
    found = accuracy([1.0] * 200, [-1.0] * 200)
    assert (found.n, found.correct) == (400, 400)


def test_no_pictures_at_all():
    nothing = np.zeros(0, bool)
    found = detector_accuracy(Values.of([], []), np.zeros(0), nothing, nothing)
    assert (found.n, found.groups, found.brier, found.marks) == (0, 0, None, ())


# ---- marks ----------------------------------------------------------------------------------------------------------


def test_a_detector_that_guesses():
    found = accuracy(np.arange(12.0) - 5.5, np.arange(12.0) - 5.4)
    assert names(found) == [(CHANCE, True)]
    assert found.withholds_ranks


def test_the_same_output_for_all_is_said_whatever_the_number_of_people():
    for n, withholds in ((12, True), (4, False)):
        found = accuracy(np.zeros(n), np.zeros(n))
        assert [m for m in names(found) if m[0] != NOT_MEASURED] == [(CONSTANT, withholds), (ONE_CLASS, withholds)]
        assert f"all {2 * n} pictures the same output" in next(m.text for m in found.marks if m.name == CONSTANT)


def test_one_verdict_for_all_pictures():
    text = {m.name: m.text for m in accuracy(np.full(12, 9.0), np.full(12, 4.0)).marks}
    assert text == {ONE_CLASS: "calls all 24 pictures fake: 12 of 12 real ones too (threshold 0.5)"}
    text = {m.name: m.text for m in accuracy(np.full(12, -4.0), np.full(12, -9.0)).marks}
    assert text == {ONE_CLASS: "calls all 24 pictures real: 12 of 12 fakes too (threshold 0.5)"}


def test_verdicts_that_say_nothing_although_the_ranks_do():
    found = accuracy(np.full(12, 9.0), [*np.full(11, 4.0), -1.0])
    assert names(found) == [(VERDICTS, True)]
    assert "11 of 12 real pictures are called fake, and 12 of 12 fakes" in found.marks[0].text


def test_real_pictures_above_fakes():
    found = accuracy(np.full(12, -2.0), np.full(12, 2.0))
    assert names(found) == [(WRONG_WAY, True)]


def test_few_people_are_said_and_nothing_is_claimed():
    for fakes, reals in ((2.0, -2.0), (-2.0, 2.0)):
        found = accuracy(np.full(9, fakes), np.full(9, reals))
        assert names(found) == [(NOT_MEASURED, False)]
        assert "not measured: 9 fake of 9 groups and 9 real of 9 groups" in found.marks[0].text


# ---- intervals ------------------------------------------------------------------------------------------------------


def test_all_right_is_no_certainty():
    found = proportion_interval(people(np.ones(17)))
    t = 2.1199  # of 16 degrees of freedom
    assert (found.low, found.high) == (pytest.approx(17 / (17 + t**2), abs=1e-4), 1.0)
    # four pictures of each of 17 people who all agree count as 17
    assert proportion_interval(people(np.ones(68), 4)).low == pytest.approx(found.low)
    perfect = accuracy(np.full(12, 2.0), np.full(12, -2.0))
    assert 0.7 < perfect.auc.low < 0.85
    assert perfect.auc.high == 1.0
    assert 0.5 < perfect.balanced_accuracy.low < perfect.balanced_accuracy.high == 1.0


def test_pictures_that_agree_within_people_count_less():
    answers = np.arange(20) % 5 != 0
    apart = proportion_interval(people(np.resize(answers, 80)))
    together = proportion_interval(people(np.repeat(answers, 4), 4))
    assert together.value == apart.value
    # the interval of 20 pictures, or of 80
    assert together.high - together.low > 1.8 * (apart.high - apart.low)


def shares_held(k, size, share, within, trials):
    """How often the interval of a share holds it; ``within``: the correlation of pictures of one person."""
    draw = np.random.default_rng([k, size, int(100 * share)])
    held = 0
    for _ in range(trials):
        q = draw.beta(share * (1 / within - 1), (1 - share) * (1 / within - 1), (k, 1)) if within else share
        found = proportion_interval(people((draw.random((k, size)) < q).reshape(-1), size))
        held += found.low <= share <= found.high
    return held / trials


def areas_held(k, size, area, trials):
    """How often the interval of an AUC holds it; pictures of one person are alike, more so with one label."""
    draw = np.random.default_rng([k, size, int(100 * area)])
    fake = np.arange(k * (size + 1)) < k * size
    held = 0
    for _ in range(trials):
        own, a, b = draw.standard_normal((3, k, 1)) / 2
        fakes = sqrt(2) * ndtri(area) + own + a + draw.standard_normal((k, size)) / sqrt(2)
        reals = own + b + draw.standard_normal((k, 1)) / sqrt(2)
        groups = [f"p{i // size if i < k * size else i - k * size:03d}" for i in range(len(fake))]
        values = [*fakes.reshape(-1), *reals.reshape(-1)]
        found = auc_interval(Values.of([f"{i:04d}" for i in range(len(fake))], values, groups), fake)
        held += found.low <= area <= found.high
    return held / trials


@pytest.mark.parametrize("share", SHARES)
def test_intervals_of_shares_hold_them(share):
    assert shares_held(20, 4, share, 0.3, 250) >= 0.9


@pytest.mark.parametrize("area", [0.5, 0.95, 0.99])
def test_intervals_of_areas_hold_them(area):
    assert areas_held(20, 2, area, 200) >= 0.91


@LONG
@pytest.mark.parametrize("k", [10, 20, 40])
@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize(("size", "within"), [(1, 0.0), (4, 0.3), (4, 0.8)])
def test_coverage_of_shares(k, share, size, within):
    assert 0.915 <= shares_held(k, size, share, within, 3000) <= 0.995


@LONG
@pytest.mark.parametrize("k", [10, 20, 40])
@pytest.mark.parametrize("area", [0.5, 0.8, 0.95, 0.99])
@pytest.mark.parametrize("size", [1, 4])
def test_coverage_of_areas(k, area, size):
    assert 0.935 <= areas_held(k, size, area, 1500) <= 0.995


# ---- gains ----------------------------------------------------------------------------------------------------------

FAKE = np.arange(64) < 32


def reading(values):
    """32 people, each with one fake and one real picture."""
    return Values.of([f"{i:03d}" for i in range(64)], values, [f"p{i % 32:02d}" for i in range(64)])


def drawn(draw, area, alike, base):
    noise = sqrt(alike) * base + sqrt(1 - alike) * draw.standard_normal(64)
    return FAKE * sqrt(2) * ndtri(area) + noise


def gains(own, others, at=0.0, other_at=None):
    other_at = at if other_at is None else other_at
    return accuracy_gains(reading(own), own >= at, [(reading(v), v >= other_at) for v in others], FAKE)


def gain(own, other, at=0.0, other_at=None, seed=0):
    """Of ``other`` among 23 readings by chance."""
    chance = list(np.random.default_rng(seed).standard_normal((23, 64)))
    return gains(own, [other, *chance], at, other_at)[0]


def test_a_better_reading_is_told():
    draw = np.random.default_rng(4)
    for area, better in ((0.85, 1 - 1e-9), (0.55, 0.99)):
        told = 0
        for _ in range(8):
            base = draw.standard_normal(64)
            found = gain(drawn(draw, area, 0.8, base), drawn(draw, better, 0.8, base))
            told += found.better_by == "AUC"
            assert found.auc.low <= found.auc.value <= found.auc.high
        assert told >= 7


def test_a_better_threshold_is_told_where_the_areas_are_alike():
    values = np.where(FAKE, 3.0, 0.0) + np.random.default_rng(5).standard_normal(64)
    found = gain(values, values, at=-3.0, other_at=1.5)
    assert found.better_by == "balanced accuracy"
    assert (found.auc.value, found.auc.p) == (0.0, 1.0)
    worse = gain(values, values, at=1.5, other_at=-3.0)
    assert (worse.better_by, worse.balanced_accuracy.p_loss < 0.05) == ("", True)


def test_a_difference_of_areas_is_the_sum_that_is_permuted():
    draw = np.random.default_rng(6)
    own, other = np.round(draw.standard_normal((2, 64)), 1)
    found = gain(own, other)
    areas = [auc_interval(reading(v), FAKE).value for v in (own, other)]
    assert found.auc.value == pytest.approx(areas[1] - areas[0])


def test_scales_do_not_matter():
    draw = np.random.default_rng(7)
    own, other = draw.standard_normal((2, 64))
    assert gains(own, [other]) == gains(own, [np.exp(other) * 1e6 - 7], other_at=1e6 - 7)


def test_few_people_tell_nothing():
    few = np.arange(64) % 32 < 9
    own = reading(FAKE * 1.0).where(few)
    (found,) = accuracy_gains(own, FAKE[few], [(own, FAKE[few])], FAKE[few])
    assert (found.better_by, found.auc) == ("", None)
    assert "fewer than 10" in found.note


def test_readings_of_other_pictures_are_refused():
    with pytest.raises(ValueError, match="different pictures"):
        accuracy_gains(people([1.0]), FAKE[:1], [(people([1.0, 2.0]), FAKE[:1])], FAKE[:1])


@LONG
@pytest.mark.parametrize("area", [0.5, 0.85, 0.97])
@pytest.mark.parametrize("alike", [0.3, 0.8, 0.97])
def test_equal_readings_are_seldom_told_apart_in_24_tries(area, alike):
    draw = np.random.default_rng([int(100 * area), int(100 * alike)])
    at, told = sqrt(2) * ndtri(area) / 2, 0
    for _ in range(400):
        base = draw.standard_normal(64)
        own = drawn(draw, area, alike, base)
        others = [drawn(draw, area, alike, base) for _ in range(24)]
        told += any(found.better_by for found in gains(own, others, at))
    assert told / 400 <= 0.075  # 5 % and what 400 trials leave open
