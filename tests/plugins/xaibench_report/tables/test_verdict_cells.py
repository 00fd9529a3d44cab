"""Verdicts against controls in the cells of a table."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from shaped_tables import CAM, INFO, ITEMS, MASS, RANDOM, UNEQUAL, ramp, rows, tables

from xaibench.api import UsageError
from xaibench_report.tables.run_table import RunTable, build_table
from xaibench_report.tables.table_request import make_request


def table(held: Any, *args: Any, **options: Any) -> RunTable:
    return build_table(held, INFO, make_request(*args, **options))


def test_verdicts_are_those_of_the_board_with_the_control_that_decides() -> None:
    chance = rows(RANDOM, {"swap": ramp(0.8, 12)[::-1], "warp": ramp(0.2, 24)[::-1]})
    low = rows("xaibench/lime", {"swap": ramp(0.1, 12), "warp": ramp(0.1, 24)})
    high = rows("xaibench/eigencam", {"swap": ramp(0.9, 12), "warp": ramp(0.9, 24)})
    held = tables([*UNEQUAL, *chance, *low, *high])
    specs = {**INFO.specs, (MASS, "relevance-mass"): replace(INFO.specs[MASS, "relevance-mass"], ranks_evidence=True)}
    found = build_table(held, replace(INFO, specs=specs), make_request(verdicts=True))
    (grid,) = found.grids
    assert {r.labels[0]: x[0].verdict.lines for r, x in zip(grid.rows, grid.cells, strict=True)} == {
        "eigencam": ("better",), "gradcam": ("not told apart", "(random)"), "rise": ("worse", "(random)"),
        "lime": ("worse", "(random)"),
    }  # fmt: skip
    assert grid.notes[-1].text == (
        "better: on average, paired and corrected, than every control (random); the control that decides stands in "
        "parentheses"
    )
    assert found.to_csv().splitlines()[:2] == [
        "explainer,relevance-mass,relevance-mass verdict,relevance-mass control,notes",
        "eigencam,0.9,better,,",
    ]
    assert found.to_arrow().select(["verdict", "control"]).to_pylist()[0] == {"verdict": "better", "control": None}
    lines = found.to_latex().splitlines()
    at = lines.index(r"\addlinespace")
    assert lines[at - 1] == r" & {\scriptsize better} \\"
    with pytest.raises(UsageError, match="a verdict is on all pictures, not by method"):
        table(held, columns="method", verdicts=True)


def test_a_score_that_only_describes_has_no_verdict_and_says_so() -> None:
    held = tables([*ITEMS, *(r | {"explainer": RANDOM} for r in ITEMS if r["explainer"] == CAM)])
    (grid,) = table(held, columns="score,k", score="accuracy", verdicts=True).grids
    assert {x.verdict.word for cells in grid.cells for x in cells} == {""}
    assert [n.text for n in grid.notes][-1] == "no explainer is held against a control here"
    (mass,) = table(tables(UNEQUAL), verdicts=True).grids
    assert mass.notes[0] == ("", "no verdict: the score is only shown")
