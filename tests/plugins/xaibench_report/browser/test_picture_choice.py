"""Which pictures the browser holds, by hand."""

import numpy as np
import pyarrow as pa
import pytest
from report_tables import METRIC, run_tables

from xaibench.api import ScoreSpec
from xaibench.store.schema import SCORES
from xaibench_report.browser.picture_choice import (
    PictureValues,
    agreement,
    choose_pictures,
    choosing_score,
    drawn,
    goodness,
    rule,
)
from xaibench_report.values.run_values import ScoreInfo

NAMES = [f"s{i:02d}" for i in range(40)]
VALUES = PictureValues(
    score="relevance-mass", better="higher", goodness={n: float(i) for i, n in enumerate(NAMES[:20])},
    agreement={"s30": -0.5, "s31": 0.9, "s19": 0.1}, looked_at=3,
)  # fmt: skip


def test_a_fifth_each_is_best_median_worst_and_disputed_and_the_rest_is_drawn():
    chosen = choose_pictures(NAMES, VALUES, 10)
    assert [s for s, r in chosen.items() if "best" in r] == ["s18", "s19"]
    assert [s for s, r in chosen.items() if "median" in r] == ["s09", "s10"]
    assert [s for s, r in chosen.items() if "worst" in r] == ["s00", "s01"]
    assert chosen["s19"] == ("best", "disputed") and chosen["s30"] == ("disputed",)
    assert len(chosen) == 10 and sum(r == ("random",) for r in chosen.values()) == 3
    assert list(chosen.items()) == list(choose_pictures(NAMES[::-1], VALUES, 10).items())


def test_where_all_pictures_fit_all_are_there():
    chosen = choose_pictures(NAMES, VALUES, 100)
    assert set(chosen) == set(NAMES)
    assert choose_pictures([], VALUES, 10) == {}
    assert len(choose_pictures(NAMES, VALUES, 1)) == 1


def test_without_a_score_the_rule_says_so():
    bare = PictureValues(score="", better="", goodness={}, agreement={}, looked_at=0)
    assert {r for reasons in choose_pictures(NAMES, bare, 10).values() for r in reasons} == {"random"}
    assert "No score tells good pictures from bad ones" in rule(bare, 10, 40)
    assert rule(VALUES, 10, 40).startswith(
        "10 of 40 pictures with maps. Best, median and worst are told by relevance-mass"
    )


def test_names_are_drawn_by_a_fixed_seed_in_any_order():
    assert drawn(NAMES, 5) == drawn(NAMES[::-1], 5)
    assert len(set(drawn(NAMES, 40))) == 40


def test_agreement_is_the_mean_rank_correlation():
    ramp = np.arange(16.0).reshape(4, 4)
    assert agreement([ramp, ramp**3, -ramp]) == pytest.approx((1 - 1 - 1) / 3)
    assert agreement([ramp, np.ones((4, 4))]) is None


def test_localisation_chooses_where_there_is_any():
    mass = "xaibench/relevance-mass"
    tables = run_tables()
    rows = [r | {"metric": mass, "score": "mass", "better": "higher"} for r in tables.scores.to_pylist()]
    both = pa.concat_tables([tables.scores, pa.Table.from_pylist(rows, schema=SCORES)])
    info = ScoreInfo(families={METRIC: "faithfulness", mass: "localisation"})
    assert choosing_score(both, info) == (mass, "mass")
    assert choosing_score(tables.scores, info) == (METRIC, "auc")
    hidden = ScoreInfo(
        families=info.families,
        specs={(mass, "mass"): ScoreSpec(name="mass", better="higher", primary=False, why_not="x")},
    )
    assert choosing_score(both, hidden) == (METRIC, "auc")
    assert choosing_score(tables.scores.slice(0, 0), info) is None


def test_goodness_is_the_mean_over_explainers_oriented_and_without_controls():
    """Lower is better of the hand-made scores: 0.1 k + 0.01 i + 0.001 k i of explainer k on sample i."""
    scores = run_tables().scores
    info = ScoreInfo(controls=frozenset({"xaibench/random"}))
    values, better = goodness(scores, info, (METRIC, "auc"))
    assert better == "lower" and values["s03"] == pytest.approx(-0.03)
    rows = [
        r | ({"status": "failed", "value": None, "reason": "x"} if r["sample"] == "s03" else {})
        for r in scores.to_pylist()
    ]
    assert "s03" not in goodness(pa.Table.from_pylist(rows, schema=SCORES), info, (METRIC, "auc"))[0]
