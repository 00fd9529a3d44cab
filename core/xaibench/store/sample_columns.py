"""The columns that describe a sample, which several tables share, and the table ``samples``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa

from xaibench.api import Sample
from xaibench.store.schema import SAMPLES


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


def sample_table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    """The table ``samples`` of rows with the columns of the schema and any further ones."""
    further = dict.fromkeys(name for r in rows for name in r if name not in SAMPLES.names)
    fields = [pa.field(name, _type(r[name] for r in rows if r.get(name) is not None)) for name in further]
    schema = pa.schema([*SAMPLES, *fields], metadata=SAMPLES.metadata)
    texts = {f.name for f in fields if f.type == pa.string()}
    as_text = [{k: str(v) if k in texts and v is not None else v for k, v in row.items()} for row in rows]
    return pa.Table.from_pylist(as_text, schema=schema)


def _type(values: Iterable[object]) -> pa.DataType:
    kinds = {type(v) for v in values}
    if kinds <= {int}:
        return pa.int64()
    return pa.float64() if kinds <= {int, float} else pa.string()
