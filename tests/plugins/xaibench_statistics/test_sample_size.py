"""How many groups a difference needs."""

from math import inf

import pytest
from scipy.stats import norm

from xaibench_statistics import detectable_difference, groups_needed
from xaibench_statistics.sample_size import power_of


def test_one_standard_deviation_on_a_board_of_200_tests():
    assert groups_needed(1.0, 1.0, tests=200) == 43
    assert power_of(43, 1.0, tests=200) >= 0.8 > power_of(42, 1.0, tests=200)


def test_only_the_ratio_of_difference_and_deviation_counts():
    assert groups_needed(0.05, 0.1, tests=40) == groups_needed(0.5, 1.0, tests=40)
    assert detectable_difference(80, deviation=0.2, tests=40) == pytest.approx(
        0.2 * detectable_difference(80, tests=40)
    )


def test_the_two_are_each_others_inverse():
    for groups in (20, 50, 400):
        difference = detectable_difference(groups, tests=60)
        assert groups_needed(difference * 1.001, 1.0, tests=60) == groups
        assert groups_needed(difference * 0.98, 1.0, tests=60) > groups


def test_many_groups_follow_the_normal_formula():
    # one test, all five controls at .05 / 10: (2.576 + z) / sqrt(n), z being the margin at which five comparisons that
    # correlate by 1/2 pass together with probability .8: between that of one (.842) and of five independent (1.702)
    bar = norm.isf(0.05 / 10)
    n = groups_needed(0.02, 1.0, tests=1)
    assert bar + 0.842 < 0.02 * n**0.5 < bar + 1.702


def test_one_comparison_follows_the_formula_of_a_single_test():
    # (z_{1 - .05 / 2} + z_.8)^2 / d^2 = 7.849 / .0004 = 19,622 by the normal formula
    assert groups_needed(0.02, 1.0, tests=1, controls=1) == pytest.approx(19_622, rel=1e-3)
    bar = norm.isf(0.05 / (2 * 10))
    assert groups_needed(0.02, 1.0, tests=10, controls=1) == pytest.approx((bar + 0.8416) ** 2 / 0.0004, rel=1e-3)


def test_up_to_ten_million_groups_are_counted():
    # 7.849 / d^2: 7.849 and 9.985 million, and 10.01 million, which is more
    assert groups_needed(0.001, 1.0, tests=1, controls=1) == pytest.approx(7_849_000, rel=1e-3)
    assert groups_needed(8.866e-4, 1.0, tests=1, controls=1) == pytest.approx(9_985_000, rel=1e-3)
    with pytest.raises(ValueError, match=r"0\.0008855 standard deviations needs more than 10,000,000 groups"):
        groups_needed(8.855e-4, 1.0, tests=1, controls=1)


def test_more_tests_and_more_power_need_more_groups():
    plain = groups_needed(0.5, 1.0, tests=20)
    assert plain < groups_needed(0.5, 1.0, tests=200)
    assert plain < groups_needed(0.5, 1.0, tests=20, power=0.9)
    assert plain < groups_needed(0.5, 1.0, tests=20, level=0.01)


def test_few_groups_tell_nothing_however_large():
    assert detectable_difference(9, tests=1) == inf
    assert detectable_difference(12, tests=200) == inf  # 2 * 200 / 2^12 = .098
    assert detectable_difference(13, tests=200) < inf  # .049
    assert groups_needed(100.0, 1.0, tests=1) == 10
    assert groups_needed(100.0, 1.0, tests=200) == 13


@pytest.mark.parametrize(("arguments", "settings", "why"), [
    ((0.0, 1.0), {"tests": 1}, "difference is 0"),
    ((1.0, inf), {"tests": 1}, "deviation is inf"),
    ((1.0, 1.0), {"tests": 0}, "tests is 0"),
    ((1.0, 1.0), {"tests": 1, "power": 1.0}, "power is 1"),
    ((1.0, 1.0), {"tests": 1, "level": 0.0}, "level is 0"),
    ((1e-4, 1.0), {"tests": 1}, "more than 10,000,000 groups"),
])  # fmt: skip
def test_what_makes_no_sense_is_refused(arguments, settings, why):
    with pytest.raises(ValueError, match=why):
        groups_needed(*arguments, **settings)
