"""Registration of the metrics of the family attack. Loads none of their code."""

from __future__ import annotations

from xaibench.api import MetricRecord
from xaibench_metrics.faithfulness_references import GOWRISANKAR_2024
from xaibench_perturbation import TSIGOS_2024

ATTACK: tuple[MetricRecord, ...] = (
    MetricRecord(
        name="segment-attack",
        target="xaibench_metrics.attack.segment_attack:SegmentAttack",
        summary="Fall of the verdict when the segments that a map puts first are attacked.",
        family="attack",
        better="higher",
        version=2,  # the score `grid-advantage` joined
        references=(TSIGOS_2024,),
    ),
    MetricRecord(
        name="counterpart-attack",
        target="xaibench_metrics.attack.counterpart_attack:CounterpartAttack",
        summary="Fall of the verdict when the fake is attacked where the map of its real counterpart is highest.",
        family="attack",
        better="higher",
        needs=frozenset({"pair"}),
        references=(GOWRISANKAR_2024,),
    ),
)
