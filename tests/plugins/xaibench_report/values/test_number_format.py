"""How numbers, intervals and ranks are written."""

import pytest

from xaibench_report.boards.wording import rank
from xaibench_report.values.number_format import interval, number, p_value, plural
from xaibench_statistics import Estimate, Rank


@pytest.mark.parametrize(("value", "text"), [
    (None, "–"), (0.0, "0.000"), (0.5, "0.500"), (-0.5, "-0.500"), (0.001, "0.001"), (0.00099, "9.90e-04"),
    (999.0, "999.000"), (1234.4, "1234"), (123456.0, "1.235e+05"),
])  # fmt: skip
def test_numbers_have_three_decimals_or_three_digits(value, text):
    assert number(value) == text


def test_intervals_and_p_values():
    assert interval(Estimate(value=0.5, n=4, groups=4, low=0.25, high=0.75)) == "[0.250, 0.750]"
    assert interval(Estimate(value=0.5, n=4, groups=4)) == interval(None) == ""
    assert [p_value(p) for p in (None, 0.0004, 0.001, 0.25)] == ["–", "<0.001", "0.001", "0.250"]
    assert (plural(1, "group"), plural(2, "group")) == ("1 group", "2 groups")


def test_a_rank_is_its_interval_or_nothing():
    assert rank(Rank(rank=1, low=1, high=3)) == "#1–3"
    assert rank(Rank(rank=2, low=2, high=2)) == "#2"
    assert rank(Rank(rank=2)) == rank(None) == ""
