"""Statistics against numbers worked out by hand."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from xaibench_statistics import (
    Values,
    auc_interval,
    holm,
    macro_interval,
    mean_interval,
    paired_difference,
    rank_explainers,
    roc_auc,
)
from xaibench_statistics.bootstrap import Design, expanded_tail, mean_replicates
from xaibench_statistics.paired import _t_test


def clustered(values, size=1):
    """One value a group, repeated for ``size`` samples."""
    rows = [(f"{g:03d}-{i}", v, f"g{g:03d}") for g, v in enumerate(values) for i in range(size)]
    return Values.of(*zip(*rows, strict=True))


def crossed(table):
    """A full table of targets by donors."""
    rows = [(f"{i}-{j}", v, f"t{i}", f"d{j}") for i, row in enumerate(table) for j, v in enumerate(row)]
    return Values.of(*zip(*rows, strict=True))


# ---- values -----------------------------------------------------------------------------------------------------


def test_values_refuse_what_would_make_means_wrong():
    with pytest.raises(ValueError, match="twice"):
        Values.of(["a", "a"], [1.0, 2.0])
    with pytest.raises(ValueError, match="finite"):
        Values.of(["a", "b"], [1.0, float("nan")])
    with pytest.raises(ValueError, match="length"):
        Values.of(["a", "b"], [1.0])


# ---- AUC --------------------------------------------------------------------------------------------------------


def test_auc_counts_ties_half():
    # .8 beats both; each .5 ties one and beats the other: (2 + 1.5 + 1.5) / 6
    assert roc_auc(np.array([0.8, 0.5, 0.5]), np.array([0.5, 0.2])) == pytest.approx(5 / 6)
    assert roc_auc(np.array([1.0]), np.array([1.0])) == 0.5
    assert roc_auc(np.array([0.0]), np.array([1.0])) == 0.0
    with pytest.raises(ValueError, match="positives and negatives"):
        roc_auc(np.array([1.0]), np.array([]))


@given(st.lists(st.integers(0, 5), min_size=1), st.lists(st.integers(0, 5), min_size=1))
def test_auc_of_swapped_classes_is_the_complement(a, b):
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    assert roc_auc(a, b) == pytest.approx(1 - roc_auc(b, a))


def test_auc_interval_needs_groups_of_both_labels():
    scores = Values.of([f"s{i:02d}" for i in range(40)], np.arange(40.0), [f"g{i}" for i in range(40)])
    few = auc_interval(scores, np.arange(40) >= 35)
    assert few.value == 1.0
    assert few.low is None
    assert "fake" in few.note
    enough = auc_interval(scores, np.arange(40) % 2 == 1)
    assert enough.low is not None
    assert enough.low <= enough.value <= enough.high


# ---- means ------------------------------------------------------------------------------------------------------


def test_mean_is_over_samples_and_knows_its_groups():
    found = mean_interval(Values.of(["a", "b", "c"], [1.0, 2.0, 6.0], ["g", "g", "h"]))
    assert (found.value, found.n, found.groups) == (3.0, 3, 2)
    assert (found.low, found.high) == (None, None)
    assert found.note == "2 groups, fewer than 10: no interval"


def test_ten_groups_have_an_interval_and_nine_do_not():
    assert mean_interval(clustered(range(9))).low is None
    assert mean_interval(clustered(range(10))).low is not None


def test_the_spread_of_equal_values_is_not_known():
    constant = mean_interval(clustered([0.25] * 12))
    assert (constant.low, constant.value, constant.high) == (None, 0.25, None)
    assert constant.note == "all values are equal, nothing is known of their spread: no interval"
    balanced = mean_interval(Values.of(range(24), [0.1, 0.3] * 12, np.repeat(np.arange(12), 2)))
    assert (balanced.low, balanced.note) == (
        None, "all groups have the same mean, nothing is known of their spread: no interval",
    )  # fmt: skip


def test_samples_of_one_group_are_no_independent_evidence():
    values = np.random.default_rng(0).normal(size=30)
    clusters = clustered(values, size=9)
    naive = Values.of(clusters.samples, clusters.values)  # every sample its own group
    once = mean_interval(clustered(values))
    wide, narrow = mean_interval(clusters), mean_interval(naive)
    assert (wide.low, wide.high) == pytest.approx((once.low, once.high))  # nine copies add nothing
    ratio = (wide.high - wide.low) / (narrow.high - narrow.low)
    assert ratio == pytest.approx(3.0, rel=0.15)  # sqrt(9)


def test_tail_is_expanded_for_few_groups():
    # t(.975, 9) = 2.2622; sqrt(10 / 9) * 2.2622 = 2.3845; Phi(-2.3845) = .00855
    assert expanded_tail(10) == pytest.approx(0.00855, abs=1e-5)
    assert expanded_tail(100_000) == pytest.approx(0.025, abs=1e-4)


def test_intervals_cover_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(11)
    hits = 0
    for _ in range(300):
        effects = rng.normal(size=12)
        values = np.repeat(effects, 3) + rng.normal(scale=0.5, size=36)
        base = clustered(effects, size=3)
        found = mean_interval(base.with_values(values))
        hits += found.low <= 0.0 <= found.high
    assert 0.92 <= hits / 300 <= 0.98


# ---- two crossed factors ----------------------------------------------------------------------------------------


def test_weights_of_crossed_factors_multiply():
    #                      a/x  a/y  b/x  real a, real b
    groups = np.array(["a", "a", "b", "a", "b"])
    cross = np.array(["x", "y", "x", "", ""])
    design = Design.of(groups, cross)
    assert (design.groups, design.cross_groups) == (2, 2)
    for a_x, a_y, b_x, a, b in np.concatenate(list(design.weights(0, 50)))[:, design.cell]:
        assert a + b == 2  # two draws of two groups; reals have the weight of their group alone
        x, y = (a_x / a, a_y / a) if a else (b_x / b, 2 - b_x / b)
        assert x + y == 2
        assert b_x == b * x


def test_pigeonhole_variance_of_a_full_table_is_the_sum_of_both_factors():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=12), 2 * rng.normal(size=12)
    table = crossed(a[:, None] + b[None, :])
    both = mean_replicates(Design.of(table.groups, table.cross), table.values, 0, 4000)
    rows = mean_replicates(Design.of(table.groups, np.full(144, "")), table.values, 0, 4000)
    assert both.var() == pytest.approx(a.var() / 12 + b.var() / 12, rel=0.1)
    assert rows.var() == pytest.approx(a.var() / 12, rel=0.1)


def test_few_donors_give_no_interval():
    found = mean_interval(crossed(np.random.default_rng(0).normal(size=(12, 4))))
    assert found.cross_groups == 4
    assert found.note == "4 donors, fewer than 10: no interval"


# ---- comparisons ------------------------------------------------------------------------------------------------


def test_paired_difference_uses_common_samples_only():
    a = Values.of([f"s{i:02d}" for i in range(12)], np.arange(12.0) + np.resize([0.5, 1.5], 12))
    b = Values.of([f"s{i:02d}" for i in range(2, 14)], np.arange(2.0, 14.0))
    found = paired_difference(a, b)
    half = 2.262157 * np.sqrt(0.25 / 9)  # t(.975, 9); the differences are five of .5 and five of 1.5: no skewness
    assert (found.value, found.n, found.dropped) == (1.0, 10, 4)
    assert (found.low, found.high) == (pytest.approx(1 - half), pytest.approx(1 + half))
    assert found.p == 2 / 2**10  # of all 1,024 sign flips only all plus and all minus reach the sum
    assert found.favours_first("higher") is True
    assert found.favours_first("lower") is False


def test_a_constant_difference_has_a_test_and_no_interval():
    a = clustered(np.arange(12.0))
    found = paired_difference(a.with_values(a.values + 1), a)
    assert (found.value, found.low, found.high, found.p) == (1.0, None, None, 2 / 2**12)
    assert found.note == "all values are equal, nothing is known of their spread: no interval"


def test_paired_difference_without_common_samples_or_groups():
    a, b = clustered([1.0] * 12), clustered([0.0] * 5)
    none = paired_difference(a.where(np.arange(12) > 5), b)
    assert (none.value, none.n, none.dropped) == (None, 0, 11)
    few = paired_difference(a, b)
    assert (few.value, few.n, few.low, few.p) == (1.0, 5, None, None)
    assert few.favours_first("higher") is None
    assert "fewer than 10" in few.note


def test_equal_explainers_differ_by_nothing():
    a = clustered(np.arange(12.0))
    assert paired_difference(a, a).p == 1.0


def test_p_values_are_fair_under_the_null():
    rng = np.random.default_rng(2)
    base = clustered(np.zeros(25))
    p = [paired_difference(base.with_values(rng.normal(size=25)), base).p for _ in range(100)]
    assert 0.35 <= np.mean(p) <= 0.65
    assert np.mean(np.asarray(p) < 0.1) <= 0.2


def test_crossed_factors_use_the_bootstrap_t_test():
    rng = np.random.default_rng(4)
    noise = crossed(rng.normal(size=(15, 15)))
    base = noise.with_values(np.zeros(225))
    assert paired_difference(noise, base).test == "bootstrap t test"
    assert paired_difference(noise.with_values(noise.values + 3), base).p < 0.001
    assert paired_difference(base, base).p == 1.0


def test_the_bootstrap_t_test_is_students_with_the_replicates_deviation():
    replicates = np.array([0.0, 1.0, 2.0, 3.0])  # deviation sqrt(5 / 3)
    expected = 2 * scipy.stats.t(4).sf(2.0 / np.sqrt(5 / 3) * np.sqrt(4 / 5))
    assert _t_test(2.0, replicates, 5) == pytest.approx(expected, rel=1e-12)
    assert _t_test(-2.0, replicates, 5) == pytest.approx(expected, rel=1e-12)
    assert (_t_test(0.0, np.ones(4), 5), _t_test(0.1, np.ones(4), 5)) == (1.0, 0.0)


def test_holm():
    assert holm([0.01, 0.04, 0.03, None]) == pytest.approx([0.03, 0.06, 0.06, None])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


# ---- ranks ------------------------------------------------------------------------------------------------------


def test_ranks_and_their_intervals():
    noise = np.random.default_rng(5).normal(scale=0.01, size=20)
    values = {name: clustered(noise + mean) for name, mean in {"low": 0.1, "high": 0.9, "middle": 0.5}.items()}
    found = rank_explainers(values, "higher")
    assert {n: (r.rank, r.low, r.high) for n, r in found.ranks.items()} == {
        "high": (1, 1, 1), "middle": (2, 2, 2), "low": (3, 3, 3),
    }  # fmt: skip
    assert rank_explainers(values, "lower").ranks["low"].rank == 1


def test_equal_explainers_share_the_rank_and_its_interval():
    same = clustered(np.arange(12.0))
    found = rank_explainers({"a": same, "b": same, "c": same.with_values(same.values - 5)}, "higher")
    assert [(r.rank, r.low, r.high) for r in found.ranks.values()] == [(1, 1, 2), (1, 1, 2), (3, 3, 3)]


def test_ranks_use_common_samples_and_leave_thin_explainers_out():
    full = clustered(np.arange(20.0))
    most = full.where(np.arange(20) < 15).with_values(np.arange(15.0) + 1)
    thin = full.where(np.arange(20) < 3)
    found = rank_explainers({"full": full, "most": most, "thin": thin}, "higher")
    assert found.n == 15
    assert found.unranked == ("thin",)
    assert found.ranks["most"].rank == 1  # by its mean over all its samples, full would win: 9.5 against 8


def test_explainers_that_are_not_told_apart_share_a_rank():
    noise = np.random.default_rng(6).normal(size=(4, 40))
    noise -= noise.mean(axis=1, keepdims=True)
    means = {"best": 2.0, "next": 1.9, "middle": 0.0, "last": -2.0}
    values = {n: clustered(row + m) for row, (n, m) in zip(noise, means.items(), strict=True)}
    found = rank_explainers(values, "higher")
    assert {n: (r.rank, r.low, r.high) for n, r in found.ranks.items()} == {
        "best": (1, 1, 2), "next": (1, 1, 2), "middle": (3, 3, 3), "last": (4, 4, 4),
    }  # fmt: skip
    assert found.order == ("best", "next", "middle", "last")
    assert rank_explainers(values, "lower").order == ("last", "middle", "next", "best")


def test_ranks_rest_on_no_difference_that_ties_alone_can_make():
    noise = np.random.default_rng(5).normal(scale=0.01, size=20)
    values = {name: clustered(noise + mean) for name, mean in {"low": 0.1, "high": 0.9, "middle": 0.5}.items()}
    found = rank_explainers(values, "higher", margins={"middle": 0.5})
    assert {n: (r.rank, r.low, r.high) for n, r in found.ranks.items()} == {
        "high": (1, 1, 2), "low": (2, 2, 3), "middle": (1, 1, 3),
    }  # fmt: skip


def test_one_explainer_has_the_only_rank():
    found = rank_explainers({"a": clustered(np.arange(12.0))}, "higher")
    assert (found.ranks["a"].rank, found.ranks["a"].low, found.ranks["a"].high) == (1, 1, 1)


def test_few_groups_give_no_ranks_but_an_order():
    found = rank_explainers({"a": clustered([0.0, 0.0]), "b": clustered([1.0, 2.0])}, "higher")
    assert (found.ranks, found.order) == ({}, ("b", "a"))
    assert found.note == "2 groups, fewer than 10: no ranks"


# ---- invariants -------------------------------------------------------------------------------------------------

rows = st.lists(
    st.tuples(st.floats(-10, 10), st.integers(0, 14), st.sampled_from([None, *map(str, range(12))]), st.booleans()),
    min_size=3, max_size=40,
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(rows, st.randoms())
def test_the_order_of_rows_changes_nothing(rows, random):
    numbered = [(f"s{i:03d}", *row) for i, row in enumerate(rows)]
    shuffled = random.sample(numbered, len(numbered))

    def everything(rows):
        ids, x, groups, cross, flags = zip(*rows, strict=True)
        a = Values.of(ids, x, [str(g) for g in groups], cross)
        b = a.with_values(np.round(a.values))
        fake = dict(zip(ids, flags, strict=True))
        positive = np.array([fake[s] for s in a.samples])
        auc = auc_interval(a, positive) if 0 < positive.sum() < len(a) else None
        ranks = rank_explainers({"a": a, "b": b}, "higher", resamples=50)
        macro = macro_interval(a, positive.astype(np.str_))
        return mean_interval(a), macro, paired_difference(a, b, resamples=50), auc, ranks

    assert everything(numbered) == everything(shuffled)
