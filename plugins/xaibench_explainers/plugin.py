"""Registration of the built-in explainers and controls. Loads none of their code."""

from __future__ import annotations

from xaibench.api import ExplainerRecord, hookimpl
from xaibench_explainers.gradient.records import GRADIENT
from xaibench_explainers.perturbation.records import PERTURBATION
from xaibench_explainers.references import ADEBAYO_2018_SANITY, SHAPLEY_1953, SUNDARARAJAN_2020

XAIBENCH_API = "1"

_STANDARD = frozenset({"standard"})


@hookimpl
def xaibench_explainers() -> list[ExplainerRecord]:
    """The built-in explainers, then the controls that run beside them."""
    return [
        *PERTURBATION,
        *GRADIENT,
        ExplainerRecord(
            name="maps",
            target="xaibench_explainers.maps:Maps",
            summary="Maps made anywhere, also by people, one file a sample: maps:DIR.",
            signed=True,
            class_specific=False,
            note="whoever made the maps",
        ),
        ExplainerRecord(
            name="counterfactual-oracle",
            target="xaibench_explainers.counterfactual:CounterfactualOracle",
            summary="Exact Shapley values of regions that turn from the real counterpart into the fake.",
            needs=frozenset({"pair"}),
            signed=True,
            reference=True,
            references=(SHAPLEY_1953, SUNDARARAJAN_2020),
        ),
        *_controls(),
    ]


def _controls() -> list[ExplainerRecord]:
    return [
        ExplainerRecord(
            name="random",
            target="xaibench_explainers.controls:RandomMap",
            summary="Control: random values on a coarse grid, smoothed to the picture.",
            class_specific=False,
            control=True,
            model_independent=True,
            stochastic=True,
            presets=_STANDARD,
            note="own",
        ),
        ExplainerRecord(
            name="center-prior",
            target="xaibench_explainers.controls:CenterPrior",
            summary="Control: a Gaussian in the middle of the picture.",
            class_specific=False,
            control=True,
            model_independent=True,
            presets=_STANDARD,
            note="own",
        ),
        ExplainerRecord(
            name="face-hull",
            target="xaibench_explainers.controls:FaceHull",
            summary="Control: the convex hull of the face's landmarks.",
            needs=frozenset({"landmarks"}),
            class_specific=False,
            control=True,
            model_independent=True,
            note="own",
        ),
        ExplainerRecord(
            name="other-mask",
            target="xaibench_explainers.controls:OtherMask",
            summary="Control: the manipulation mask of somebody else's picture.",
            needs=frozenset({"mask", "stranger"}),
            control=True,
            model_independent=True,
            note="own",
        ),
        ExplainerRecord(
            name="edges",
            target="xaibench_explainers.controls:Edges",
            summary="Control: the picture's own edges.",
            class_specific=False,
            control=True,
            model_independent=True,
            presets=_STANDARD,
            references=(ADEBAYO_2018_SANITY,),
        ),
        ExplainerRecord(
            name="inverse",
            target="xaibench_explainers.controls:Inverse",
            summary="Control: another explainer's map upside down: inverse:of=NAME.",
            control=True,
            presets=_STANDARD,
            note="own",
        ),
        ExplainerRecord(
            name="mask-oracle",
            target="xaibench_explainers.controls:MaskOracle",
            summary="Control: the manipulation mask itself as the map.",
            needs=frozenset({"mask"}),
            control=True,
            model_independent=True,
            reference=True,
            presets=_STANDARD,
            note="own",
        ),
    ]
