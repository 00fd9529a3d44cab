"""What a plan changes of an earlier one, and which rows that touches."""

from __future__ import annotations

import pytest

from xaibench.plan.identity import contradicts
from xaibench.store.planning import changes_of
from xaibench.store.relation import Address

PREDICTION = Address("predict", "m", "0", "d")
MAP = Address("explain", "m", "0", "d", "e")
SCORE = Address("score", "m", "0", "d", "e", "x")
FAMILY = Address("set", "m", "", "d", "e", "x")
OTHER = Address("score", "n", "0", "b", "f", "y")


def test_what_is_added_is_no_change():
    assert changes_of({"seed": 0, "metric a": "1"}, {"seed": 0, "metric b": "2"}) == {}


def test_a_change_is_told_with_its_values_where_they_are_short():
    assert changes_of({"seed": 0, "explainer e": "a" * 64}, {"seed": 1, "explainer e": "b" * 64}) == {
        "seed": "seed was 0, now 1", "explainer e": "explainer e is not the same as it was",
    }  # fmt: skip


@pytest.mark.parametrize(("changed", "touched"), [
    (["seed"], [PREDICTION, MAP, SCORE, FAMILY, OTHER]),
    (["explainer e"], [MAP, SCORE, FAMILY, OTHER]),
    (["metric x"], [SCORE, FAMILY]),
    (["model m 0"], [PREDICTION, MAP, SCORE, FAMILY]),
    (["data b"], [OTHER]),
    (["metric x", "data b"], [SCORE, FAMILY, OTHER]),
])  # fmt: skip
def test_a_change_touches_what_may_depend_on_it(changed, touched):
    everything = [PREDICTION, MAP, SCORE, FAMILY, OTHER]
    assert [a for a in everything if contradicts(changed, a)] == touched
