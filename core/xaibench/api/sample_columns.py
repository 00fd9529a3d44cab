"""Further columns of samples: what a dataset tells of its pictures beside labels, methods and groups."""

from __future__ import annotations

import math
from collections.abc import Iterable

from xaibench.api.datasets import Sample
from xaibench.api.errors import DatasetError

SAMPLE_COLUMNS = frozenset(
    (
        "cross_group", "dataset", "digest", "doubt", "face_size", "fingerprint", "group", "id", "label", "method",
        "order", "pair", "picture", "pixel_digest", "reason", "sample", "split", "status", "stranger",
        "stranger_digest",
    )
)  # fmt: skip
"""Names that no further column may have: the table ``samples`` has columns of its own by them."""


def check_column_names(names: Iterable[str], where: str) -> None:
    """Raise :class:`DatasetError`, which begins with ``where``, for a name that is empty or taken.

    Upper and lower case are one, as they are to SQL.
    """
    seen: dict[str, str] = {}
    for name in names:
        if not name.strip():
            raise DatasetError(f"{where}: a further column has no name", "name it")
        if name.lower() in SAMPLE_COLUMNS:
            raise DatasetError(
                f"{where}: column {name!r} has the name of a column that xaibench itself writes of every sample",
                "rename it",
            )
        if seen.setdefault(name.lower(), name) != name:
            raise DatasetError(
                f"{where}: columns {seen[name.lower()]!r} and {name!r} differ in case alone", "rename one"
            )


def check_columns(samples: Iterable[Sample], where: str) -> None:
    """Raise :class:`DatasetError` unless ``Sample.columns`` of all samples of a dataset make up columns of a table.

    Each sample names a column at most once, in ascending order. A column holds text, or finite numbers.
    """
    kinds: dict[str, bool] = {}
    for sample in samples:
        if not sample.columns:
            continue
        names = [name for name, _ in sample.columns]
        if names != sorted(set(names)):
            raise DatasetError(f"{where}, sample {sample.id}: columns are not sorted by name, each once", "sort them")
        for name, value in sample.columns:
            is_text = isinstance(value, str)
            if not is_text and (
                isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value)
            ):
                raise DatasetError(
                    f"{where}, sample {sample.id}: column {name!r} holds {value!r}", "give text or finite numbers"
                )
            if kinds.setdefault(name, is_text) != is_text:
                raise DatasetError(f"{where}: column {name!r} holds both text and numbers", "write all as text")
    check_column_names(kinds, where)
