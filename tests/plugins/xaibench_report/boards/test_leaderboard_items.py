"""Scores whose items are columns of their own, and cells in which a measure has no headroom."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from xaibench.api import Headroom, ScoreSpec
from xaibench.store.schema import COMMITS, PREDICTIONS, SCORES
from xaibench_report.boards.leaderboard import build_leaderboards
from xaibench_report.values.run_values import RunTables, ScoreInfo

HEADROOM = Headroom(ceiling="ceiling", random="random", ceiling_flip="ceiling-flip", random_flip="random-flip")
SPECS = {
    ("attack", "drop"): ScoreSpec(name="drop", better="higher", ranks_evidence=True, per_item=True, headroom=HEADROOM),
    ("attack", "published"): ScoreSpec(
        name="published", better="higher", per_item=True, ranked=False, why_not="saturates"
    ),
    **{
        ("attack", name): ScoreSpec(name=name, better="none", why_not="a control", primary=False, per_item=True)
        for name in ("ceiling", "random", "ceiling-flip", "random-flip")
    },
}
INFO = ScoreInfo(controls=frozenset(), families={"attack": "attack"}, specs=SPECS)


def rows(item: str, explainer: str, *, drop: float, **beside: float) -> list[dict[str, Any]]:
    """Twelve samples in as many groups; values vary a little from sample to sample."""
    found = []
    for i in range(12):
        for name, value in {"drop": drop, **beside}.items():
            wobble = 0 if "flip" in name else 0.01 * ((i * 7 + len(name)) % 5 - 2)
            found.append({
                "run": "r", "unit": "u", "cell": "c", "model": "m", "member": "", "dataset": "d", "sample": f"s{i}", "group": f"g{i}",
                "cross_group": None, "label": "fake", "method": "x", "prediction": "fake", "explainer": explainer,
                "target": "fake", "metric": "attack", "score": name.replace("_", "-"), "item": item, "scope": "sample",
                "definition": 1, "value": value + wobble, "better": "higher" if name in ("drop", "published") else "none",
                "status": "ok", "reason": None, "seed": 0, "repeat": 0,
            })  # fmt: skip
    return found


def boards(table: list[dict[str, Any]], info: ScoreInfo = INFO) -> Any:
    scores = pa.Table.from_pylist(table, schema=SCORES)
    tables = RunTables(scores=scores, predictions=PREDICTIONS.empty_table(), commits=COMMITS.empty_table())
    (board,) = build_leaderboards(tables, info).boards
    return board


def test_items_are_columns_and_are_not_averaged() -> None:
    board = boards([
        *rows("top-1", "a", drop=1.0, ceiling=2.0, random=0.5, ceiling_flip=0.8, random_flip=0.1),
        *rows("top-2", "a", drop=3.0, ceiling=4.0, random=0.5, ceiling_flip=0.9, random_flip=0.2),
    ])  # fmt: skip
    assert [c.score for c in board.columns] == ["drop top-1", "drop top-2"]
    assert [c.estimate.value for c in board.rows[0].cells] == pytest.approx([1.0, 3.0], abs=0.011)


@pytest.mark.parametrize(("beside", "word"), [
    ({"ceiling": 2.0, "random": 1.0, "ceiling_flip": 1.0, "random_flip": 0.95}, "saturated: random regions"),
    ({"ceiling": 2.0, "random": 1.0, "ceiling_flip": 0.05, "random_flip": 0.0}, "floored"),
    ({"ceiling": 1.0, "random": 1.0, "ceiling_flip": 0.5, "random_flip": 0.5}, "saturated: the measure's own ceiling"),
    ({"ceiling": 2.0, "random": 1.0, "ceiling_flip": 0.5, "random_flip": 0.5}, ""),
])  # fmt: skip
def test_a_score_without_headroom_keeps_its_values_and_ranks_nothing(beside: dict[str, float], word: str) -> None:
    board = boards([*rows("top-1", "a", drop=1.2, **beside), *rows("top-1", "b", drop=0.7, **beside)])
    for row in board.rows:
        (cell,) = row.cells
        assert cell is not None
        if word:
            assert cell.rank is None and cell.versus_best is None
            assert cell.estimate is not None  # the values stay
        else:
            assert cell.rank.rank == {"a": 1, "b": 2}[row.explainer]
    assert board.columns[0].withheld.startswith(word)
    assert (f"drop top-1: no ranks and no verdicts: {word}" in board.verdicts[0].sentence) == bool(word)


def test_an_explainer_whose_own_regions_leave_no_headroom_is_left_out_alone() -> None:
    good = {"ceiling": 2.0, "random": 0.1, "ceiling_flip": 0.5, "random_flip": 0.2}
    blind = good | {"random_flip": 0.95}
    table = [*rows("top-1", "a", drop=1.2, **good), *rows("top-1", "b", drop=0.7, **good)]
    board = boards([*table, *rows("top-1", "c", drop=1.9, **blind)])
    ranks = {row.explainer: row.cells[0].rank for row in board.rows}
    assert (ranks["a"].rank, ranks["b"].rank, ranks["c"]) == (1, 2, None)
    why = "saturated: random regions of the same area turn 95% of the verdicts"
    assert f"attack drop top-1: not ranked: c: {why}" in board.notes
    assert [v.explainer for v in board.verdicts[0].verdicts] == ["a", "b"]


def test_headroom_of_a_control_and_explainers_without_values_open_nothing() -> None:
    good = {"ceiling": 2.0, "random": 0.1, "ceiling_flip": 0.5, "random_flip": 0.2}
    blind = good | {"random_flip": 0.95}
    failed = [r | {"status": "failed", "value": None, "reason": "boom"} for r in rows("top-1", "b", drop=0.7)]
    table = [*rows("top-1", "a", drop=1.2, **blind), *failed, *rows("top-1", "random", drop=0.3, **good)]
    board = boards(table, replace(INFO, controls=frozenset(("random",))))
    assert board.columns[0].withheld.startswith("saturated: random regions")


def test_without_a_ceiling_the_ranks_stand_and_the_gate_is_not_measured() -> None:
    board = boards([*rows("top-1", "a", drop=1.2), *rows("top-1", "b", drop=0.7)])
    assert [row.cells[0].rank.rank for row in board.rows] == [1, 2]
    assert "attack drop top-1: not measured whether the measure's ceiling is told from random regions" in board.notes


def test_a_score_that_does_not_rank_is_shown_without_rank_or_test() -> None:
    board = boards([*rows("top-1", "a", drop=1.2, published=0.9), *rows("top-1", "b", drop=0.7, published=0.2)])
    assert [c.score for c in board.columns] == ["drop top-1", "published top-1"]
    for row in board.rows:
        drop, published = row.cells
        assert drop is not None and drop.rank is not None
        assert published is not None and published.estimate is not None
        assert published.rank is None and published.versus_best is None
    (said,) = (v.sentence for v in board.verdicts if v.score.startswith("published"))
    assert "saturates" in said


def test_too_few_groups_are_no_saturation() -> None:
    beside = {"ceiling": 1.0, "random": 1.2, "ceiling_flip": 0.5, "random_flip": 0.5}
    table = [r for e, d in (("a", 1.2), ("b", 0.7)) for r in rows("top-1", e, drop=d, **beside)]
    assert boards(table).columns[0].withheld.startswith("saturated: the measure's own ceiling")
    few = boards([r for r in table if int(r["group"][1:]) < 6])
    assert few.columns[0].withheld == ""
    assert all(row.cells[0].estimate is not None for row in few.rows)
