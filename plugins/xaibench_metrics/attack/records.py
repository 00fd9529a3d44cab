"""Registration of the metrics of the family attack. Loads none of their code."""

from __future__ import annotations

from xaibench.plugin import MetricRecord

ATTACK: tuple[MetricRecord, ...] = ()
