"""Intervals of means: cases by hand, against full matrices, and how often they hold the truth."""

from math import exp, sqrt

import numpy as np
import pytest

from xaibench_statistics import Values, macro_interval, mean_interval, paired_difference
from xaibench_statistics.bootstrap import Design
from xaibench_statistics.cluster_moments import ClusteredMean
from xaibench_statistics.intervals import bounds

T9, T11, T16 = 2.262157, 2.200985, 2.119905  # .975 quantiles of Student's t


def samples(values, groups=None, cross=None):
    return Values.of([f"s{i:04d}" for i in range(len(values))], values, groups, cross)


def clustered_mean(values, strata=None):
    return ClusteredMean.of(values, Design.of(values.groups, values.cross), strata)


def uneven(seed=0, k=12):
    """Values of ``k`` groups of 1 to 7 samples, and three strata."""
    draw = np.random.default_rng(seed)
    group = np.repeat(np.arange(k), draw.integers(1, 8, k))
    return samples(draw.gamma(2.0, size=len(group)), group.astype(np.str_)), draw.choice(list("abc"), len(group))


# ---- shares ---------------------------------------------------------------------------------------------------------


def test_all_of_17_is_no_certainty():
    found = mean_interval(samples([1.0] * 17))
    assert (found.low, found.high) == (pytest.approx(17 / (17 + T16**2), abs=1e-6), 1.0)
    assert found.low <= 0.82
    assert found.method == "Wilson, effective sample size"


def test_clusters_of_uneven_size_that_all_agree_count_as_fewer():
    found = mean_interval(samples([1.0] * 21, [f"g{min(i, 9)}" for i in range(21)]))  # nine of 1 sample and one of 12
    k = 21**2 / (9 + 12**2)
    assert found.low == pytest.approx(k / (k + 3.0**2), abs=0.05)  # t of less than nine degrees of freedom
    assert found.low < 10 / (10 + T9**2)


def test_a_share_by_hand():
    values = samples([0.0] + [1.0] * 11)
    p, known, k = 11 / 12, 1, 12
    variance = p * (1 - p) / 11  # s^2 / n
    n = (known + 1) / (known * variance / (p * (1 - p)) + 1 / k)
    centre, half = p + T11**2 / (2 * n), T11 * sqrt(p * (1 - p) / n + T11**2 / (4 * n * n))
    found = mean_interval(values)
    assert [found.low, found.high] == pytest.approx([(centre + s * half) / (1 + T11**2 / n) for s in (-1, 1)], abs=1e-6)


def test_equal_0_1_scores_differ_by_an_unknown_little():
    a = samples(np.resize([0.0, 1.0], 20))
    found = paired_difference(a, a)
    most = T9**2 / (10 + T9**2)  # Wilson's upper end of 0 of 10
    assert (found.value, found.p, found.method) == (0.0, 1.0, "difference of two shares")
    assert -most < found.low < 0 < found.high < most  # 20 groups
    assert found.high == -found.low == pytest.approx(2.093024**2 / (20 + 2.093024**2), abs=1e-6)


def test_one_difference_of_0_1_scores_tells_nothing():
    """As a share of ones its interval would leave out 0."""
    a = samples([1.0] + [0.0] * 19)
    found = paired_difference(a, a.with_values(np.zeros(20)))
    assert found.low < 0 < found.value < found.high
    assert mean_interval(a).low > 0


def test_signed_shares_turn_with_their_sign():
    draw = np.random.default_rng(1)
    values = samples(draw.choice([-1.0, 0.0, 1.0], 60, p=[0.2, 0.5, 0.3]), np.repeat(np.arange(20), 3).astype(np.str_))
    one, other = mean_interval(values), mean_interval(values.with_values(-values.values))
    assert one.method == "difference of two shares"
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))
    assert -1 <= one.low < one.value < one.high <= 1


# ---- numbers --------------------------------------------------------------------------------------------------------


def test_values_without_skewness_have_the_t_interval():
    found = mean_interval(samples(np.arange(10.0)))
    half = T9 * sqrt(82.5 / 9 / 10)
    assert (found.low, found.high) == (pytest.approx(4.5 - half, abs=1e-5), pytest.approx(4.5 + half, abs=1e-5))


