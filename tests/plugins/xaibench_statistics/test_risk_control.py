"""Conformal risk control of a map's threshold: by hand, and by simulation."""

import numpy as np
import pytest

from xaibench_statistics import control_risk, least_groups


def test_the_threshold_by_hand():
    """19 groups of one picture and one pixel, alpha = .1: R_n may be (0.1 * 20 - 1) / 19 = 1/19, one group of 19."""
    found = control_risk([np.array([float(v)]) for v in range(19)], [f"g{i:02d}" for i in range(19)], 0.1)
    assert found.threshold == 1.0  # the pixel of value 0 is missed
    assert found.risk == pytest.approx(1 / 19)
    assert (found.n, found.groups) == (19, 19)


def test_nine_groups_allow_no_miss_at_a_tenth():
    values = [np.array([0.5, float(v)]) for v in range(9)]
    found = control_risk(values, list("abcdefghi"), 0.1)
    assert (found.threshold, found.risk) == (0.0, 0.0)
    with pytest.raises(ValueError, match="it takes 9"):
        control_risk(values[:8], list("abcdefgh"), 0.1)
    assert [least_groups(a) for a in (0.5, 0.1, 0.05, 0.01)] == [1, 9, 19, 99]
    with pytest.raises(ValueError, match="between 0 and 1"):
        least_groups(1.0)


def test_a_group_counts_once_however_many_pictures_it_has():
    """alpha = .5, two groups: R_n may be .25. Half of group a may be missed: one of its two pictures."""
    values = [np.array([1.0]), np.array([5.0]), np.array([9.0, 9.0])]
    found = control_risk(values, ["a", "a", "b"], 0.5)
    assert (found.threshold, found.risk) == (5.0, 0.25)
    assert control_risk(values, ["a", "b", "c"], 0.5).threshold == 5.0  # three groups: R_n may be 1/3, one picture


def test_tied_values_are_in_or_out_together():
    values = [np.array([2.0, 2.0, 2.0, 7.0])] * 9
    found = control_risk(values, list("abcdefghi"), 0.3)  # R_n may be 2/9; without the ties it would be 3/4
    assert (found.threshold, found.risk) == (2.0, 0.0)


def test_values_that_are_none_are_refused():
    for bad in (np.array([]), np.array([np.nan])):
        with pytest.raises(ValueError, match="no value"):
            control_risk([bad] * 9, list("abcdefghi"), 0.1)


@pytest.mark.parametrize(("n", "alpha"), [(9, 0.1), (30, 0.1), (30, 0.2), (100, 0.05)])
def test_the_expected_missed_share_of_new_groups_is_at_most_alpha(n, alpha):
    """Groups of one to three pictures, whose values share the group's level: at most alpha + .03, and no less than
    theory says of continuous losses, alpha - 2 / (n + 1)."""
    draw = np.random.default_rng(7)

    def group():
        level, size = draw.normal(), draw.integers(1, 4)
        return [level + 0.5 * draw.normal() + draw.normal(size=40) for _ in range(size)]

    losses = []
    for _ in range(200):
        calibration = [group() for _ in range(n)]
        names = [str(i) for i, pictures in enumerate(calibration) for _ in pictures]
        threshold = control_risk([p for pictures in calibration for p in pictures], names, alpha).threshold
        losses += [np.mean([(p < threshold).mean() for p in group()]) for _ in range(5)]
    assert alpha - 2 / (n + 1) - 0.03 <= np.mean(losses) <= alpha + 0.03
