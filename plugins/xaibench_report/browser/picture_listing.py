"""How one picture is listed, and by which columns of the samples pictures are filtered: on the page and by a server."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa

from xaibench.api import printable
from xaibench_report.browser.sample_entry import Row, prediction_words
from xaibench_report.values.run_values import Table, texts
from xaibench_statistics import Strings

_NO_FILTERS: Final = frozenset(
    {
        "dataset",
        "sample",
        "order",
        "group",
        "cross_group",
        "pair",
        "stranger",
        "face_size",
        "doubt",
        "digest",
        "stranger_digest",
        "picture",
        "pixel_digest",
        "fingerprint",
    }
)


def filter_columns(samples: Table, most_values: int) -> dict[str, Strings]:
    """The columns of text by which these samples are filtered, label and method first: those of two values or more, and
    of at most ``most_values``."""
    names = [f.name for f in samples.schema if f.name not in _NO_FILTERS and pa.types.is_string(f.type)]
    ordered = sorted(names, key=lambda n: (n not in ("label", "method"), n))
    columns = {name: texts(samples, name) for name in ordered}
    return {name: column for name, column in columns.items() if 1 < len(np.unique(column)) <= most_values}


def filter_values(columns: Mapping[str, Strings]) -> dict[str, list[str]]:
    """The values of each column as the page offers them."""
    return {
        printable(name): sorted({printable(str(value)) for value in np.unique(column) if value})
        for name, column in columns.items()
    }


def listed_picture(
    key: str, sample: str, reasons: Iterable[str], predictions: Sequence[Row], columns: Mapping[str, str]
) -> dict[str, Any]:
    """What the index says of one picture. ``key`` names its entry; ``predictions`` are those of all detectors."""
    words = [prediction_words(p) for p in predictions]
    return {
        "key": key,
        "sample": printable(sample),
        "reasons": list(reasons),
        "right": sorted({w["right"] for w in words}),
        "verdict": " / ".join(dict.fromkeys(w["verdict"] for w in words if w["verdict"])),
        "columns": {printable(name): printable(value) for name, value in columns.items()},
    }


def rows_by_sample(table: Table) -> dict[str, list[Row]]:
    """The rows of a table by their sample."""
    rows: dict[str, list[Row]] = {}
    for row in table.to_pylist():
        rows.setdefault(row["sample"], []).append(row)
    return rows