def test_a_long_tail_lengthens_its_side_alone():
    values = np.array([0.0] * 9 + [0.5])
    found = mean_interval(samples(values))
    error = sqrt(values.var(ddof=1) / 10)
    third = np.sum((values - 0.05) ** 3) * 10 / (9 * 8) / values.std(ddof=1) ** 3  # G_1
    s = 2 * third / sqrt(10)  # 1 + 10 / k = 2
    upper = -3 / s * (np.cbrt(1 + s * (-T9 - s / 6)) - 1)
    assert upper > T9
    assert found.low == pytest.approx(0.05 - T9 * error, abs=1e-6)
    assert found.high == pytest.approx(0.05 + upper * error, abs=1e-6)


def test_variance_and_degrees_of_freedom_are_those_of_full_matrices():
    values, strata = uneven()
    x, m = values.values, np.unique(strata)
    clusters = clustered_mean(values, strata)
    moments = clusters.moments(x)
    design = (strata[:, None] == m).astype(float)
    hat = design @ np.linalg.inv(design.T @ design) @ design.T
    c = np.linalg.inv(design.T @ design) @ np.full(len(m), 1 / len(m))
    rows = []
    for g in np.unique(values.groups):
        inside = values.groups == g
        w, v = np.linalg.eigh(np.eye(inside.sum()) - hat[np.ix_(inside, inside)])
        root = v @ np.diag(w**-0.5) @ v.T
        rows.append((root @ design[inside] @ c) @ (np.eye(len(x)) - hat)[inside])
    residuals = x - hat @ x
    together = values.groups[:, None] == values.groups
    pairs = together & ~np.eye(len(x), dtype=bool)
    rho = np.clip(np.mean(np.outer(residuals, residuals)[pairs]) / np.mean(residuals**2), 0, 1)
    covariance = np.array(rows) @ ((1 - rho) * np.eye(len(x)) + rho * together) @ np.array(rows).T
    assert moments.value == pytest.approx(np.mean([x[strata == s].mean() for s in m]))
    assert moments.variance == pytest.approx(np.sum((np.array(rows) @ x) ** 2))
    assert moments.df == pytest.approx(np.trace(covariance) ** 2 / np.sum(covariance**2))


def test_crossed_factors_add_and_their_pairs_are_taken_off():
    draw = np.random.default_rng(4)
    a, b = (x.reshape(-1).astype(np.str_) for x in np.meshgrid(np.arange(12), np.arange(15), indexing="ij"))
    values = samples(draw.normal(size=12)[a.astype(int)] + draw.normal(size=180), a, b)
    table = values.values.reshape(12, 15)
    rows, columns = (table.mean(axis=axis).var(ddof=1) / table.shape[1 - axis] for axis in (1, 0))
    expected = rows + columns - table.var(ddof=1) / 180
    assert clustered_mean(values).variance(values.values) == pytest.approx(expected)
    assert mean_interval(values).cross_groups == 15


def test_likeness_within_levels_never_shortens_an_interval():
    a, b = (x.reshape(-1).astype(np.str_) for x in np.meshgrid(np.arange(10), np.arange(10), indexing="ij"))
    checks = (a.astype(int) + b.astype(int)) % 2 * 1.0 + 0.25  # every row and column of the table has the same mean
    values = samples(checks, a, b)
    assert clustered_mean(values).variance(checks) == pytest.approx(checks.var(ddof=1) / 100)


def test_scale_and_place_of_values_are_those_of_the_interval():
    values, strata = uneven(3)
    one = macro_interval(values, strata)
    other = macro_interval(values.with_values(10 - 4 * values.values), strata)
    assert [other.value, other.high, other.low] == pytest.approx([10 - 4 * x for x in (one.value, one.low, one.high)])


# ---- strata ---------------------------------------------------------------------------------------------------------


def test_the_distance_of_strata_adds_nothing_to_the_interval():
    values, strata = uneven(5)
    near = macro_interval(values, strata)
    far = macro_interval(values.with_values(values.values + 30 * (strata == "b")), strata)
    assert [far.value, far.low, far.high] == pytest.approx([x + 10 for x in (near.value, near.low, near.high)])


def test_one_stratum_is_the_mean():
    values, _ = uneven()
    assert macro_interval(values, np.full(len(values), "a")) == mean_interval(values)


