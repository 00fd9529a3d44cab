"""Registration of the metrics of the family robustness. Loads none of their code."""

from __future__ import annotations

from xaibench.api import MetricRecord

_HERE = "xaibench_metrics.robustness"

ROBUSTNESS: tuple[MetricRecord, ...] = (
    MetricRecord(
        name="max-sensitivity",
        target=f"{_HERE}.sensitivity:MaxSensitivity",
        summary="Largest and mean change of the map under small uniform noise.",
        family="robustness",
        better="lower",
        source="Yeh et al.: On the (In)fidelity and Sensitivity of Explanations, NeurIPS 2019, arXiv:1901.09392",
    ),
    MetricRecord(
        name="local-lipschitz",
        target=f"{_HERE}.sensitivity:LocalLipschitz",
        summary="Largest change of the map over the change of the picture, under normal noise.",
        family="robustness",
        better="lower",
        source="Alvarez-Melis, Jaakkola: On the Robustness of Interpretability Methods, 2018, arXiv:1806.08049",
    ),
    MetricRecord(
        name="relative-stability",
        target=f"{_HERE}.stability:RelativeStability",
        summary="Relative change of the map over the relative change of the picture, and over that of the logits.",
        family="robustness",
        better="lower",
        source="Agarwal et al.: Rethinking Stability for Attribution-based Explanations, 2022, arXiv:2203.06877",
    ),
    MetricRecord(
        name="continuity",
        target=f"{_HERE}.continuity:Continuity",
        summary="Largest change of the map over the change of the picture while it slides sideways.",
        family="robustness",
        better="lower",
        source="Montavon, Samek, Mueller: Methods for interpreting deep networks, DSP 73, 2018, arXiv:1706.07979",
    ),
    MetricRecord(
        name="compression-response",
        target=f"{_HERE}.compression:CompressionResponse",
        summary="What JPEG and halving change in the map, with its chance level, and in the verdict.",
        family="robustness",
        better="lower",
        source="xaibench",
    ),
    MetricRecord(
        name="parameter-randomisation",
        target=f"{_HERE}.randomisation:ParameterRandomisation",
        summary="How much of the map stays when the detector's layers are drawn anew.",
        family="robustness",
        better="lower",
        needs=frozenset({"gradients"}),
        source="Adebayo et al.: Sanity Checks for Saliency Maps, NeurIPS 2018, arXiv:1810.03292; "
        "Hedstroem et al.: Sanity Checks Revisited, 2023, arXiv:2401.06465",
    ),
    MetricRecord(
        name="random-logit",
        target=f"{_HERE}.random_logit:RandomLogit",
        summary="How much the map for another class is the same map.",
        family="robustness",
        better="lower",
        source="Sixt, Granz, Landgraf: When Explanations Lie, ICML 2020, arXiv:1912.09818",
    ),
)
