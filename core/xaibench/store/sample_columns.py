"""The columns that describe a sample, which several tables share."""

from __future__ import annotations

from typing import Any

from xaibench.api import Sample


def sample_columns(sample: Sample | None) -> dict[str, Any]:
    """The columns that describe a sample. They are empty for a value that belongs to no sample."""
    if sample is None:
        return {"sample": "", "group": "", "cross_group": None, "label": "", "method": None}
    return {
        "sample": sample.id,
        "group": sample.group,
        "cross_group": sample.cross_group,
        "label": sample.label,
        "method": sample.method,
    }
