"""Registration of the explainers that change the picture and watch the score. Loads none of their code."""

from __future__ import annotations

from xaibench.plugin import ExplainerRecord

_STANDARD = frozenset({"standard"})

PERTURBATION: tuple[ExplainerRecord, ...] = (
    ExplainerRecord(
        name="rise",
        target="xaibench_explainers.perturbation.rise:Rise",
        summary="Mean of random masks weighted by the score of the masked picture.",
        stochastic=True,
        presets=_STANDARD,
        source="Petsiuk, Das, Saenko: RISE, BMVC 2018, arXiv:1806.07421",
    ),
)