def test_a_stratum_of_one_group_has_no_known_spread():
    values, strata = uneven()
    strata[strata == "c"] = "a"
    strata[values.groups == "3"] = "c"
    assert macro_interval(values, strata).note == "all samples of a stratum are of one group: no interval"
    with pytest.raises(ValueError, match="same length"):
        macro_interval(values, strata[:-1])


def test_differences_over_strata_are_weighed_on_the_common_samples():
    values, strata = uneven()
    other = values.with_values(np.sin(values.values))
    kept = np.arange(len(values)) % 5 > 0
    found = paired_difference(values, other.where(kept), strata=strata)
    delta = values.where(kept).with_values((values.values - other.values)[kept])
    direct = macro_interval(delta, strata[kept])
    assert (found.value, found.low, found.high, found.p) == (direct.value, direct.low, direct.high, None)
    assert found.dropped == len(values) - kept.sum()


# ---- many at once ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["share", "signed share", "number"])
def test_many_sets_of_values_have_the_intervals_of_each(kind):
    values, strata = uneven()
    clusters = clustered_mean(values, strata)
    draw = np.random.default_rng(7)
    many = draw.normal(size=(5, len(values)))
    many = np.sign(np.round(many)) if kind == "signed share" else (many > 0) * 1.0 if kind == "share" else many
    each = [bounds(clusters, row, kind, 0.0) for row in many]
    assert np.stack(bounds(clusters, many, kind, 0.0), axis=-1) == pytest.approx(np.asarray(each), rel=1e-12)


# ---- coverage -------------------------------------------------------------------------------------------------------


def held(interval, truth, draw_values, groups, cross=None, trials=400):
    """Percent of the trials in which the interval holds the truth. All cells: ``benchmarks/intervals.py``."""
    draw = np.random.default_rng(20)
    base = samples(np.zeros(len(groups)), groups, cross)
    estimates = [interval(base.with_values(draw_values(draw))) for _ in range(trials)]
    return 100 * np.mean([e.low <= truth <= e.high for e in estimates])


def like(draw, group, rho):
    """Standard normal numbers with the correlation rho within groups."""
    own = draw.standard_normal(group.max() + 1)[group]
    return sqrt(rho) * own + sqrt(1 - rho) * draw.standard_normal(len(group))


def beta_binomial(draw, group, share, rho):
    own = draw.beta(share * (1 / rho - 1), (1 - share) * (1 / rho - 1), group.max() + 1)[group]
    return (draw.random(len(group)) < own) * 1.0


FOURS = np.repeat(np.arange(50), 4)
UNEVEN = np.repeat(np.arange(17), np.resize(np.arange(1, 11), 17))
METHODS = np.random.default_rng(0).choice(list("abcd"), len(FOURS), p=[0.4, 0.3, 0.2, 0.1])
DONORS = np.concatenate([np.random.default_rng(i).permutation(50)[:4] for i in range(50)])
TEN = np.repeat(np.arange(10), 4)


@pytest.mark.parametrize(
    ("interval", "truth", "draw_values", "groups", "cross", "least", "most"),
    [
        (mean_interval, 0.97, lambda d: beta_binomial(d, FOURS, 0.97, 0.5), FOURS, None, 92, 100),
        (mean_interval, 0.5, lambda d: beta_binomial(d, FOURS, 0.5, 0.5), FOURS, None, 92, 98),
        (mean_interval, 0.0, lambda d: like(d, UNEVEN, 0.9), UNEVEN, None, 92, 98),
        (mean_interval, exp(0.5), lambda d: np.exp(like(d, TEN, 0.9)), TEN, None, 88, 98),
        (lambda v: macro_interval(v, METHODS), exp(0.5), lambda d: np.exp(like(d, FOURS, 0.9)), FOURS, None, 92, 98),
        (mean_interval, 0.0, lambda d: like(d, FOURS, 0.5) + like(d, DONORS, 0.5), FOURS, DONORS, 92, 98),
    ],
    ids=["share .97", "share .5", "normal", "lognormal", "macro lognormal", "crossed"],
)
def test_intervals_hold_the_truth_as_often_as_they_say(interval, truth, draw_values, groups, cross, least, most):
    names = [f"g{g:02d}" for g in groups]
    donors = None if cross is None else [f"d{d:02d}" for d in cross]
    assert least <= held(interval, truth, draw_values, names, donors) <= most
