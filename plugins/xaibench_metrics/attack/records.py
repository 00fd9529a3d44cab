"""Registration of the metrics of the family attack. Loads none of their code."""

from __future__ import annotations

from xaibench.api import MetricRecord

ATTACK: tuple[MetricRecord, ...] = (
    MetricRecord(
        name="segment-attack",
        target="xaibench_metrics.attack.segment_attack:SegmentAttack",
        summary="Fall of the verdict when the segments that a map puts first are attacked.",
        family="attack",
        better="higher",
        version=2,  # the score `grid-advantage` joined
        source="Tsigos et al.: Towards quantitative evaluation of explainable AI methods for deepfake detection, "
        "MAD 2024, arXiv:2404.18649",
    ),
    MetricRecord(
        name="counterpart-attack",
        target="xaibench_metrics.attack.counterpart_attack:CounterpartAttack",
        summary="Fall of the verdict when the fake is attacked where the map of its real counterpart is highest.",
        family="attack",
        better="higher",
        needs=frozenset({"pair"}),
        source="Gowrisankar, Thing: An adversarial attack approach for explainable AI evaluation on deepfake detection "
        "models, Computers & Security 139, 2024, arXiv:2312.06627",
    ),
)
