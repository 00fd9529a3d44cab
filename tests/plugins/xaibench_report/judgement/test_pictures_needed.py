"""The line that says how many groups would tell the two best explainers apart."""

from math import sqrt

import numpy as np
import pytest
from leaderboard_tables import INFO, build, score

from xaibench_report.judgement.pictures_needed import group_deviation
from xaibench_statistics import Values, groups_needed

RANDOM = "xaibench/random"


def lines(rows, info=INFO):
    (board,) = build(rows, info).boards
    return [note for note in board.notes if "power 0.8" in note]


def rows(differences, groups=None):
    """``a`` and ``b`` with these paired differences, on one picture each."""
    return [
        score(e, 0.3 + d * (e == "b"), i, group=f"g{groups[i]}" if groups else f"g{i}")
        for e in ("a", "b")
        for i, d in enumerate(differences)
    ]


def test_the_deviation_is_that_of_the_differences_by_group():
    differences = [0.0, 0.2, 0.1, 0.3]
    singles = Values.of(["a", "b", "c", "d"], differences)
    assert group_deviation(singles) == (4, pytest.approx(np.std(differences, ddof=1)))
    pairs = Values.of(["a", "b", "c", "d"], differences, ["g", "g", "h", "h"])
    assert group_deviation(pairs) == (2, pytest.approx(np.std([0.1, 0.2], ddof=1)))


def test_the_line_names_the_pair_the_difference_and_the_groups():
    differences = [0.1 + 0.3 * (-1) ** i for i in range(12)]
    deviation = 0.3 * sqrt(12 / 11)
    needed = groups_needed(0.1, deviation, tests=1, controls=1, power=0.8)
    assert needed > 12
    assert lines(rows(differences)) == [
        f"deletion auc: a and b differ by 0.100; about {needed} groups tell that (power 0.8), and here are 12"
    ]


def test_where_no_difference_is_seen_it_asks_about_a_twentieth():
    differences = [0.3 * (-1) ** i for i in range(12)]
    found = lines([*rows(differences), *[score(RANDOM, 0.9, i) for i in range(12)]])
    needed = groups_needed(0.05, 0.3 * sqrt(12 / 11), tests=1, controls=1, power=0.8)
    assert found == [
        f"deletion auc: a and b do not differ; 0.05 would be told with about {needed} groups (power 0.8), and here are 12"
    ]


def test_few_groups_are_asked_too_and_pairs_without_spread_are_not():
    assert len(lines(rows([0.1, 0.3, 0.2, 0.5]))) == 1
    assert lines(rows([0.1, 0.3])) == []
    assert lines(rows([0.1] * 12)) == []
    assert lines(rows([0.1, 0.3, 0.2, 0.5])[:4]) == []  # one explainer


def test_all_pairs_of_the_column_count():
    differences = [0.1 + 0.3 * (-1) ** i for i in range(12)]
    third = [score("c", 0.9 + 0.01 * i, i) for i in range(12)]
    (line,) = lines([*rows(differences), *third])
    needed = groups_needed(0.1, 0.3 * sqrt(12 / 11), tests=3, controls=1, power=0.8)
    assert f"about {needed} groups" in line
