"""Records as plain data, for ``--json`` and for views."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any


def plain_data(record: Any) -> dict[str, Any]:
    """A dataclass as JSON-able data: tuples become lists, named tuples objects."""
    return asdict(record, dict_factory=plain)


def plain(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """The fields of a dataclass as JSON-able data, for ``asdict``."""
    return {key: _plain_value(value) for key, value in pairs}


def _plain_value(value: Any) -> Any:
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return plain(value._asdict().items())
    if isinstance(value, (tuple, list)):
        return [_plain_value(v) for v in value]
    return value
