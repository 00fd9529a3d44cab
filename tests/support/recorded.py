"""Figures on record: where those of now differ from them."""

from __future__ import annotations

from typing import Any

import pytest


def differences(now: Any, before: Any, rel: float, where: str = "") -> list[str]:
    """Where two figures differ by more than the last digits, in which libraries may differ."""
    if isinstance(now, dict) and isinstance(before, dict):
        keys = now.keys() ^ before.keys()
        return (
            [f"{where}: {sorted(keys)}"]
            if keys
            else [d for k in now for d in differences(now[k], before[k], rel, f"{where}, {k}")]
        )
    if isinstance(now, list) and isinstance(before, list) and len(now) == len(before):
        return [
            d for i, (a, b) in enumerate(zip(now, before, strict=True)) for d in differences(a, b, rel, f"{where}, {i}")
        ]
    close = type(now) is float and type(before) is float and now == pytest.approx(before, rel=rel, abs=1e-9)
    return [] if close or (type(now) is type(before) and now == before) else [f"{where}: {before} is {now} now"]
