"""Columns that several tables share."""

from __future__ import annotations

import traceback
from typing import Any

from xaibench.contracts import Sample


def sample_columns(sample: Sample | None) -> dict[str, Any]:
    """The columns that describe a sample; of a value that belongs to no sample, empty."""
    if sample is None:
        return {"sample": "", "group": "", "cross_group": None, "label": "", "method": None}
    return {
        "sample": sample.id,
        "group": sample.group,
        "cross_group": sample.cross_group,
        "label": sample.label,
        "method": sample.method,
    }


def describe(error: BaseException) -> str:
    """One line: the exception's type and text."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:500]


def trace_of(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))
