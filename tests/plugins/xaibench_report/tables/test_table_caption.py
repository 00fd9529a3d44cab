"""What stands above and beneath a table."""

from __future__ import annotations

from typing import Any

from shaped_tables import CAM, DELETION, INFO, RISE, UNEQUAL, ramp, rows, tables

from xaibench_report.tables.run_table import RunTable, build_table
from xaibench_report.tables.table_request import make_request


def table(held: Any, *args: Any, **options: Any) -> RunTable:
    return build_table(held, INFO, make_request(*args, **options))


def test_titles_name_a_detector_once_and_what_no_header_says() -> None:
    more = [*UNEQUAL, *rows(CAM, {"swap": ramp(0.2, 12)}, metric=DELETION, score="deletion", better="lower")]
    held = tables(more)
    assert [g.title for g in table(held).grids] == ["Scores of the explanations of demo (demo-0) on faces"]
    assert [g.title for g in table(held, by="family").grids] == [
        "Faithfulness of the explanations of demo (demo-0) on faces",
        "Localisation of the explanations of demo (demo-0) on faces",
    ]
    assert [g.title for g in table(held, score="relevance-mass", by="method").grids] == [
        "Localisation of the explanations of demo (demo-0) on faces, method swap",
        "Localisation of the explanations of demo (demo-0) on faces, method warp",
    ]
    (grid,) = table(held, "model,explainer", "dataset", "relevance-mass").grids
    assert grid.title == "Relevance-mass (higher is better): explanations of member demo-0"


def test_captions_speak_of_intervals_only_where_there_are_any() -> None:
    few = tables([*rows(CAM, {"swap": ramp(0.8, 6), "warp": ramp(0.2, 6)})])
    (grid,) = table(few, columns="method", intervals=True).grids
    assert grid.caption == "Means over samples (first over the repeats of each). 6 samples of 6 groups per column."
    assert grid.notes[0] == ("", "6 groups, fewer than 10: no interval")
    (rowed,) = table(few, "method,explainer", "score").grids
    assert rowed.caption.endswith(" 6 samples of 6 groups per row.")
    (one,) = table(few, by="method,label").grids[:1]
    assert one.caption.endswith(" 6 samples of 6 groups.")


def test_bold_is_what_is_not_told_apart_from_the_best() -> None:
    three = [*UNEQUAL, *rows("xaibench/lime", {"swap": ramp(0.82, 12)[::-1], "warp": ramp(0.19, 24)[::-1]})]
    (grid,) = table(tables(three), columns="method", bold="best").grids
    best = {r.labels[0]: [x.best for x in cells] for r, cells in zip(grid.rows, grid.cells, strict=True)}
    assert best == {"gradcam": [True, False], "lime": [True, False], "rise": [False, True]}
    few = table(tables(rows(CAM, {"swap": ramp(0.8, 4)}) + rows(RISE, {"swap": ramp(0.2, 4)})), bold="best").grids[0]
    assert not any(x.best for row in few.cells for x in row)
    assert few.notes[-1].text == "nothing is bold: no ranks (4 groups, fewer than 10)"


def test_nothing_is_bold_where_all_are_level_and_under_a_gate() -> None:
    level = [*rows(CAM, {"swap": ramp(0.5, 12)}), *rows(RISE, {"swap": ramp(0.501, 12)[::-1]})]
    (grid,) = table(tables(level), bold="best").grids
    assert not any(x.best for row in grid.cells for x in row)
    assert grid.notes[-1].text == "nothing is bold: not told apart"
    flat = {"metric": DELETION, "score": "deletion", "better": "lower"}
    both = [*level, *rows(CAM, {"swap": [0.5] * 12}, **flat), *rows(RISE, {"swap": [0.5] * 12}, **flat)]
    (gated,) = table(tables(both), bold="best").grids
    assert [n.text for n in gated.notes[-2:]] == [
        "nothing is bold under relevance-mass: not told apart",
        "nothing is bold under deletion: no ranks by a gate (all means are 0.500, equal at the shown precision)",
    ]
    (alone,) = table(tables(rows(CAM, {"swap": ramp(0.5, 12)})), bold="best").grids
    assert alone.notes[-1].text == "nothing is bold: one explainer alone is ranked"
