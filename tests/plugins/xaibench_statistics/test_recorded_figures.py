"""Every statistic gives the figures on record: see :mod:`tests.support.recorded_statistics`."""

from __future__ import annotations

import json

from tests.support.recorded import differences
from tests.support.recorded_statistics import RECORD, figures


def test_figures_are_those_on_record() -> None:
    changed = differences(json.loads(json.dumps(figures())), json.loads(RECORD.read_text(encoding="utf-8")), rel=1e-7)
    assert not changed, "where it is meant: python -m tests.support.recorded_statistics\n" + "\n".join(changed[:20])


def test_a_changed_figure_is_seen() -> None:
    assert differences({"a": [1.0, 2]}, {"a": [1.0 + 1e-6, 2]}, 1e-7, "x") == ["x, a, 0: 1.000001 is 1.0 now"]
    assert differences({"a": [1.0, 2]}, {"a": [1.0 + 1e-12, 2]}, 1e-7) == []
    assert differences({"a": None}, {"a": 0.0}, 1e-7) and differences([1], [1, 2], 1e-7)
    assert differences({}, {"b": 1}, 1e-7) and differences(True, 1, 1e-7)
