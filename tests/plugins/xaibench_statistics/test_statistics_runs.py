"""Statistics over training runs, and medians of right-censored values."""

import numpy as np
import pytest
from scipy import stats

from xaibench_statistics import Runs, Values, auc_interval, censored_median, runs_difference, runs_interval
from xaibench_statistics.auc import mean_auc_interval
from xaibench_statistics.censored import _index
from xaibench_statistics.runs import least_p, people_variance, permute_runs

DRAW = np.random.default_rng(0)


def values(numbers, per_group=1):
    ids = [f"s{i:03d}" for i in range(len(numbers))]
    return Values.of(ids, numbers, [f"g{i // per_group:03d}" for i in range(len(numbers))])


# ---- permutation of runs --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("m", "n", "p", "deals"), [(5, 5, 2 / 252, 252), (2, 2, 2 / 6, 6), (3, 2, 1 / 10, 10)])
def test_families_that_do_not_overlap(m, n, p, deals):
    assert permute_runs(np.arange(m) + 0.0, np.arange(n) + 10.0) == (p, deals)


def test_by_hand():
    # deals of {1, 2 | 3, 5}: |difference of means| 2.5, 1.5, .5, .5, 1.5, 2.5; the observed one is 1.5
    assert permute_runs(np.array([1.0, 3.0]), np.array([2.0, 5.0])) == (4 / 6, 6)


@pytest.mark.parametrize(("m", "n"), [(5, 5), (5, 6), (7, 5), (12, 13)])
def test_the_smallest_p_is_that_of_families_far_apart(m, n):
    assert least_p(m, n) == permute_runs(np.arange(m) + 100.0, np.arange(n) * 1.0)[0]


def test_equal_families_and_ties():
    assert permute_runs(np.ones(5), np.ones(5)) == (1.0, 252)


@pytest.mark.parity
def test_the_exact_test_is_scipys():
    a, b = DRAW.normal(size=6), DRAW.normal(size=5) + 1

    def mean_difference(x, y, axis):
        return np.abs(x.mean(axis) - y.mean(axis))

    theirs = stats.permutation_test(
        (a, b), mean_difference, permutation_type="independent", vectorized=True, alternative="greater", n_resamples=1e9
    )
    assert permute_runs(a, b)[0] == pytest.approx(theirs.pvalue)


def test_many_runs_are_dealt_at_random_and_by_seed():
    a, b = np.arange(12.0), np.arange(12.0) + 0.5
    p, deals = permute_runs(a, b, seed=1)
    assert (p, deals) == permute_runs(a, b, seed=1)
    assert deals == 200_000
    assert p == pytest.approx(stats.ttest_ind(a, b).pvalue, abs=0.03)


# ---- jackknife ------------------------------------------------------------------------------------------------------


def test_the_variance_of_a_mean_is_that_of_the_textbook():
    runs = Runs.of_values([1.0, 2.0, 4.0, 9.0])
    assert runs.value == 4.0
    assert runs.without.tolist() == pytest.approx([5.0, 14 / 3, 4.0, 7 / 3])
    assert runs.variance == pytest.approx(np.var([1, 2, 4, 9], ddof=1) / 4)
    assert Runs.of_values([1.0]).variance is None


def test_pairs_leave_out_both_pairs_of_a_run():
    runs = Runs.of_pairs({("a", "b"): 0.2, ("a", "c"): 0.4, ("b", "c"): 0.9})
    assert runs.value == pytest.approx(0.5)
    assert runs.without.tolist() == [0.9, 0.4, 0.2]
    assert Runs.of_pairs({("a", "b"): 0.2}).without.tolist() == [], "without one of two runs there is no pair"
    with pytest.raises(ValueError, match="not all pairs"):
        Runs.of_pairs({("a", "b"): 0.2, ("b", "c"): 0.9})


def test_the_difference_of_families_without_samples_is_welchs():
    a, b = [1.0, 2.0, 3.0, 4.0, 5.0], [2.0, 6.0, 7.0, 9.0, 11.0]
    found = runs_difference(Runs.of_values(a), Runs.of_values(b))
    interval = stats.ttest_ind(a, b, equal_var=False).confidence_interval()
    assert (found.low, found.high) == (pytest.approx(interval.low), pytest.approx(interval.high))
    assert not found.people


def test_runs_and_people_add_up():
    noise = DRAW.normal(size=40)
    rows = [values(noise + level, 2) for level in (0.0, 1.0, 2.0, 3.0, 4.0)]
    runs = Runs.of_samples(rows)
    found = runs_interval(runs)
    people, df = people_variance(runs.mean)
    total = runs.variance + people
    t = stats.t.ppf(0.975, total**2 / (runs.variance**2 / 4 + people**2 / df))
    assert (df, runs.variance) == (19, pytest.approx(0.5))
    assert found.high - found.value == pytest.approx(t * total**0.5)
    assert people == pytest.approx(np.var(noise.reshape(20, 2).mean(1), ddof=1) / 20, rel=0.1)


