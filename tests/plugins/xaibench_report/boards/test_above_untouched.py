"""How often a curve rises above the untouched picture, on curves made by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from leaderboard_tables import WHERE, sample, score, tables

from xaibench.api import ScoreSpec
from xaibench.store.schema import CURVES
from xaibench_report.boards.above_untouched import AboveUntouched, CurvesKey, above_notes, above_untouched
from xaibench_report.boards.leaderboard import build_leaderboards
from xaibench_report.charts.mean_curves import MeanCurve, untouched_score
from xaibench_report.values.run_values import ScoreInfo, Where

DELETION, INSERTION, OTHER = "xaibench/deletion", "xaibench/insertion", "xaibench/noise-response"
PLACE = Where(WHERE["dataset"], WHERE["model"], WHERE["member"])
INFO = ScoreInfo(
    controls=frozenset(("xaibench/random",)),
    families={DELETION: "faithfulness", INSERTION: "faithfulness", OTHER: "salience"},
    specs={
        (DELETION, "auc"): ScoreSpec(name="auc", better="lower", untouched="start"),
        (INSERTION, "auc"): ScoreSpec(name="auc", better="higher", untouched="end"),
        (OTHER, "auc"): ScoreSpec(name="auc", better="higher"),
    },
)


def curve(
    i: int, y: list[float], *, metric: str = DELETION, explainer: str = "xaibench/gradcam", **changes: Any
) -> list[dict[str, Any]]:
    row = {**WHERE, **sample(i), "explainer": explainer, "metric": metric, "curve": "c", "item": "", "repeat": 0}
    x = np.linspace(0, 1, len(y)).tolist()
    return [row | changes | {"point": k, "x": x[k], "y": value} for k, value in enumerate(y)]


def found(*rows: list[dict[str, Any]]) -> dict[CurvesKey, AboveUntouched]:
    flat = [row for some in rows for row in some]
    one, other = (above_untouched(pa.Table.from_pylist(r, CURVES), INFO) for r in (flat, flat[::-1]))
    assert one == other, "the order of rows does not matter"
    return one


def test_shares_of_samples_by_hand() -> None:
    shares = found(
        curve(0, [0.5, 0.2, 0.1]),
        curve(1, [0.5, 0.9, 0.1]),  # above at one point; mean (.7 + .5) / 2 = .6
        curve(2, [0.5, 0.6, 0.0]),  # above at one point; mean (.55 + .3) / 2 = .425
        curve(3, [0.5, 0.505, 0.505]),  # by less than .01
    )
    assert shares == {CurvesKey(PLACE, DELETION, "xaibench/gradcam"): AboveUntouched(n=4, anywhere=0.5, average=0.25)}


def test_an_insertion_ends_with_the_untouched_picture() -> None:
    shares = found(*(curve(i, y, metric=INSERTION) for i, y in enumerate(([0.9, 0.2, 0.5], [0.1, 0.2, 0.5]))))
    assert shares[CurvesKey(PLACE, INSERTION, "xaibench/gradcam")] == AboveUntouched(n=2, anywhere=0.5, average=0.0)


def test_repeats_and_curves_are_averaged_within_their_sample() -> None:
    shares = found(
        curve(0, [0.5, 0.9]), curve(0, [0.5, 0.1], repeat=1), curve(0, [0.5, 0.1], curve="d"), curve(0, [0.5, 0.2], item="k"),
        curve(1, [0.5, 0.9]),
    )  # fmt: skip
    (share,) = shares.values()
    assert (share.n, share.anywhere) == (2, (0.25 + 1) / 2)


def test_only_declared_curves_count() -> None:
    assert found(curve(0, [0.1, 0.9], metric=OTHER)) == {}
    assert above_untouched(None, INFO) == {}
    assert above_untouched(pa.Table.from_pylist([], CURVES), INFO) == {}
    assert above_untouched(pa.Table.from_pylist(curve(0, [0.1, 0.9]), CURVES), ScoreInfo()) == {}


def test_the_board_says_so_explainers_first() -> None:
    rows = [*curve(0, [0.5, 0.9]), *curve(1, [0.5, 0.1]), *curve(0, [0.5, 0.9], explainer="xaibench/random")]
    held = tables([score("xaibench/gradcam", 0.5, metric=DELETION)])
    held = replace(held, curves=pa.Table.from_pylist(rows, CURVES))
    (board,) = build_leaderboards(held, INFO).boards
    assert board.notes[-1] == (
        "deletion: the fill is evidence itself where the curve rises above the untouched picture's score; "
        "share of samples: gradcam 50%, random 100%"
    )
    assert list(above_notes(PLACE, "salience", above_untouched(held.curves, INFO), INFO)) == []


def test_many_explainers_are_counted() -> None:
    shares = {CurvesKey(PLACE, DELETION, f"a/e{k}"): AboveUntouched(n=9, anywhere=k / 10, average=0) for k in range(9)}
    (note,) = above_notes(PLACE, "faithfulness", shares, INFO)
    assert note.endswith("a/e8 80%, a/e7 70%, a/e6 60% and 5 more")


@pytest.mark.parametrize(("metric", "score_at"), [(DELETION, 0.7), (INSERTION, 0.2), (OTHER, None)])
def test_the_line_of_a_figure(metric: str, score_at: float | None) -> None:
    lines = {"a": MeanCurve(np.asarray([0.0, 1.0]), np.asarray([0.7, 0.2]), 3, *np.full((2, 2), np.nan))}
    assert untouched_score(metric, lines, INFO) == score_at
    assert untouched_score(metric, {}, INFO) is None
