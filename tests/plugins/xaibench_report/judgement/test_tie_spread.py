"""What ties move decides no verdict and no rank, and is said."""

from dataclasses import replace

import numpy as np
import pytest
from leaderboard_tables import DELETION, INFO, build, column, score, tables

from xaibench.api import ScoreSpec
from xaibench_report.judgement.tie_spread import margin
from xaibench_report.values.run_values import cell_values
from xaibench_statistics import Rank

RANDOM = "xaibench/random"
BESIDE = {"better": "none", "primary": False, "why_not": "ties"}
TIED = replace(
    INFO,
    specs={
        (DELETION, "auc"): ScoreSpec(name="auc", better="lower", ranks_evidence=True, tie_spread="tie-spread"),
        (DELETION, "tied-share"): ScoreSpec(name="tied-share", **BESIDE),
        (DELETION, "tie-spread"): ScoreSpec(name="tie-spread", **BESIDE),
    },
)
MEANS = {"a": 0.2, "b": 0.3, RANDOM: 0.5}


def spread(explainer, value, n=12):
    return [score(explainer, value, i, score="tie-spread", better="none") for i in range(n)]


def share(explainer, value, n=12):
    return [score(explainer, value, i, score="tied-share", better="none") for i in range(n)]


def board(rows):
    (found,) = build(rows, TIED).boards
    return found


def test_the_margin_is_the_mean_spread_and_samples_without_one_count_zero():
    rows = [*spread("a", 0.3, n=4), score("a", 0, 4, score="tie-spread", status="not_applicable", reason="few ties")]
    (cell,) = cell_values(tables(rows).scores).values()
    samples = np.array([f"fake-{i:02d}" for i in range(6)])
    assert margin(cell, samples) == pytest.approx(4 * 0.3 / 6)
    assert margin(cell, samples[4:]) == margin(None, samples) == margin(cell, samples[:0]) == 0.0


def test_without_ties_the_verdict_stands():
    found = board([*column(MEANS), *spread("a", 0.29)])
    assert found.verdicts[0].sentence == "deletion auc: a, b are shown better than every control (random)."
    (a, b) = found.verdicts[0].verdicts
    assert [x.margin for x in (*a.against, *b.against)] == pytest.approx([0.29, 0.0])


def test_a_difference_that_ties_may_move_decides_nothing_and_says_so():
    found = board([*column(MEANS), *spread("a", 0.31)])
    assert found.verdicts[0].sentence == (
        "deletion auc: b is shown better than every control (random); not told apart: a (ties move deletion auc by 0.310)."
    )
    assert found.verdicts[0].verdicts[0].word == "not told apart"


def test_the_spread_of_a_control_counts_as_much():
    found = board([*column(MEANS), *spread(RANDOM, 0.25)])
    assert [v.word for v in found.verdicts[0].verdicts] == ["better", "not told apart"]


def test_what_was_not_told_apart_anyway_does_not_blame_ties():
    rng = np.random.default_rng(0)
    rows = [score(e, v, i) for e in ("a", RANDOM) for i, v in enumerate(rng.normal(size=12))]
    assert board([*rows, *spread("a", 5.0)]).verdicts[0].sentence == "deletion auc: not told apart: a."


@pytest.mark.parametrize(("moves", "ranks"), [
    (0.09, (Rank(rank=1, low=1, high=1), Rank(rank=2, low=2, high=2))),
    (0.11, (Rank(rank=1, low=1, high=2), Rank(rank=1, low=1, high=2))),
])  # fmt: skip
def test_explainers_within_what_ties_move_share_a_rank(moves, ranks):
    found = board([*column(MEANS), *spread("b", moves)])
    assert tuple(row.cells[0].rank for row in found.rows[:2]) == ranks


def test_much_that_is_tied_is_said_once_a_metric_and_stands_beside_the_score():
    rows = [*column(MEANS), *share("a", 0.97), *share("b", 0.19), *share(RANDOM, 0.9), *spread("a", 0.03)]
    found = board(rows)
    assert "deletion: tied pixels: a 97%; their order moves deletion auc by up to 0.030" in found.notes
    beside = {c.column.score: c.cells for c in found.beside}
    assert beside["tied-share"]["b"].estimate.value == pytest.approx(0.19)
    assert not any("tied pixels" in n for n in board([*column(MEANS), *share("b", 0.19)]).notes)


def test_ties_in_the_order_of_reading_are_said_not_to_be_measured():
    reading = replace(TIED, specs=TIED.specs | {(DELETION, "auc"): ScoreSpec(name="auc", better="lower")})
    (found,) = build([*column(MEANS), *share("a", 0.97)], reading).boards
    assert "deletion: tied pixels: a 97%; what another order would give was not computed" in found.notes
