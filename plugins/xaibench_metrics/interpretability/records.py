"""Registration of the metrics of the family interpretability. Loads none of their code."""

from __future__ import annotations

from xaibench.api import MetricRecord
from xaibench_metrics.references import CHEN_2020, ZHOU_2016

_ACTIVATIONS = frozenset({"activations"})

INTERPRETABILITY: tuple[MetricRecord, ...] = (
    MetricRecord(
        name="channel-decorrelation",
        target="xaibench_metrics.interpretability.decorrelation:ChannelDecorrelation",
        summary="How far the channels of a layer are from uncorrelated and of unit variance.",
        family="interpretability",
        scope="model",
        better="lower",
        needs=_ACTIVATIONS,
        references=(CHEN_2020,),
    ),
    MetricRecord(
        name="axis-purity",
        target="xaibench_metrics.interpretability.axis_purity:AxisPurity",
        summary="Whether channel j answers to facial patch j, beside a random rotation of the channels.",
        family="interpretability",
        scope="model",
        better="higher",
        needs=_ACTIVATIONS,
        references=(CHEN_2020,),
    ),
    MetricRecord(
        name="region-share",
        target="xaibench_metrics.interpretability.regions:RegionShare",
        summary="Share of the channels' energy inside the manipulation mask and the hull of the landmarks.",
        family="interpretability",
        scope="model",
        better="higher",
        needs=_ACTIVATIONS,
        note="own",
    ),
    MetricRecord(
        name="cam-concentration",
        target="xaibench_metrics.interpretability.concentration:CamConcentration",
        summary="How much of the mean class activation map is high.",
        family="interpretability",
        scope="model",
        needs=_ACTIVATIONS | {"gradients"},
        references=(ZHOU_2016,),
    ),
)