def test_one_run_has_an_interval_over_people_alone_and_no_test():
    one = Runs.of_samples([values(np.linspace(0, 1, 12))])
    assert runs_interval(one).note == "over people alone"
    assert runs_interval(Runs.of_values([3.0])).note == "1 run: no interval"
    found = runs_difference(one, one)
    assert (found.p, found.note) == (None, "1 run, fewer than 5 cannot be significant")


def test_runs_on_different_samples_are_refused():
    with pytest.raises(ValueError, match="common ones"):
        Runs.of_samples([values([1.0, 2.0]), values([1.0])])


def test_the_mean_auc_of_a_family():
    fake = np.arange(40) % 2 == 1
    first = values(DRAW.normal(size=40) + fake, 2)
    second = values(DRAW.normal(size=40) + 2 * fake, 2)
    alone, other = (auc_interval(v, fake) for v in (first, second))
    assert mean_auc_interval([first], fake) == alone
    both = mean_auc_interval([first, second], fake)
    assert both.value == pytest.approx((alone.value + other.value) / 2)
    assert 0 <= both.low < both.value < both.high <= 1
    perfect, blind = first.with_values(fake.astype(float)), first.with_values(np.zeros(40))
    runs_alone = mean_auc_interval([perfect, blind], fake)  # people add nothing: 1 and .5, variance .125 / 2
    assert runs_alone.value == 0.75 and runs_alone.low < 0.05 and runs_alone.high > 0.99
    same = mean_auc_interval([first] * 3, fake)  # runs that do not vary add nothing
    assert same.low == pytest.approx(alone.low, abs=0.05)


# ---- censored medians -----------------------------------------------------------------------------------------------


def censored(numbers, marks):
    return censored_median(values(numbers), np.asarray(marks, dtype=bool))


@pytest.mark.parametrize(
    ("numbers", "marks", "median", "above"),
    [
        ([0.1, 0.2, 0.5], [0, 0, 1], 0.2, False),
        ([0.1, 0.2, 0.4, 0.5], [0, 0, 0, 1], 0.3, False),
        ([0.1, 0.2, 0.5, 0.5], [0, 0, 1, 1], 0.35, True),  # the upper middle one is only known to exceed .5
        ([0.1, 0.5, 0.5], [0, 1, 1], 0.5, True),
        ([0.1, 0.5, 0.5], [0, 0, 1], 0.5, False),  # turned exactly at the largest tried
        ([0.5, 0.5], [1, 1], 0.5, True),
        ([0.1, 0.3], [0, 0], 0.2, False),
    ],
)
def test_the_median(numbers, marks, median, above):
    found = censored(numbers, marks)
    assert (found.value, found.above) == (pytest.approx(median), above)
    assert found.censored == sum(marks)
    assert found.largest == (0.5 if any(marks) else None)
    assert found.low is None
    assert "fewer than 10" in found.note


def test_the_order_of_samples_does_not_matter_and_marks_follow_their_values():
    assert censored([0.5, 0.1, 0.2], [1, 0, 0]) == censored([0.1, 0.2, 0.5], [0, 0, 1])


def test_the_interval_is_of_resampled_medians():
    numbers = np.linspace(0.0, 1.0, 41)
    found = censored(numbers, numbers > 2)
    # order statistics 14 and 28 of 41 hold the median with 95.6 %: 13/40 and 27/40
    assert found.low == pytest.approx(13 / 40, abs=0.03)
    assert found.high == pytest.approx(27 / 40, abs=0.03)
    assert not found.high_above


def test_the_upper_end_of_the_interval_may_be_open():
    numbers = np.minimum(np.linspace(0.0, 1.0, 41), 0.6)
    found = censored(numbers, numbers >= 0.6)
    assert (found.value, found.above) == (pytest.approx(0.5), False)
    assert (found.high, found.high_above) == (0.6, True)


@pytest.mark.parametrize(
    ("q", "n", "index"), [(0, 10, 0), (0.1, 10, 0), (0.11, 10, 1), (0.5, 10, 4), (1, 10, 9), (0.99, 10, 9)]
)
def test_a_quantile_is_the_smallest_value_with_that_share_at_or_below_it(q, n, index):
    assert _index(q, n) == index


def test_clusters_widen_it():
    numbers = np.repeat(DRAW.normal(size=15), 4)
    marks = np.zeros(60, dtype=bool)
    alone, together = (censored_median(values(numbers, k), marks) for k in (1, 4))
    assert together.high - together.low > alone.high - alone.low


def test_more_than_one_largest_is_refused():
    with pytest.raises(ValueError, match="more than one place"):
        censored([0.1, 0.5, 0.6], [0, 1, 1])
    with pytest.raises(ValueError, match="more than one place"):
        censored([0.7, 0.5], [0, 1])
    with pytest.raises(ValueError, match="needs samples"):
        censored([], [])
