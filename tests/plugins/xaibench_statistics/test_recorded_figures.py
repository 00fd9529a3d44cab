"""Every statistic gives the figures on record: see :mod:`tests.support.recorded_statistics`."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.support.recorded_statistics import RECORD, figures


def differences(now: Any, before: Any, where: str) -> list[str]:
    """Where two figures differ by more than the last digits, in which libraries may differ."""
    if isinstance(now, dict) and isinstance(before, dict):
        keys = now.keys() ^ before.keys()
        return (
            [f"{where}: {sorted(keys)}"]
            if keys
            else [d for k in now for d in differences(now[k], before[k], f"{where}, {k}")]
        )
    if isinstance(now, list) and isinstance(before, list) and len(now) == len(before):
        return [d for i, (a, b) in enumerate(zip(now, before, strict=True)) for d in differences(a, b, f"{where}, {i}")]
    close = type(now) is float and type(before) is float and now == pytest.approx(before, rel=1e-7, abs=1e-12)
    return [] if close or (type(now) is type(before) and now == before) else [f"{where}: {before} is {now} now"]


def test_figures_are_those_on_record() -> None:
    changed = differences(json.loads(json.dumps(figures())), json.loads(RECORD.read_text(encoding="utf-8")), "")
    assert not changed, "where the change is meant: python -m tests.support.recorded_statistics\n" + "\n".join(
        changed[:20]
    )


def test_a_changed_figure_is_seen() -> None:
    assert differences({"a": [1.0, 2]}, {"a": [1.0 + 1e-6, 2]}, "x") == ["x, a, 0: 1.000001 is 1.0 now"]
    assert differences({"a": [1.0, 2]}, {"a": [1.0 + 1e-12, 2]}, "x") == []
    assert (
        differences({"a": None}, {"a": 0.0}, "x") and differences([1], [1, 2], "x") and differences({}, {"b": 1}, "x")
    )
    assert differences(True, 1, "x")
