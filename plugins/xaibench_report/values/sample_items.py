"""Measures of a detector that have a value a sample: their rows hold the sample as the item."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from xaibench_report.values.run_values import ScoreInfo, Table

SAMPLE_COLUMNS = ("label", "method", "group", "cross_group")
"""What a row of ``scores`` says of its sample, as the table ``samples`` has it."""


def with_samples(scores: Table, samples: Table, info: ScoreInfo) -> Table:
    """The scores, those whose items are samples (``ScoreSpec.item_is_sample``) as values of these samples.

    Their ``item`` becomes ``sample``, and the columns of the sample are those of ``samples``, a table with ``dataset``,
    ``sample`` and :data:`SAMPLE_COLUMNS`. All other rows stay as they are.
    """
    wanted = sorted(f"{metric}\n{score}" for (metric, score), spec in info.specs.items() if spec.item_is_sample)
    if not wanted or not len(scores):
        return scores
    names = pc.binary_join_element_wise(scores["metric"], scores["score"], "\n")
    at = pc.index_in(_keys(scores, "item"), value_set=_keys(samples, "sample"))
    concerned = pc.and_(pc.is_in(names, pa.array(wanted)), pc.is_valid(at))
    columns = {"sample": scores["item"], "item": pa.scalar("")}
    columns |= {name: pc.take(samples[name].combine_chunks(), at) for name in SAMPLE_COLUMNS}
    for name, values in columns.items():
        column = pc.if_else(concerned, values, scores[name])
        scores = scores.set_column(scores.schema.get_field_index(name), scores.schema.field(name), column)
    return scores


def _keys(table: Table, sample: str) -> pa.Array:
    return pc.binary_join_element_wise(table["dataset"], table[sample], "\n").combine_chunks()
