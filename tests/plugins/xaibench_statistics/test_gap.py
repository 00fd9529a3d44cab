"""The gap between the parts of a data set, by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import t

from xaibench_statistics import Estimate, Gap, Values, gap_between


def part(name: str, values: list[float], groups: list[str] | None = None, cross: list[str] | None = None) -> Values:
    samples = [f"{name}{i:02d}" for i in range(len(values))]
    return Values.of(samples, values, groups or samples, cross)


def mean(value: float, low: float | None, high: float | None, groups: int = 20, donors: int = 0) -> Estimate:
    return Estimate(value=value, n=groups, groups=groups, cross_groups=donors, low=low, high=high)


def apart(*names: str) -> dict[str, Values]:
    """Parts that share no group."""
    return {name: part(name, [0.0, 1.0] * 10) for name in names}


def test_two_parts_without_a_common_group() -> None:
    found: Any = gap_between(apart("a", "b"), {"a": mean(0.5, 0.4, 0.53), "b": mean(0.8, 0.76, 0.92)})
    # b - a: to the low end sqrt(.04^2 + .03^2), to the high end sqrt(.12^2 + .1^2)
    assert (found.value, found.largest, found.smallest, found.parts) == (pytest.approx(0.3), "b", "a", 2)
    assert found.low == pytest.approx(0.3 - 0.05)
    assert found.high == pytest.approx(0.3 + 0.0244**0.5)


def test_groups_in_both_parts_narrow_it() -> None:
    groups = [f"g{i}" for i in range(20)]
    one = [0.1 * i for i in range(20)]
    parts = {"a": part("a", one, groups), "b": part("b", [x + 0.5 for x in one], groups)}
    found: Any = gap_between(parts, {"a": mean(0.95, 0.75, 1.15), "b": mean(1.45, 1.25, 1.65)})
    assert (found.low, found.high) == (pytest.approx(0.5), pytest.approx(0.5)), "r = 1: what they share says nothing"
    parts["b"] = part("b", one[::-1], groups)
    found = gap_between(parts, {"a": mean(0.95, 0.75, 1.15), "b": mean(1.45, 1.25, 1.65)})
    assert (found.low, found.high) == (pytest.approx(0.1), pytest.approx(0.9)), "r = -1: the ends add up"


def test_donors_in_both_parts_narrow_it_too() -> None:
    # every deviation from the mean is shared through the donors and none through the groups: r = 20 / 40
    one, donors = [0.0, 1.0] * 10, [f"d{i}" for i in range(20)]
    parts = {name: part(name, one, None, donors) for name in "ab"}
    found: Any = gap_between(parts, {"a": mean(0.5, 0.4, 0.6, 20, 20), "b": mean(0.8, 0.7, 0.9, 20, 20)})
    assert found.high == pytest.approx(0.3 + (0.02 - 2 * 0.5 * 0.01) ** 0.5)


def test_the_pair_that_is_furthest_apart_was_chosen() -> None:
    means = {"a": mean(0.5, 0.4, 0.6, 12), "b": mean(0.6, 0.5, 0.7), "c": mean(0.9, 0.8, 1.0)}
    found: Any = gap_between(apart(*means), means)
    assert (found.value, found.largest, found.smallest, found.parts) == (pytest.approx(0.4), "c", "a", 3)
    # three pairs; a has the fewest groups, 12; b and c have 20: b's lower end to c lies lower all the same
    wider = t.ppf(1 - 0.025 / 3, 11) / t.ppf(0.975, 11)
    assert found.low == pytest.approx(0.4 - wider * 0.02**0.5)
    assert found.high == pytest.approx(0.4 + wider * 0.02**0.5)


def test_a_gap_is_no_less_than_0() -> None:
    found: Any = gap_between(apart("a", "b"), {"a": mean(0.5, 0.4, 0.6), "b": mean(0.52, 0.42, 0.62)})
    assert found.low == 0
    assert found.high == pytest.approx(0.02 + 0.02**0.5)


def test_parts_without_an_interval_have_no_part_in_it() -> None:
    means = {"a": mean(0.5, 0.4, 0.6), "b": mean(0.6, 0.5, 0.7), "few": mean(0.0, None, None, 3)}
    found: Any = gap_between(apart(*means), means)
    assert (found.largest, found.smallest, found.parts) == ("b", "a", 2)
    del means["b"]
    assert gap_between(apart(*means), means) == Gap(value=None, parts=1, note="1 of 2 values have an interval: no gap")


def test_equal_values_everywhere_have_no_correlation() -> None:
    parts = {name: part(name, [1.0] * 12, [f"g{i}" for i in range(12)]) for name in "ab"}
    found: Any = gap_between(parts, {"a": mean(1.0, 0.8, 1.0, 12), "b": mean(1.0, 0.8, 1.0, 12)})
    assert (found.value, found.low) == (0, 0)
    assert found.high == pytest.approx(0.2)


def test_the_interval_covers_the_true_gap_of_four_equal_parts() -> None:
    hits = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        parts, means = {}, {}
        for name in "abcd":
            values = rng.standard_normal(15)
            half = float(t.ppf(0.975, 14)) * values.std(ddof=1) / 15**0.5
            parts[name] = part(name, values.tolist())
            means[name] = mean(values.mean(), values.mean() - half, values.mean() + half, 15)
        hits += gap_between(parts, means).low == 0
    assert hits >= 186, "at most 7 % false gaps where 5 are allowed; the observed gap alone is never 0"
