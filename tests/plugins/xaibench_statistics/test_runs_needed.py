"""How many runs tell a difference: figures of the books, and the floor that permutations set."""

from __future__ import annotations

import pytest

from xaibench_statistics import Runs, least_p, runs_difference, runs_needed


@pytest.mark.parametrize(("effect", "books"), [(0.5, 64), (0.8, 26), (1.0, 17), (1.2, 12)])
def test_two_groups_of_the_books_at_five_percent_and_power_eight_tenths(effect: float, books: int) -> None:
    # Cohen 1988, table 2.4.1: n a group, two-sided
    assert runs_needed(effect * 0.1, 0.1, tests=1) == books
    assert runs_needed(-effect, 1.0, tests=1) == books


def test_a_sure_difference_takes_as_many_runs_as_a_permutation_needs() -> None:
    assert runs_needed(1.0, 1e-9, tests=1) == runs_needed(1.0, 0.0, tests=6) == 5
    assert 7 * least_p(5, 5) > 0.05 > 7 * least_p(6, 6)
    assert runs_needed(1.0, 0.0, tests=7) == 6


def test_no_difference_and_one_too_small_take_no_number() -> None:
    assert runs_needed(0.0, 1.0, tests=1) is None
    assert runs_needed(1e-4, 1.0, tests=1) is None


def test_the_deviation_is_pooled_over_the_runs_of_both() -> None:
    # variances .01 and .04 over five runs each: sqrt(.025)
    first, second = ([0.1 * x for x in (-1, -1, 0, 1, 1)], [0.2 * x for x in (-1, -1, 0, 1, 1)])
    found = runs_difference(Runs.of_values(first), Runs.of_values(second))
    assert found.deviation == pytest.approx(0.025**0.5)
    assert runs_difference(Runs.of_values(first[:4]), Runs.of_values(second)).deviation is None
