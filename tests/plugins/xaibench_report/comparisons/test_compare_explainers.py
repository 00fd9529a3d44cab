"""Two explainers of one run, from small tables whose numbers are known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from shaped_tables import ATTACK, CAM, DELETION, INFO, MASS, RISE, attacked, ramp, rows, tables

from xaibench.api import NothingToEvaluate, UsageError
from xaibench_report.comparisons.compare_explainers import compare_explainers
from xaibench_statistics import Values, paired_difference

COARSE = "xaibench/rise:masks=10"


def run() -> Any:
    falls = {"metric": DELETION, "score": "deletion", "better": "lower"}
    return tables([
        *rows(CAM, {"swap": [v + 0.19 + 0.02 * (i % 2) for i, v in enumerate(ramp(0.1, 12))]}),
        *rows(RISE, {"swap": ramp(0.1, 12)[:10]}),
        *rows(CAM, {"swap": ramp(0.1, 12)}, **falls),
        *rows(RISE, {"swap": [v + 0.09 + 0.02 * (i % 2) for i, v in enumerate(ramp(0.1, 12))]}, **falls),
        *(attacked(e, "swap", i, float(i < n), f"slic-50 top-{k}")
          for e, n in ((CAM, 4), (RISE, 9)) for k in (1, 2) for i in range(12)),
    ])  # fmt: skip


def test_the_first_less_the_second_on_the_pictures_of_both() -> None:
    by_score = {r.score: r for r in compare_explainers(run(), INFO, ["gradcam - rise"]).rows}
    mass, deletion = by_score["relevance-mass"], by_score["deletion"]
    assert (mass.explainer, mass.improved, deletion.improved) == ("gradcam - rise", True, True)
    assert mass.difference.value == pytest.approx(0.2) and (mass.difference.n, mass.difference.dropped) == (10, 2)
    assert deletion.difference.value == pytest.approx(-0.1)
    assert mass.first is not None and mass.second is not None and mass.first > mass.second
    assert deletion.first is not None and deletion.second is not None and deletion.first < deletion.second


def test_it_is_the_paired_difference_of_the_statistics() -> None:
    names, groups = [f"swap-{i:02d}" for i in range(12)], [f"swap-{i:02d}" for i in range(12)]
    a, b = (Values.of(names, [float(i < n) for i in range(12)], groups) for n in (4, 9))
    row = next(r for r in compare_explainers(run(), INFO, ["gradcam - rise"], ["accuracy top-2"]).rows)
    expected = paired_difference(a, b)
    assert (row.difference.value, row.difference.low, row.difference.high, row.difference.p) == (
        expected.value, expected.low, expected.high, expected.p,
    )  # fmt: skip


def test_the_score_that_is_named_alone_is_tested_and_adjusted_for() -> None:
    one = compare_explainers(run(), INFO, ["gradcam - rise"], ["accuracy top-1"]).rows
    assert [(r.metric, r.score) for r in one] == [(ATTACK, "accuracy slic-50 top-1")]
    assert one[0].difference.p_holm == one[0].difference.p
    two = compare_explainers(run(), INFO, ["gradcam - rise", "rise - gradcam"], ["accuracy top-1"]).rows
    assert [r.difference.p_holm for r in two] == [pytest.approx(min(1, 2 * (one[0].difference.p or 0)))] * 2
    assert [r.difference.value for r in two] == [pytest.approx(-5 / 12), pytest.approx(5 / 12)]


def test_the_first_of_the_pair_is_first_whatever_the_order_of_the_names() -> None:
    for text, sign in (("gradcam - rise", 1), ("rise - gradcam", -1)):
        for row in compare_explainers(run(), INFO, [text]).rows:
            cam_is_higher = 1 if row.score == "relevance-mass" else -1
            assert row.first is not None and row.second is not None
            assert (row.first - row.second) * sign * cam_is_higher > 0
            assert row.difference.value == pytest.approx(row.first - row.second)


def test_better_is_said_only_where_the_adjusted_p_shows_it() -> None:
    """Alone its p is below .05; beside others it is not, and the interval still excludes 0."""
    noisy = [v + 0.1 * (i % 4) - 0.06 for i, v in enumerate(ramp(0.1, 12))]
    table = tables([*rows(CAM, {"swap": ramp(0.1, 12)}), *rows(RISE, {"swap": noisy})])
    pair = ["rise - gradcam"]
    (alone,) = compare_explainers(table, INFO, pair).rows
    beside = compare_explainers(table, INFO, [*pair, *["gradcam - rise"] * 9]).rows[0]
    assert alone.improved is True and (alone.difference.p_holm or 1) < 0.05
    assert beside.difference.low == alone.difference.low and (alone.difference.low or 0) > 0
    assert beside.improved is None and (beside.difference.p_holm or 0) >= 0.05


def test_rows_stand_in_the_order_of_the_pairs_and_a_score_without_a_value_is_left_out() -> None:
    refused = [attacked(e, "real", 0, 0.0, "") | {"status": "undefined", "value": None} for e in (CAM, RISE)]
    table = tables(
        [*refused, *(attacked(e, "swap", i, float(i < 4), "slic-50 top-1") for e in (CAM, RISE) for i in range(9))]
    )
    rows = compare_explainers(table, INFO, ["rise - gradcam", "gradcam - rise"]).rows
    assert [(r.score, r.explainer) for r in rows] == [
        ("accuracy slic-50 top-1", "rise - gradcam"), ("accuracy slic-50 top-1", "gradcam - rise"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("pair", "words"),
    [("gradcam-rise", "is no pair"), ("gradcam - lime", "no explainer 'lime'"), ("gradcam - rise - x", "is no pair")],
)
def test_a_pair_that_is_none_is_refused(pair: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        compare_explainers(run(), INFO, [pair])


def test_a_name_of_several_explainers_has_to_be_written_in_full() -> None:
    both = tables([*rows(CAM, {"swap": ramp(0.1, 9)}), *rows(f"{RISE}:masks=9", {"swap": ramp(0.2, 9)}),
                   *rows(COARSE, {"swap": ramp(0.3, 9)})])  # fmt: skip
    with pytest.raises(UsageError) as error:
        compare_explainers(both, INFO, ["gradcam - rise"])
    assert "rise:masks=10" in (error.value.mend or "")
    swapped = tables([*rows(CAM, {"swap": ramp(0.1, 9)}), *rows(f"{RISE}:fill=grey,masks=9", {"swap": ramp(0.3, 9)})])
    assert len(compare_explainers(swapped, INFO, ["rise:masks=9,fill=grey - gradcam"]).rows) == 1
    (row,) = compare_explainers(both, INFO, ["rise:masks=10 - gradcam"]).rows
    assert row.difference.value == pytest.approx(0.2) and row.metric == MASS


def test_a_pair_without_a_common_score_is_nothing_to_compare() -> None:
    apart = tables([*rows(CAM, {"swap": ramp(0.1, 9)}),
                    *rows(RISE, {"swap": ramp(0.1, 9)}, metric=DELETION, score="deletion", better="lower")])  # fmt: skip
    with pytest.raises(NothingToEvaluate):
        compare_explainers(apart, INFO, ["gradcam - rise"])


def test_by_is_refused_with_the_command_that_does_it(tmp_path: Path, cli: Callable[..., tuple[int, str, str]]) -> None:
    code, _, err = cli("compare", tmp_path, "--pair", "gradcam - rise", "--by", "method")
    assert code == UsageError.exit_code
    assert "xaibench table RUN --columns COLUMN" in " ".join(err.split())
