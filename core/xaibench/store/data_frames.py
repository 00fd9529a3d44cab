"""Arrow tables as data frames of libraries that need not be installed."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from xaibench.api import UsageError

if TYPE_CHECKING:
    import pyarrow as pa


def pandas_frame(table: pa.Table) -> Any:
    """The table as a pandas data frame. Raises :class:`UsageError` where pandas is not installed."""
    _import("pandas")
    return table.to_pandas()


def polars_frame(table: pa.Table) -> Any:
    """The table as a polars data frame. Raises :class:`UsageError` where polars is not installed."""
    return _import("polars").from_arrow(table)


def _import(library: str) -> Any:
    try:
        return importlib.import_module(library)
    except ImportError:
        raise UsageError(f"{library} is not installed", f"pip install {library}, or take to_arrow()") from None
