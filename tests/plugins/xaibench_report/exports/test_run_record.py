"""What a record says that no table of a run holds."""

from __future__ import annotations

import pytest
from shaped_tables import CAM, DELETION, INFO, RISE, UNEQUAL, rows, tables

from xaibench_report.exports import run_record
from xaibench_report.exports.run_record import WithheldScore


def test_what_a_gate_withheld_is_that_of_the_boards(monkeypatch: pytest.MonkeyPatch) -> None:
    flat = [
        row
        for e in (CAM, RISE)
        for row in rows(e, {"swap": [0.5] * 12}, metric=DELETION, score="deletion", better="lower")
    ]
    monkeypatch.setattr(run_record, "read_run", lambda run: (tables([*UNEQUAL, *flat]), INFO))
    assert run_record._withheld("RUN") == (  # type: ignore[arg-type]
        WithheldScore(
            detector="demo (demo-0)",
            dataset="faces",
            score="deletion:steps=10",
            reason="all means are 0.500, equal at the shown precision",
        ),
    )
