"""Registration of the built-in metrics. Loads none of their code."""

from __future__ import annotations

from xaibench.plugin import MetricRecord, hookimpl

XAIBENCH_API = 1

_STANDARD = frozenset({"standard"})
_MASK = frozenset({"mask"})
_RISE = "Petsiuk, Das, Saenko: RISE, BMVC 2018, arXiv:1806.07421"
_CLEVR_XAI = "Arras, Osman, Samek: CLEVR-XAI, Information Fusion 81, 2022, arXiv:2003.07258"
_EXPLAIN_TO_ME = "Boyd et al.: Explain To Me, IEEE TAI 2023, arXiv:2303.11969"


@hookimpl
def xaibench_metrics() -> list[MetricRecord]:
    """The built-in metrics."""
    return [
        MetricRecord(
            name="deletion",
            target="xaibench_metrics.removal:Deletion",
            summary="Area under the score while the most salient pixels are removed first.",
            family="faithfulness",
            better="lower",
            presets=_STANDARD,
            source=_RISE,
        ),
        MetricRecord(
            name="insertion",
            target="xaibench_metrics.removal:Insertion",
            summary="Area under the score while the most salient pixels are shown first on a blurred picture.",
            family="faithfulness",
            better="higher",
            presets=_STANDARD,
            source=_RISE,
        ),
        MetricRecord(
            name="pointing-game",
            target="xaibench_metrics.localisation:PointingGame",
            summary="Whether the most salient pixel lies in the manipulation mask.",
            family="localisation",
            better="higher",
            needs=_MASK,
            presets=_STANDARD,
            source="Zhang et al.: Top-down neural attention by excitation backprop, ECCV 2016, arXiv:1608.00507",
        ),
        MetricRecord(
            name="relevance-mass",
            target="xaibench_metrics.localisation:RelevanceMass",
            summary="Share of the positive saliency that lies in the manipulation mask, and its lift over chance.",
            family="localisation",
            better="higher",
            needs=_MASK,
            presets=_STANDARD,
            source=_CLEVR_XAI,
        ),
        MetricRecord(
            name="relevance-rank",
            target="xaibench_metrics.localisation:RelevanceRank",
            summary="Share of the most salient pixels, as many as the mask has, that lie in it.",
            family="localisation",
            better="higher",
            needs=_MASK,
            presets=_STANDARD,
            source=_CLEVR_XAI,
        ),
        MetricRecord(
            name="entropy-histogram",
            target="xaibench_metrics.entropy:HistogramEntropy",
            summary="Entropy of the map's grey values, blind to where they lie.",
            family="salience",
            better="lower",
            presets=_STANDARD,
            source=_EXPLAIN_TO_ME,
        ),
        MetricRecord(
            name="entropy-spatial",
            target="xaibench_metrics.entropy:SpatialEntropy",
            summary="Entropy of the map as a distribution over positions: low is focused.",
            family="salience",
            better="lower",
            presets=_STANDARD,
            source=_EXPLAIN_TO_ME,
        ),
    ]
