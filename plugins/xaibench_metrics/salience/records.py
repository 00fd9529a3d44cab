"""Registration of the metrics of the family salience. Loads none of their code."""

from __future__ import annotations

from xaibench.api import MetricRecord
from xaibench_metrics.faithfulness_references import BHATT_2020, NGUYEN_2020
from xaibench_metrics.references import CHALASANI_2020, CRUM_2023, HEDSTROM_2023

_STANDARD = frozenset({"standard"})
_AS_PUBLISHED = {"similarity": "ssim", "quantised": True}

SALIENCE: tuple[MetricRecord, ...] = (
    MetricRecord(
        name="entropy-histogram",
        target="xaibench_metrics.salience.entropy:HistogramEntropy",
        summary="Entropy of the map's grey values, blind to where they lie.",
        family="salience",
        better="lower",
        presets=_STANDARD,
        references=(CRUM_2023,),
    ),
    MetricRecord(
        name="entropy-spatial",
        target="xaibench_metrics.salience.entropy:SpatialEntropy",
        summary="Entropy of the map as a distribution over positions: low is focused.",
        family="salience",
        better="lower",
        presets=_STANDARD,
        references=(CRUM_2023,),
    ),
    MetricRecord(
        name="sparseness",
        target="xaibench_metrics.salience.complexity:Sparseness",
        summary="On how few pixels a map rests: Gini index, and Hoyer's sparseness.",
        family="salience",
        better="higher",
        references=(CHALASANI_2020,),
    ),
    MetricRecord(
        name="complexity",
        target="xaibench_metrics.salience.complexity:Complexity",
        summary="Entropy of the map's absolute values as a distribution over pixels.",
        family="salience",
        better="lower",
        references=(BHATT_2020,),
    ),
    MetricRecord(
        name="effective-complexity",
        target="xaibench_metrics.salience.complexity:EffectiveComplexity",
        summary="How many pixels have more than a negligible attribution.",
        family="salience",
        better="lower",
        references=(HEDSTROM_2023, NGUYEN_2020),
    ),
    MetricRecord(
        name="out-of-set",
        target="xaibench_metrics.salience.out_of_set:OutOfSet",
        summary="How the maps of a second dataset differ from the first's, class and confidence matched.",
        family="salience",
        scope="detector",
        needs=frozenset({"reference"}),
        references=(CRUM_2023,),
    ),
    MetricRecord(
        name="noise-response",
        version=3,  # no curve where a level has no value
        target="xaibench_metrics.salience.noise:NoiseResponse",
        summary="How alike the map stays under salt-and-pepper noise.",
        family="salience",
        better="higher",
        references=(CRUM_2023,),
    ),
    MetricRecord(
        name="noise-response-explain2me",
        version=4,
        target="xaibench_metrics.salience.noise:NoiseResponse",
        summary="The same as published: 8-bit maps, SSIM, each picture's own likeliest class.",
        family="salience",
        better="higher",
        references=(CRUM_2023,),
        parameters={
            **_AS_PUBLISHED,
            "class_rule": "argmax",
            "levels": (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0),
            "truncated": True,
        },
    ),
    MetricRecord(
        name="geometric-following",
        version=2,
        target="xaibench_metrics.salience.geometry:GeometricFollowing",
        summary="How well the map follows flips, shifts and quarter turns of the picture.",
        family="salience",
        better="higher",
        references=(CRUM_2023,),
    ),
    MetricRecord(
        name="geometric-following-explain2me",
        version=3,
        target="xaibench_metrics.salience.geometry:GeometricFollowing",
        summary="The same as published: upsampled 8-bit maps, SSIM, each picture's own likeliest class.",
        family="salience",
        better="higher",
        references=(CRUM_2023,),
        parameters={**_AS_PUBLISHED, "class_rule": "argmax", "size": "upscaled", "scaled": False, "margin": 0},
    ),
    MetricRecord(
        name="run-stability",
        version=2,
        target="xaibench_metrics.salience.stability:RunStability",
        summary="How alike the maps of independent training runs are.",
        family="salience",
        better="higher",
        scope="family",
        needs=frozenset({"family"}),
        references=(CRUM_2023,),
    ),
    MetricRecord(
        name="run-stability-explain2me",
        version=3,
        target="xaibench_metrics.salience.stability:RunStability",
        summary="The same as published: 8-bit maps before upsampling, SSIM.",
        family="salience",
        better="higher",
        scope="family",
        needs=frozenset({"family"}),
        references=(CRUM_2023,),
        parameters={**_AS_PUBLISHED, "same_class": False},
    ),
    MetricRecord(
        name="guided-degradation",
        version=2,
        target="xaibench_metrics.salience.degradation:GuidedDegradation",
        summary="What blurring the salient part costs beyond blurring the rest, area for area.",
        family="salience",
        better="higher",
        references=(CRUM_2023,),
    ),
    MetricRecord(
        name="guided-degradation-explain2me",
        version=3,
        target="xaibench_metrics.salience.degradation:GuidedDegradation",
        summary="The same as published: 8-bit maps and pictures, areas as they fall.",
        family="salience",
        better="higher",
        references=(CRUM_2023,),
        parameters={**_AS_PUBLISHED, "class_rule": "argmax", "matched": False, "scaled": False},
    ),
)
