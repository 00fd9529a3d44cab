"""Registration of the metrics of the family localisation. Loads none of their code."""

from __future__ import annotations

from xaibench.api import MetricRecord
from xaibench_metrics.references import (
    ARRAS_2022,
    FAWCETT_2006,
    KOHLBRENNER_2020,
    TANTARU_2024,
    THEINER_2022,
    ZHANG_2016,
)

_STANDARD = frozenset({"standard"})
_MASK = frozenset({"mask"})

LOCALISATION: tuple[MetricRecord, ...] = (
    MetricRecord(
        name="pointing-game",
        target="xaibench_metrics.localisation.masks:PointingGame",
        summary="Whether the most salient pixel lies in the manipulation mask.",
        family="localisation",
        better="higher",
        needs=_MASK,
        presets=_STANDARD,
        references=(ZHANG_2016,),
        version=2,  # the score `chance` joined
    ),
    MetricRecord(
        name="relevance-mass",
        target="xaibench_metrics.localisation.masks:RelevanceMass",
        summary="Share of the positive saliency that lies in the manipulation mask, and its lift over chance.",
        family="localisation",
        better="higher",
        needs=_MASK,
        presets=_STANDARD,
        references=(ARRAS_2022,),
    ),
    MetricRecord(
        name="relevance-rank",
        target="xaibench_metrics.localisation.masks:RelevanceRank",
        summary="Share of the most salient pixels, as many as the mask has, that lie in it.",
        family="localisation",
        better="higher",
        needs=_MASK,
        presets=_STANDARD,
        references=(ARRAS_2022,),
    ),
    MetricRecord(
        name="mask-auc",
        target="xaibench_metrics.localisation.masks:MaskAuc",
        summary="ROC AUC of the map as a score for lying in the manipulation mask.",
        family="localisation",
        better="higher",
        needs=_MASK,
        presets=_STANDARD,
        references=(FAWCETT_2006,),
    ),
    MetricRecord(
        name="iou",
        target="xaibench_metrics.localisation.overlap:Iou",
        summary="Overlap of the mask with as many of the most salient pixels, and with the map cut at one half.",
        family="localisation",
        better="higher",
        needs=_MASK,
        references=(TANTARU_2024,),
    ),
    MetricRecord(
        name="attribution-localisation",
        target="xaibench_metrics.localisation.masks:AttributionLocalisation",
        summary="Share of the saliency, signs dropped, that lies in the manipulation mask.",
        family="localisation",
        better="higher",
        needs=_MASK,
        references=(KOHLBRENNER_2020,),
    ),
    MetricRecord(
        name="top-k",
        target="xaibench_metrics.localisation.masks:TopK",
        summary="Share of the most salient pixels, a fixed share of the picture, that lie in the mask.",
        family="localisation",
        better="higher",
        needs=_MASK,
        references=(THEINER_2022,),
    ),
)
