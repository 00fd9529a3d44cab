"""Registration of the metrics of the family robustness. Loads none of their code."""

from __future__ import annotations

from xaibench.plugin import MetricRecord

ROBUSTNESS: tuple[MetricRecord, ...] = ()
