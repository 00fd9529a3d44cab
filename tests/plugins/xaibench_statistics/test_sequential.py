"""The order of explainers tested while samples are added."""

import numpy as np
import pytest

from xaibench_statistics import OrderSoFar, Values, checkpoint_level, checkpoints, next_checkpoint


def test_the_levels_of_all_checkpoints_add_up_to_alpha():
    assert checkpoint_level(1) == pytest.approx(0.025)
    assert checkpoint_level(2) == pytest.approx(0.05 / 6)
    assert sum(checkpoint_level(k) for k in range(1, 100_000)) == pytest.approx(0.05, abs=1e-6)


def test_checkpoints_count_groups_and_then_samples():
    # 40 groups, a real and a fake of each a round, three rounds: 20 groups are there after 39 pictures, 30 after 59,
    # all 40 after 79; 45 are never there, so that samples go on as groups did: 89, 134, 201, and all 240
    groups = [f"g{g}" for _ in range(3) for g in range(40) for _ in range(2)]
    assert checkpoints(groups) == (39, 59, 89, 134, 201, 240)
    assert checkpoints(groups, first=40) == (79, 119, 179, 240)


@pytest.mark.parametrize(("groups", "expected"), [([], ()), (["a"] * 3, (3,)), ([f"g{i}" for i in range(20)], (20,))])
def test_checkpoints_of_few_groups_are_the_end(groups, expected):
    assert checkpoints(groups) == expected


def values(means, groups=30, each=1, scale=1.0, seed=0):
    rng = np.random.default_rng(seed)
    names = [f"s{i:03d}" for i in range(groups * each)]
    owners = [f"g{i % groups:02d}" for i in range(groups * each)]
    return {e: Values.of(names, m + scale * rng.normal(size=len(names)), owners) for e, m in means.items()}


def test_a_clear_order_is_settled_at_the_first_checkpoint():
    order = next_checkpoint(OrderSoFar(), values({"b": 5.0, "a": 0.0, "c": 9.0}), "higher")
    assert order.is_settled
    assert order.explainers == ("c", "b", "a")
    assert order.apart == {("c", "b"), ("c", "a"), ("b", "a")}
    lower = next_checkpoint(OrderSoFar(), values({"b": 5.0, "a": 0.0, "c": 9.0}), "lower")
    assert lower.explainers == ("a", "b", "c")
    assert lower.is_settled


@pytest.mark.parametrize(("ones", "told"), [(27, False), (28, True), (50, True), (72, True), (73, False)])
@pytest.mark.parametrize("better", ["higher", "lower"])
def test_a_skewed_difference_is_told_of_more_groups(ones, told, better):
    # m ones among n groups: the skewness of the mean is (n - 2m) / (n - 2) sqrt((n - 1) / (m (n - m))); of 100 groups
    # 46 / 98 sqrt(99 / (27 73)) = .1052, and 44 / 98 sqrt(99 / (28 72)) = .0995
    names = [f"g{i:03d}" for i in range(100)]
    rows = {"a": 3 + (np.arange(100) < ones), "b": np.zeros(100), "c": 12 + (np.arange(100) < 50)}
    order = next_checkpoint(
        OrderSoFar(), {e: Values.of(names, v.astype(float), names) for e, v in rows.items()}, better
    )
    assert ({("a", "b"), ("b", "a")} & order.apart != set()) == told
    assert {("b", "c"), ("c", "b")} & order.apart  # the other pairs are judged by themselves


def test_equal_explainers_are_not_settled_and_the_best_may_be():
    order = next_checkpoint(OrderSoFar(), values({"a": 9.0, "b": 0.0, "c": 0.0}), "higher")
    assert not order.is_settled
    assert order.best_is_settled
    assert order.unsettled in ((("b", "c"),), (("c", "b"),))


def test_what_was_told_stays_and_is_never_turned_round():
    before = OrderSoFar(checkpoint=2, explainers=("a", "b"), apart=frozenset({("a", "b")}))
    order = next_checkpoint(before, values({"a": 0.0, "b": 9.0}), "higher")
    assert order.apart == {("a", "b")}
    assert order.ranked == ("a", "b") and order.explainers == ("b", "a")  # claims, and means
    assert order.checkpoint == 3
    assert order.is_settled


def test_a_later_checkpoint_and_more_questions_need_more():
    # one t between the level of the first checkpoint and that of the tenth
    some = values({"a": 1.0, "b": 0.0}, groups=25, seed=3)
    assert next_checkpoint(OrderSoFar(), some, "higher").is_settled
    assert not next_checkpoint(OrderSoFar(checkpoint=9), some, "higher").is_settled
    assert not next_checkpoint(OrderSoFar(), some, "higher", questions=40).is_settled


@pytest.mark.parametrize(
    ("few", "reason"),
    [
        ({"a": 0.0}, "fewer than two explainers have values"),
        ({"a": 0.0, "b": 9.0}, "5 groups, fewer than 10: no test"),
    ],
)
def test_too_few_groups_or_explainers_settle_nothing(few, reason):
    order = next_checkpoint(OrderSoFar(), values(few, groups=5, each=6), "higher")
    assert order.too_few == reason
    assert not order.is_settled


def test_an_explainer_without_values_has_no_part():
    some = values({"a": 0.0, "b": 9.0})
    some["c"] = some["a"].where(np.arange(30) < 10)
    order = next_checkpoint(OrderSoFar(), some, "higher")
    assert order.explainers == ("b", "a")
    assert order.is_settled


def test_better_than_one_that_is_compared_no_longer_is_not_best():
    left = OrderSoFar(checkpoint=2, explainers=("a", "b"), apart=frozenset({("a", "c")}))
    assert not left.best_is_settled
    assert OrderSoFar(checkpoint=2, explainers=("a", "b"), apart=frozenset({("a", "b"), ("a", "c")})).best_is_settled
