"""Registration of the metrics of the family faithfulness. Loads none of their code."""

from __future__ import annotations

from xaibench.plugin import MetricRecord

_STANDARD = frozenset({"standard"})
_RISE = "Petsiuk, Das, Saenko: RISE, BMVC 2018, arXiv:1806.07421"

FAITHFULNESS: tuple[MetricRecord, ...] = (
    MetricRecord(
        name="deletion",
        target="xaibench_metrics.faithfulness.removal:Deletion",
        summary="Area under the score while the most salient pixels are removed first.",
        family="faithfulness",
        better="lower",
        presets=_STANDARD,
        source=_RISE,
    ),
    MetricRecord(
        name="insertion",
        target="xaibench_metrics.faithfulness.removal:Insertion",
        summary="Area under the score while the most salient pixels are shown first on a blurred picture.",
        family="faithfulness",
        better="higher",
        presets=_STANDARD,
        source=_RISE,
    ),
)
