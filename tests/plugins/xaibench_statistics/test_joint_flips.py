"""p of many sign-flip tests, corrected jointly."""

import numpy as np
import pytest

from xaibench_statistics.joint_flips import joint_p

SUMS = np.array([[3.0], [1.0], [2.0]])
"""Under the eight flips their sum is 6, 4, 2, 0, 0, -2, -4, -6."""


def test_one_test_is_an_exact_sign_flip_test():
    (gain,), (loss,) = joint_p([SUMS], [1.0], seed=0)
    assert (gain[0], loss[0]) == (1 / 8, 1.0)
    (gain,), (loss,) = joint_p([np.array([[3.0], [-1.0], [-2.0]])], [1.0], seed=0)
    assert (gain[0], loss[0]) == (5 / 8, 5 / 8)  # 0 is tied with its opposite


def test_tests_that_go_together_are_not_corrected_and_opposites_twice():
    (same,), _ = joint_p([np.repeat(SUMS, 5, axis=1)], [1.0], seed=0)
    assert same.tolist() == [1 / 8] * 5
    (both,), _ = joint_p([np.concatenate([SUMS, -SUMS], axis=1)], [1.0], seed=0)
    assert both.tolist() == [2 / 8, 1.0]


def test_a_block_has_its_part_of_the_error():
    (first, second), _ = joint_p([SUMS, SUMS], [0.8, 0.2], seed=0)
    assert first.tolist() == [1 / 8]
    assert second.tolist() == [3 / 8]  # the flips with p / .8 no larger than (1 / 8) / .2


def test_nothing_is_told_of_sums_of_nothing():
    (gain,), (loss,) = joint_p([np.zeros((3, 2))], [1.0], seed=0)
    assert gain.tolist() == loss.tolist() == [1.0, 1.0]


def test_many_groups_are_flipped_at_random_and_independent_tests_are_corrected_by_their_number():
    draw = np.random.default_rng(0)
    sums = np.rint(100 * draw.standard_normal((40, 10)))
    sums[:, 0] = np.abs(sums[:, 0]) * (np.arange(40) % 4 > 0) - 28
    (alone,), _ = joint_p([sums[:, :1]], [1.0], seed=0)
    (among,), _ = joint_p([sums], [1.0], seed=0)
    assert 0.0005 < alone[0] < 0.02
    assert among[0] == pytest.approx(1 - (1 - alone[0]) ** 10, rel=0.25)
    assert joint_p([sums], [1.0], seed=0)[0][0].tolist() == among.tolist()
