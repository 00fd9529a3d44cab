"""Registration of the metrics of the family localisation. Loads none of their code."""

from __future__ import annotations

from xaibench.plugin import MetricRecord

_STANDARD = frozenset({"standard"})
_MASK = frozenset({"mask"})
_CLEVR_XAI = "Arras, Osman, Samek: CLEVR-XAI, Information Fusion 81, 2022, arXiv:2003.07258"

LOCALISATION: tuple[MetricRecord, ...] = (
    MetricRecord(
        name="pointing-game",
        target="xaibench_metrics.localisation.masks:PointingGame",
        summary="Whether the most salient pixel lies in the manipulation mask.",
        family="localisation",
        better="higher",
        needs=_MASK,
        presets=_STANDARD,
        source="Zhang et al.: Top-down neural attention by excitation backprop, ECCV 2016, arXiv:1608.00507",
    ),
    MetricRecord(
        name="relevance-mass",
        target="xaibench_metrics.localisation.masks:RelevanceMass",
        summary="Share of the positive saliency that lies in the manipulation mask, and its lift over chance.",
        family="localisation",
        better="higher",
        needs=_MASK,
        presets=_STANDARD,
        source=_CLEVR_XAI,
    ),
    MetricRecord(
        name="relevance-rank",
        target="xaibench_metrics.localisation.masks:RelevanceRank",
        summary="Share of the most salient pixels, as many as the mask has, that lie in it.",
        family="localisation",
        better="higher",
        needs=_MASK,
        presets=_STANDARD,
        source=_CLEVR_XAI,
    ),
)
