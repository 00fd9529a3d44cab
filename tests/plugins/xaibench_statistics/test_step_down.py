"""The studentised bootstrap of many means and the step-down maximum, by hand."""

import numpy as np
import pytest

from xaibench_statistics import Values
from xaibench_statistics.bootstrap import Design, clustered_variance
from xaibench_statistics.step_down import Factor, Means, adjusted_p, least_p, step_down, widths


def values(numbers, groups, cross=None):
    return Values.of([f"s{i:03d}" for i in range(len(numbers))], numbers, groups, cross)


# Groups a: 1, 1; b: 4; c: 2. The mean is 2 over 4 rows, and the sums of errors are -2, 2, 0.
BY_HAND = values([1.0, 1.0, 4.0, 2.0], ["a", "a", "b", "c"])


def test_t_of_groups_of_unequal_size():
    # s^2 = 3/2 ((-2/4)^2 + (2/4)^2) = 3/4
    means = Means.of([BY_HAND])
    assert means.t == pytest.approx([2 / np.sqrt(0.75)])
    assert means.differing.tolist() == [3]


def test_a_resample_by_hand():
    # a twice, b once: n* = 5, e = (2 (-2) + 2) / 5 = -.4; r - n e: a -1.2, b 2.4; s*^2 = 3/2 (2 1.44 + 5.76) / 25
    (factor,) = Means.of([BY_HAND]).factors
    error, variance = factor.resample(np.array([[2.0, 1.0, 0.0, 1.0], [1.0, 1.0, 1.0, 1.0], [0.0, 3.0, 0.0, 1.0]]))
    assert error[:, 0] == pytest.approx([-0.4, 0.0, 2.0])  # b alone has the mean 4, 2 above that of all
    assert variance[:, 0] == pytest.approx([1.5 * 8.64 / 25, 0.75, 0.0])
    assert variance[2, 0] == 0.0


def test_replicates_of_one_group_a_sample_are_those_of_the_plain_mean():
    x = np.random.default_rng(0).normal(size=12)
    replicates = Means.of([values(x, [f"g{i:02d}" for i in range(12)])]).replicates(7, 300)[:, 0]
    assert abs(np.median(replicates)) < 0.3
    assert np.std(replicates) > 1.0  # a t distribution, not the means themselves
    again = Means.of([values(5 * x - 40, [f"g{i:02d}" for i in range(12)])]).replicates(7, 300)[:, 0]
    assert again == pytest.approx(replicates)  # neither place nor unit matters


def test_two_crossed_factors_add_their_variances():
    rng = np.random.default_rng(1)
    groups, donors = rng.permutation(np.resize(list("abcdef"), 40)), rng.permutation(np.resize(["", *"uvwxyz"], 40))
    x = values(rng.normal(size=40), groups, donors)
    means = Means.of([x])
    influence = (x.values - x.values.mean()) / 40
    assert sum(f.variance[0] for f in means.factors) == pytest.approx(
        clustered_variance(Design.of(x.groups, x.cross), influence)
    )
    assert means.factors[1].levels.tolist() == [6]


def test_means_with_samples_of_their_own_are_as_if_alone():
    rng = np.random.default_rng(2)
    every = values(rng.normal(size=30), [f"g{i % 15:02d}" for i in range(30)])
    some = every.where(np.arange(30) < 20)
    both, alone = Means.of([every, some]), Means.of([every])
    assert both.t[0] == pytest.approx(alone.t[0])
    assert both.t[1] == pytest.approx(Means.of([some]).t[0])
    assert both.replicates(3, 50)[:, 0] == pytest.approx(alone.replicates(3, 50)[:, 0], rel=1e-9)


def test_step_down_by_hand():
    t = np.array([1.0, 3.0, 2.0])
    replicates = np.array([[0.0, 4.0, 0.0], [2.5, 0.0, 0.0], [0.0, 0.0, 2.0], [1.5, 0.0, 0.0]])
    # the second: over all, only the first row reaches 3. The third: without the second, rows 2 and 3 reach 2.
    # The first: alone, rows 2 and 4 reach 1; never less than the third's.
    assert step_down(t, replicates) == pytest.approx([3 / 5, 2 / 5, 3 / 5])


def test_an_outlier_is_balanced_and_others_are_not():
    reach = np.array([*[1.0] * 18, 2.0, 4.0, 5.0])  # nine tenths of the 21 reach no further than 2
    replicates = np.linspace(-1, 1, 201)[:, None] * reach
    assert widths(replicates) == pytest.approx([*[1.0] * 19, 2.0, 2.5])


def test_no_p_is_below_what_flipped_signs_give():
    assert least_p(np.array([0, 2, 10]), 4).tolist() == [1.0, 1.0, 4 / 1024]
    replicates = np.zeros((999, 1))
    p = adjusted_p(np.array([5.0]), replicates, np.array([6]), tests=2, balance=True, level=0.05)
    assert p.tolist() == [2 / 64]  # the bootstrap alone gives 1/1000


def test_a_mean_that_cannot_be_told_does_not_raise_the_bar():
    t, replicates = np.array([2.0, 0.5]), np.stack([np.full(99, 1.0), np.full(99, 9.0)], axis=1)
    p = adjusted_p(t, replicates, np.array([20, 3]), tests=2, balance=False, level=0.05)
    assert p.tolist() == [1 / 100, 1.0]


def test_the_influence_of_a_level_that_is_not_there_is_none():
    factor = Factor(np.array([[1.0, 0.0], [-1.0, 2.0], [0.0, -2.0], [0.0, 0.0]]),
                    np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0], [0.0, 0.0]]), np.array([2, 2]))  # fmt: skip
    error, variance = factor.resample(np.array([[3.0, 0.0, 0.0, 1.0]]))
    assert error.tolist() == [[1.0, 0.0]]  # the second mean has no row in this resample
    assert variance.tolist() == [[0.0, 0.0]]


def test_differences_without_spread_are_infinitely_far_and_those_of_rounding_too():
    names = [f"g{i:02d}" for i in range(12)]
    rounded = 0.3 + 1e-17 * (np.arange(12) % 2) + np.where(np.arange(12) % 3 == 0, 2**-54, 0.0)
    assert Means.of([Values.of(names, [0.5] * 12)]).t == np.inf
    assert Means.of([Values.of(names, (-rounded).tolist())]).t == -np.inf


def test_a_resample_of_equal_values_has_a_fiftieth_of_the_variance():
    # 23 hits of 24: s^2 = 24/23 ((23/24^2)^2 + 23 (1/24^2)^2) = 1/24^2, and without the miss the error is 1/24 = s
    names = [f"g{i:02d}" for i in range(24)]
    means = Means.of([Values.of(names, [0.0, *[1.0] * 23])])
    assert means.t == pytest.approx(23.0)
    replicates = means.replicates(0, 2000)
    assert replicates.max() == pytest.approx(1 / np.sqrt(0.02))
    assert np.mean(np.isclose(replicates, 1 / np.sqrt(0.02))) == pytest.approx((23 / 24) ** 24, abs=0.03)
    p = adjusted_p(means.t, replicates, means.differing, tests=2, balance=True, level=0.05)
    assert p == pytest.approx([1 / 2001])
