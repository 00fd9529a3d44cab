"""The balance of accuracy and interpretability on numbers worked out by hand."""

from __future__ import annotations

import pytest

from xaibench_statistics.interpretability_balance import (
    AxisFigures,
    Balance,
    balance,
    gain_over_chance,
    harmonic,
    interpretability,
    kept_accuracy,
)

MEASURED = AxisFigures(odc=0.1, axis_auc=0.95, diagonal_share=0.505)
CHANCE = AxisFigures(odc=0.5, axis_auc=0.5, diagonal_share=0.01)


@pytest.mark.parametrize(
    ("auc", "base", "kept"),
    [(0.95, 0.99, 0.45 / 0.49), (1.0, 0.9, 1), (0.4, 0.9, 0), (0.9, 0.5, None), (0.9, 0.3, None)],
)
def test_kept_accuracy(auc, base, kept):
    assert kept_accuracy(auc, base) == (None if kept is None else pytest.approx(kept, abs=1e-15))


@pytest.mark.parametrize(
    ("merit", "chance", "gain"), [(0.6, 0.2, 0.5), (0.1, 0.2, 0), (1, 0.2, 1), (0.5, -0.5, 2 / 3), (1, 1, None)]
)
def test_gain_over_chance(merit, chance, gain):
    assert gain_over_chance(merit, chance) == (None if gain is None else pytest.approx(gain, abs=1e-15))


def test_interpretability_is_the_mean_of_the_three_gains():
    # (0.9 - 0.5) / 0.5, 0.9, 0.495 / 0.99
    assert interpretability(MEASURED, CHANCE) == pytest.approx((0.8 + 0.9 + 0.5) / 3, abs=1e-15)


def test_chance_itself_gains_nothing_and_the_perfect_layer_all():
    perfect = AxisFigures(odc=0, axis_auc=1, diagonal_share=1)
    assert interpretability(CHANCE, CHANCE) == 0
    assert interpretability(perfect, CHANCE) == 1
    assert balance(0.99, 0.99, perfect, CHANCE) == Balance(accuracy=1, interpretability=1, harmonic=1)


@pytest.mark.parametrize(("a", "i", "h"), [(0.5, 1, 2 / 3), (0, 0, 0), (1, 0, 0), (0.5, 0.5, 0.5)])
def test_harmonic_index(a, i, h):
    assert harmonic(a, i) == pytest.approx(h, abs=1e-15)


def test_a_baseline_at_chance_leaves_no_accuracy_to_keep():
    found = balance(0.9, 0.5, MEASURED, CHANCE)
    assert (found.accuracy, found.harmonic) == (None, None)
    assert found.interpretability is not None
    assert "no better than chance" in found.reason


def test_a_white_layers_own_rotation_leaves_no_room():
    found = balance(0.9, 0.9, MEASURED, AxisFigures(odc=0, axis_auc=0.5, diagonal_share=0.01))
    assert (found.accuracy, found.interpretability, found.harmonic) == (1, None, None)
    assert found.reason.startswith("1 - ODC of a random rotation is 1 already")


@pytest.mark.parametrize("wrong", [-0.1, 1.1, float("nan")])
def test_what_is_no_share_is_refused(wrong):
    with pytest.raises(ValueError, match="lie in"):
        balance(wrong, 0.9, MEASURED, CHANCE)
    with pytest.raises(ValueError, match="lie in"):
        balance(0.9, 0.9, AxisFigures(odc=wrong, axis_auc=0.5, diagonal_share=0), CHANCE)
