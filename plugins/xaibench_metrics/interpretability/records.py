"""Registration of the metrics of the family interpretability. Loads none of their code."""

from __future__ import annotations

from xaibench.api import MetricRecord

_ACTIVATIONS = frozenset({"activations"})
_CONCEPT_WHITENING = "Chen, Bei, Rudin: Concept whitening for interpretable image recognition, Nature MI 2, 2020, "
_CAM = "Zhou et al.: Learning deep features for discriminative localization, CVPR 2016, arXiv:1512.04150"

INTERPRETABILITY: tuple[MetricRecord, ...] = (
    MetricRecord(
        name="channel-decorrelation",
        target="xaibench_metrics.interpretability.decorrelation:ChannelDecorrelation",
        summary="How far the channels of a layer are from uncorrelated and of unit variance.",
        family="interpretability",
        scope="model",
        better="lower",
        needs=_ACTIVATIONS,
        source=f"{_CONCEPT_WHITENING}arXiv:2002.01650",
    ),
    MetricRecord(
        name="axis-purity",
        target="xaibench_metrics.interpretability.axis_purity:AxisPurity",
        summary="Whether channel j answers to facial patch j, beside a random rotation of the channels.",
        family="interpretability",
        scope="model",
        better="higher",
        needs=_ACTIVATIONS,
        source=f"{_CONCEPT_WHITENING}arXiv:2002.01650",
    ),
    MetricRecord(
        name="region-share",
        target="xaibench_metrics.interpretability.regions:RegionShare",
        summary="Share of the channels' energy inside the manipulation mask and the hull of the landmarks.",
        family="interpretability",
        scope="model",
        better="higher",
        needs=_ACTIVATIONS,
    ),
    MetricRecord(
        name="cam-concentration",
        target="xaibench_metrics.interpretability.concentration:CamConcentration",
        summary="How much of the mean class activation map is high.",
        family="interpretability",
        scope="model",
        needs=_ACTIVATIONS | {"gradients"},
        source=_CAM,
    ),
)
