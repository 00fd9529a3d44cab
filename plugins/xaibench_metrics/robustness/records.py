"""Registration of the metrics of the family robustness. Loads none of their code."""

from __future__ import annotations

from xaibench.api import MetricRecord
from xaibench_metrics.faithfulness_references import YEH_2019
from xaibench_metrics.references import (
    ADEBAYO_2018_SANITY,
    AGARWAL_2022,
    ALVAREZ_MELIS_2018_ROBUSTNESS,
    HEDSTROM_2024,
    MONTAVON_2018,
    SIXT_2020,
)

_HERE = "xaibench_metrics.robustness"

ROBUSTNESS: tuple[MetricRecord, ...] = (
    MetricRecord(
        name="max-sensitivity",
        target=f"{_HERE}.sensitivity:MaxSensitivity",
        summary="Largest and mean change of the map under small uniform noise.",
        family="robustness",
        better="lower",
        references=(YEH_2019,),
    ),
    MetricRecord(
        name="local-lipschitz",
        target=f"{_HERE}.sensitivity:LocalLipschitz",
        summary="Largest change of the map over the change of the picture, under normal noise.",
        family="robustness",
        better="lower",
        references=(ALVAREZ_MELIS_2018_ROBUSTNESS,),
    ),
    MetricRecord(
        name="relative-stability",
        target=f"{_HERE}.stability:RelativeStability",
        summary="Relative change of the map over the relative change of the picture, and over that of the logits.",
        family="robustness",
        better="lower",
        references=(AGARWAL_2022,),
    ),
    MetricRecord(
        name="continuity",
        target=f"{_HERE}.continuity:Continuity",
        summary="Largest change of the map over the change of the picture while it slides sideways.",
        family="robustness",
        better="lower",
        references=(MONTAVON_2018,),
    ),
    MetricRecord(
        name="compression-response",
        target=f"{_HERE}.compression:CompressionResponse",
        summary="What JPEG and halving change in the map, with its chance level, and in the verdict.",
        family="robustness",
        better="lower",
        note="own",
    ),
    MetricRecord(
        name="parameter-randomisation",
        target=f"{_HERE}.randomisation:ParameterRandomisation",
        summary="How much of the map stays when the detector's layers are drawn anew.",
        family="robustness",
        better="lower",
        needs=frozenset({"gradients"}),
        references=(ADEBAYO_2018_SANITY, HEDSTROM_2024),
    ),
    MetricRecord(
        name="random-logit",
        target=f"{_HERE}.random_logit:RandomLogit",
        summary="How much the map for another class is the same map.",
        family="robustness",
        better="lower",
        references=(SIXT_2020,),
    ),
)
