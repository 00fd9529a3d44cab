"""Taus, shares and verdicts of the audit on scores made by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kendalltau

from xaibench_audit.ranking import Tau, above, difference, kendall, ladder, tau
from xaibench_audit.verdicts import standing, verdict

SAMPLES = [f"s{i:02d}" for i in range(12)]
GROUPS = {s: s for s in SAMPLES}
TRUTH = {"a": 1.0, "b": 0.6, "c": 0.3, "d": 0.0}


def table(values):
    """Numbers by map and sample from a number a map, or a list of them."""
    return {n: dict(zip(SAMPLES, v if isinstance(v, list) else [v] * 12, strict=False)) for n, v in values.items()}


def ordered(values, better="higher", truth=None, width=4.0):
    return ladder(table(values), better, width, table(truth or TRUTH), GROUPS)


def test_tau_counts_pairs():
    """Of the six pairs one is the wrong way round: (5 - 1) / 6."""
    found = tau(ordered({"a": 4.0, "b": 2.0, "c": 3.0, "d": 1.0}))
    assert found.value == pytest.approx(4 / 6)
    assert (found.low, found.high, found.maps, found.n) == (pytest.approx(4 / 6), pytest.approx(4 / 6), 4, 12)


def test_a_tie_counts_as_neither():
    assert tau(ordered({"a": 2.0, "b": 2.0, "c": 1.0, "d": 0.0})).value == pytest.approx(5 / 6)


def test_scores_within_a_thousandth_of_the_range_are_equal():
    """b and c are 0.0009 apart: equal in a range of 1, apart in one of 0.1; without a range the largest score counts."""
    values = {"a": 0.9, "b": 0.5, "c": 0.5009, "d": 0.1}
    assert tau(ordered(values, width=1.0)).value == pytest.approx(5 / 6)
    assert tau(ordered(values, width=0.1)).value == pytest.approx(4 / 6)
    assert tau(ordered(values, width=float("inf"))).value == pytest.approx(5 / 6)
    assert ordered({"a": 0.9484, "b": 0.9483, "c": 0.948, "d": 0.9481}, width=1.0).startswith("saturated")


def test_lower_is_better_turns_the_order_round():
    assert tau(ordered({"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0}, "lower")).value == 1.0
    assert tau(ordered({"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0}, "higher")).value == -1.0


def test_maps_that_the_truth_does_not_tell_apart_do_not_count():
    """b and c differ by 0.04 in truth: five pairs are left, all right."""
    truth = {**TRUTH, "c": 0.56}
    assert tau(ordered({"a": 4.0, "b": 2.0, "c": 3.0, "d": 1.0}, truth=truth)).value == 1.0


@pytest.mark.parity
def test_kendall_is_scipys_without_ties():
    rng = np.random.default_rng(0)
    truth, scores = rng.permutation(8) / 8.0, rng.normal(size=8)
    order = np.sign(truth[:, None] - truth).astype(np.int8)
    assert kendall(order, scores[:, None])[0] == pytest.approx(kendalltau(truth, scores).statistic)


def test_the_interval_is_of_pictures():
    """Half of the pictures say one order, half the other: the interval holds 0 and is not a point."""
    values = {n: [r if i % 2 else -r for i in range(12)] for n, r in zip("abcd", (4.0, 3.0, 2.0, 1.0), strict=True)}
    found = tau(ordered(values))
    assert found.low == -1.0 and found.high == 1.0
    assert standing(found) == "chance"


def test_why_there_is_no_tau():
    assert ordered({"a": 1.0, "b": 1.0, "c": 1.0, "d": 1.0}) == "saturated: every map scores the same"
    assert ordered({"a": 1.0, "b": 2.0}) == "2 of 4 maps have a score on half of the pictures"
    none = tau(ordered({"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0}, truth=dict.fromkeys("abcd", 0.5)))
    assert none.value is None and none.reason == "the truth tells no two of the maps apart"


def test_a_map_without_half_of_the_scores_is_left_out():
    values = table({"a": 4.0, "b": 3.0, "c": 2.0, "d": 1.0}) | {"d": {SAMPLES[0]: 9.0}}
    found = ladder(values, "higher", 4.0, table(TRUTH), GROUPS)
    assert tau(found).maps == 3 and tau(found).value == 1.0


def test_fewer_than_ten_groups_have_no_interval():
    groups = {s: f"g{i % 5}" for i, s in enumerate(SAMPLES)}
    found = tau(ladder(table({"a": 4.0, "b": 3.0, "c": 2.0, "d": 1.0}), "higher", 4.0, table(TRUTH), groups))
    assert (found.value, found.low) == (1.0, None) and "fewer than 10" in found.reason
    assert standing(found) == "undefined"


def test_difference_is_paired():
    rng = np.random.default_rng(1)
    noisy = {n: (v + rng.normal(0, 1, 12)).tolist() for n, v in TRUTH.items()}
    same = difference(ordered(noisy), ordered(noisy))
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)
    wrong = {n: (np.array(v) * -1).tolist() for n, v in noisy.items()}
    both = difference(ordered(noisy), ordered(wrong))
    assert both.value == pytest.approx(2 * tau(ordered(noisy)).value)


def test_difference_is_of_the_maps_of_both():
    """On the three maps that the second has, the first is right throughout: nothing lies between them."""
    first = ordered({"a": 4.0, "b": 3.0, "c": 2.0, "d": 9.0})
    second = ladder(table({"a": 4.0, "b": 3.0, "c": 2.0}), "higher", 4.0, table(TRUTH), GROUPS)
    assert tau(first).value == 0.0 and tau(second).value == 1.0
    found = difference(first, second)
    assert (found.value, found.maps) == (0.0, 3)


def test_above_counts_ties_half_and_averages_draws():
    values = table({"t": 1.0, "r0": [0.0] * 6 + [2.0] * 6, "r1": 1.0})
    found = above(values, "higher", 2.0, "t", ["r0", "r1"], GROUPS)
    assert found.value == pytest.approx((6 * 0.75 + 6 * 0.25) / 12)
    assert above(values, "higher", 2.0, "t", ["nothing"], GROUPS) == "no picture has a score of both"


# ---- verdicts -------------------------------------------------------------------------------------------------------

RIGHT, WRONG, CHANCE = Tau(value=0.9, low=0.5, high=1.0), Tau(value=-0.5, low=-0.9, high=-0.1), Tau(
    value=0.1, low=-0.3, high=0.4
)  # fmt: skip


def test_standing_needs_the_interval():
    assert [standing(t) for t in (RIGHT, WRONG, CHANCE, Tau(value=1.0))] == ["ranks", "misleads", "chance", "undefined"]


def test_misleads_from_the_largest_weight_at_which_it_does():
    taus = {"patch": RIGHT, "seam@0.75": RIGHT, "seam@0.5": CHANCE, "seam@0.25": WRONG, "seam": WRONG}
    found = verdict(taus)
    assert found.text == "misleads from l = 0.25 (seam)"
    assert found.begins == {"missing-texture": None, "seam": 0.25}
    assert found.holds == {"missing-texture": None, "seam": 0.75}


def test_other_verdicts():
    assert verdict({"patch": RIGHT, "seam": RIGHT}).text == "ranks the evidence"
    assert verdict({"patch": RIGHT, "seam": CHANCE}).text == "ranks 1 of 2; no better than chance on seam"
    assert verdict({"patch": CHANCE, "seam": CHANCE}).text == "no better than chance"
    assert verdict({"patch": WRONG, "parts": RIGHT}).text == "misleads on patch"
    none = Tau(reason="saturated")
    assert verdict({"patch": RIGHT, "seam": none}).text == "ranks the evidence; undefined on seam"
    assert verdict({"patch": WRONG, "seam": none}).text == "misleads on patch; undefined on seam"
    assert verdict({"patch": CHANCE, "seam": none}).text == "no better than chance; undefined on seam"
    text = verdict({"patch": RIGHT, "parts": CHANCE, "seam": none}).text
    assert text == "ranks 1 of 2; no better than chance on parts; undefined on seam"
    assert verdict({"patch": Tau(reason="no mask")}).text == "undefined: no mask"
