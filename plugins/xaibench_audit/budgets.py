"""Budgets of the audit: smaller than the measures' own defaults where those are made for larger pictures.

The pictures have 48 x 64 pixels, a sixteenth of 224 x 224, and the evidence is a twelfth to a sixteenth of them, so
that fewer steps, regions and subsets tell the same. A measure that is not named here runs as it is; a value given on
the command line (``--metric deletion:steps=50``) wins.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from xaibench import Registry, Use

_STEPS = "ten steps: each removes a good half of the evidence's area"
_SUBSETS = "its error shrinks with the root of the subsets, and pictures average it further"
_ATTACK = "a margin this smooth gives way steadily; the random regions are a control and not ranked"

Budget = tuple[Mapping[str, object], str]
_NES: Final[Mapping[str, object]] = {"steps": 12, "pairs": 8, "draws": 2}

BUDGETS: Final[Mapping[str, Budget]] = {
    "deletion": ({"steps": 10}, _STEPS),
    "insertion": ({"steps": 10}, _STEPS),
    "abpc": ({"steps": 10}, _STEPS),
    "accuracy-under-removal": ({"steps": 10}, _STEPS),
    "repair": ({"steps": 10}, _STEPS),
    "top-minus-random": ({"steps": 10, "draws": 4}, _STEPS),
    "region-perturbation": ({"regions": 20}, "20 patches of 8 x 8 are two fifths of the picture"),
    "irof": ({"count": 50}, "50 superpixels of 60 pixels, as 224 x 224 pictures have of 1000"),
    "accuracy-under-segment-removal": ({"count": 50}, "the superpixels of irof"),
    "road": ({"percentages": (20.0, 50.0, 80.0)}, _STEPS),
    "sensitivity-n": ({"shares": (0.05, 0.25), "subsets": 32}, _SUBSETS),
    "faithfulness-correlation": ({"share": 0.05, "subsets": 64}, "a twentieth: 1/224 of these would be 14 pixels"),
    "faithfulness-estimate": ({"blocks": 32}, _STEPS),
    "mufidelity": ({"subsets": 64}, _SUBSETS),
    "monotonicity": ({"steps": 16}, _STEPS),
    "monotonicity-correlation": ({"blocks": 16, "draws": 4}, _SUBSETS),
    "infidelity": ({"samples": 64}, _SUBSETS),
    "segment-attack": (
        {**_NES, "top": (3,), "segmentations": ("slic-50",), "ceiling": False},
        f"{_ATTACK}; the audit's maps use no superpixels, so one segmentation is enough",
    ),
    "counterpart-attack": ({**_NES, "ceiling": False}, _ATTACK),
    "guided-degradation": ({"controls": 1}, "the controls are not ranked"),
    "guided-degradation-explain2me": ({"controls": 1}, "the controls are not ranked"),
    "geometric-following": ({}, "its own defaults"),
    "noise-response": ({"levels": (0.05, 0.25)}, "a light and a heavy level"),
}


def metric_use(registry: Registry, spec: str) -> Use:
    """A metric with the audit's budget under the values given."""
    from xaibench import open_component

    registered = registry.find("metric", spec.partition(":")[0])
    own = budget(registered.origin.distribution, registered.record.name)
    return open_component("metric", spec, own, registry=registry)


def budget(distribution: str, metric: str) -> Mapping[str, object]:
    """Parameter values for a built-in metric; none for others', whose own defaults hold."""
    return BUDGETS[metric][0] if distribution == "xaibench" and metric in BUDGETS else {}
