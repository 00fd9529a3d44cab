"""Differences of two runs by the values of a column, from small tables whose numbers are known."""

from __future__ import annotations

from typing import Any

import pytest
from shaped_tables import CAM, INFO, MASS, RISE, ramp, rows, tables

from xaibench.api import NothingToEvaluate, UsageError
from xaibench_report.comparisons.compare import compare_runs
from xaibench_report.comparisons.compare_by_column import compare_by_column


def run(swap: float, warp: float, n: int = 12) -> Any:
    wiggle = [v * (1 + swap) for v in ramp(0, n)]
    found = {"swap": [swap + w for w in wiggle], "warp": [warp + w / 2 for w in wiggle]}
    return tables([*rows(CAM, found), *rows(RISE, {"swap": ramp(0.3, n)})])


def test_a_difference_for_each_value() -> None:
    first, second = run(0.2, 0.5), run(0.5, 0.5)
    (grid,) = compare_by_column(first, second, INFO, "method").grids
    assert (grid.title, grid.by) == ("relevance-mass ↑ by method, demo (demo-0) on faces", {"score": "relevance-mass"})
    assert [(c.labels, c.size) for c in grid.columns] == [(("swap",), 12), (("warp",), 12)]
    gradcam, rise = grid.cells
    assert [round(c.estimate.value, 6) for c in gradcam if c.estimate] == [0.3, 0.0]
    assert [c.best for c in gradcam] == [True, False]
    assert rise[1].estimate is None and dict(grid.notes)[rise[1].mark] == "no common samples"


def test_each_is_that_of_the_runs_restricted_to_the_value() -> None:
    first, second = run(0.2, 0.5), run(0.5, 0.7)
    warps = [
        tables(rows(CAM, {"warp": [r["value"] for r in t.scores.to_pylist() if r["method"] == "warp"]}))
        for t in (first, second)
    ]
    (alone,) = compare_runs(*warps, INFO).rows
    estimate = compare_by_column(first, second, INFO, "method").grids[0].cells[0][1].estimate
    assert estimate is not None
    assert (estimate.value, estimate.low, estimate.high) == (
        alone.difference.value,
        alone.difference.low,
        alone.difference.high,
    )


def test_samples_go_by_what_the_second_run_knows() -> None:
    kinds = {f"swap-{i:02d}": ("c0", "c40")[i % 2] for i in range(12)}
    first, second = tables(rows(CAM, {"swap": [0.2] * 12})), tables(rows(CAM, {"swap": [0.2, 0.6] * 6}), codec=kinds)
    (grid,) = compare_by_column(first, second, INFO, "codec").grids
    assert [
        (c.labels[0], round(x.estimate.value, 6))
        for c, x in zip(grid.columns, grid.cells[0], strict=True)
        if x.estimate
    ] == [("c0", 0.0), ("c40", 0.4)]


def test_wrong_columns_and_runs_without_common_scores_are_refused() -> None:
    with pytest.raises(UsageError) as error:
        compare_by_column(run(0, 0), run(0, 0), INFO, "metod")
    assert error.value.mend.startswith("there are method, ")
    with pytest.raises(NothingToEvaluate, match="no score of samples in common"):
        compare_by_column(run(0, 0), tables(rows(CAM, {"swap": [0.1] * 4}, metric=f"{MASS}:x=1")), INFO, "method")
