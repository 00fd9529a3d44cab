"""Registration of the built-in explainers and controls. Loads none of their code."""

from __future__ import annotations

from xaibench.api import ExplainerRecord, hookimpl
from xaibench_explainers.gradient.records import GRADIENT
from xaibench_explainers.perturbation.records import PERTURBATION

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
        ),
        ExplainerRecord(
            name="counterfactual-oracle",
            target="xaibench_explainers.counterfactual:CounterfactualOracle",
            summary="Exact Shapley values of regions that turn from the real counterpart into the fake.",
            needs=frozenset({"pair"}),
            signed=True,
            reference=True,
            source="Shapley: A value for n-person games, 1953; baseline form: Sundararajan, Najmi, arXiv:1908.08474",
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
        ),
        ExplainerRecord(
            name="center-prior",
            target="xaibench_explainers.controls:CenterPrior",
            summary="Control: a Gaussian in the middle of the picture.",
            class_specific=False,
            control=True,
            model_independent=True,
            presets=_STANDARD,
        ),
        ExplainerRecord(
            name="face-hull",
            target="xaibench_explainers.controls:FaceHull",
            summary="Control: the convex hull of the face's landmarks.",
            needs=frozenset({"landmarks"}),
            class_specific=False,
            control=True,
            model_independent=True,
        ),
        ExplainerRecord(
            name="other-mask",
            target="xaibench_explainers.controls:OtherMask",
            summary="Control: the manipulation mask of somebody else's picture.",
            needs=frozenset({"mask", "stranger"}),
            control=True,
            model_independent=True,
        ),
        ExplainerRecord(
            name="edges",
            target="xaibench_explainers.controls:Edges",
            summary="Control: the picture's own edges.",
            class_specific=False,
            control=True,
            model_independent=True,
            presets=_STANDARD,
            source="Adebayo et al.: Sanity checks for saliency maps, NeurIPS 2018, arXiv:1810.03292",
        ),
        ExplainerRecord(
            name="inverse",
            target="xaibench_explainers.controls:Inverse",
            summary="Control: another explainer's map upside down: inverse:of=NAME.",
            control=True,
            presets=_STANDARD,
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
        ),
    ]
