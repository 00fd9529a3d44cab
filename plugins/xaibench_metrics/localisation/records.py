"""Registration of the metrics of the family localisation. Loads none of their code."""

from __future__ import annotations

from xaibench.api import MetricRecord

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
    MetricRecord(
        name="mask-auc",
        target="xaibench_metrics.localisation.masks:MaskAuc",
        summary="ROC AUC of the map as a score for lying in the manipulation mask.",
        family="localisation",
        better="higher",
        needs=_MASK,
        presets=_STANDARD,
        source="Fawcett: An introduction to ROC analysis, Pattern Recognition Letters 27, 2006",
    ),
    MetricRecord(
        name="iou",
        target="xaibench_metrics.localisation.overlap:Iou",
        summary="Overlap of the mask with as many of the most salient pixels, and with the map cut at one half.",
        family="localisation",
        better="higher",
        needs=_MASK,
        source="Tantaru, Oneata, Oneata: Weakly-supervised deepfake localization, WACV 2024, arXiv:2311.04584",
    ),
    MetricRecord(
        name="attribution-localisation",
        target="xaibench_metrics.localisation.masks:AttributionLocalisation",
        summary="Share of the saliency, signs dropped, that lies in the manipulation mask.",
        family="localisation",
        better="higher",
        needs=_MASK,
        source="Kohlbrenner et al.: Towards best practice in explaining with LRP, IJCNN 2020, arXiv:1910.09840",
    ),
    MetricRecord(
        name="top-k",
        target="xaibench_metrics.localisation.masks:TopK",
        summary="Share of the most salient pixels, a fixed share of the picture, that lie in the mask.",
        family="localisation",
        better="higher",
        needs=_MASK,
        source="Theiner, Mueller-Budack, Ewerth: Interpretable semantic photo geolocation, WACV 2022, arXiv:2104.14995",
    ),
)
