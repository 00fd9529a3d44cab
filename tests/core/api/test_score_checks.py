"""What a metric may return."""

from __future__ import annotations

import math

import pytest

from xaibench.api import BadScores, Curve, Score, Scores, ScoreSpec, check_scores

SPECS = (ScoreSpec(name="hit", better="higher", low=0, high=1), ScoreSpec(name="miss", better="lower", low=0, high=1))
MISS = Score(name="miss", status="undefined", reason="nothing to miss")


def test_scores_that_keep_the_contract_come_back():
    for value in (0.0, 1.0, 1 + 5e-7):  # rounding may pass a bound
        scores = Scores((Score(name="hit", value=value), MISS), (Curve(name="hit", x=(0, 1), y=(1, 0)),))
        assert check_scores(scores, SPECS) == scores


@pytest.mark.parametrize(
    ("scores", "says"),
    [
        (None, "returned NoneType, not Scores"),
        (Scores((Score(name="hit", value=0.5),)), "no value for the declared score 'miss'"),
        (Scores((Score(name="other", value=0.5), MISS)), "'other' is not declared"),
        (Scores((Score(name="hit", value=1.1), MISS)), r"'hit' is 1.1, outside \[0, 1\]"),
        (Scores((Score(name="hit", value=math.nan), MISS)), "'hit' is nan; say undefined"),
        (Scores((Score(name="hit"), MISS)), "'hit' is None; say undefined"),
        (Scores((Score(name="hit", status="undefined"), MISS)), "needs a reason and no value"),
        (Scores((Score(name="hit", value=0.5, status="failed", reason="x"), MISS)), "needs a reason and no value"),
        (Scores((Score(name="hit", value=0.5), MISS), (Curve(name="c", x=(0, 1), y=(1,)),)), "has 2 x and 1 y"),
    ],
)
def test_scores_that_break_the_contract_are_refused(scores, says):
    with pytest.raises(BadScores, match=says):
        check_scores(scores, SPECS)
