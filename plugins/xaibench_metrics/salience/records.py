"""Registration of the metrics of the family salience. Loads none of their code."""

from __future__ import annotations

from xaibench.plugin import MetricRecord

_STANDARD = frozenset({"standard"})
_EXPLAIN_TO_ME = "Boyd et al.: Explain To Me, IEEE TAI 2023, arXiv:2303.11969"

SALIENCE: tuple[MetricRecord, ...] = (
    MetricRecord(
        name="entropy-histogram",
        target="xaibench_metrics.salience.entropy:HistogramEntropy",
        summary="Entropy of the map's grey values, blind to where they lie.",
        family="salience",
        better="lower",
        presets=_STANDARD,
        source=_EXPLAIN_TO_ME,
    ),
    MetricRecord(
        name="entropy-spatial",
        target="xaibench_metrics.salience.entropy:SpatialEntropy",
        summary="Entropy of the map as a distribution over positions: low is focused.",
        family="salience",
        better="lower",
        presets=_STANDARD,
        source=_EXPLAIN_TO_ME,
    ),
)
