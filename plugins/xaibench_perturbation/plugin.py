"""Registration of the built-in fills. Loads none of their code."""

from __future__ import annotations

from xaibench.api import FillRecord, hookimpl
from xaibench_perturbation.references import RONG_2022, TSIGOS_2025

XAIBENCH_API = "1"

FILLS: tuple[FillRecord, ...] = (
    FillRecord(name="black", target="xaibench_perturbation.fills:black", summary="Black, 0."),
    FillRecord(name="grey", target="xaibench_perturbation.fills:grey", summary="Grey, 0.5."),
    FillRecord(name="white", target="xaibench_perturbation.fills:white", summary="White, 1."),
    FillRecord(name="mean", target="xaibench_perturbation.fills:mean", summary="The mean colour of the picture."),
    FillRecord(
        name="colour",
        target="xaibench_perturbation.explanation_fills:colour",
        summary="One colour, whatever the picture.",
        needs=frozenset({"colour"}),
    ),
    FillRecord(
        name="segment-mean",
        target="xaibench_perturbation.explanation_fills:segment_mean",
        summary="The mean colour of each segment.",
        needs=frozenset({"segments"}),
    ),
    FillRecord(
        name="blur",
        target="xaibench_perturbation.fills:blur",
        summary="The picture blurred by a Gaussian.",
        needs=frozenset({"sigma"}),
    ),
    FillRecord(
        name="noise",
        target="xaibench_perturbation.explanation_fills:noise",
        summary="Uniform noise in [0, 1].",
        needs=frozenset({"random"}),
    ),
    FillRecord(
        name="inpaint",
        target="xaibench_perturbation.explanation_fills:inpainted",
        summary="Each hole interpolated from its border.",
        needs=frozenset({"masks"}),
        references=(RONG_2022,),
    ),
    FillRecord(
        name="twin",
        target="xaibench_perturbation.explanation_fills:twin",
        summary="The adversarial twin: the picture after a small attack that makes the detector say real.",
        needs=frozenset({"twin"}),
        references=(TSIGOS_2025,),
    ),
    FillRecord(
        name="noise-twin",
        target="xaibench_perturbation.explanation_fills:noise_twin",
        summary="The twin's changes with random signs: as large, and aimed at nothing.",
        needs=frozenset({"twin", "random"}),
    ),
    FillRecord(
        name="counterpart",
        target="xaibench_perturbation.explanation_fills:counterpart",
        summary="The real picture that the fake was made from.",
        needs=frozenset({"pair"}),
    ),
    FillRecord(
        name="minimum",
        target="xaibench_perturbation.fills:minimum",
        summary="The least value of the picture over all channels, Quantus's black.",
    ),
)


@hookimpl
def xaibench_fills() -> tuple[FillRecord, ...]:
    """What replaces pixels that are switched off."""
    return FILLS
