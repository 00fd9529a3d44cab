"""Every metric declares and gives what is on record: see :mod:`tests.support.recorded_metrics`."""

from __future__ import annotations

import json

from tests.support.recorded import differences
from tests.support.recorded_metrics import RECORD, figures


def test_figures_are_those_on_record() -> None:
    changed = differences(figures(), json.loads(RECORD.read_text(encoding="utf-8")), rel=1e-4)
    assert not changed, "where it is meant: python -m tests.support.recorded_metrics\n" + "\n".join(changed[:20])
