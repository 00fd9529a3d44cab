"""The plan: every (detector, dataset, explainer, metric) cell, what cannot run and why, and what the rest costs.

choice (names -> components) -> verifying (what detectors give on the data) -> cells (what runs, what not, passes)
-> making (the plan, its checks and notes).
"""

from xaibench.plan.choice import preset_members
from xaibench.plan.making import make_plan
from xaibench.plan.parts import (
    ArtefactCell,
    Cell,
    Plan,
    PlannedArtefact,
    PlannedDataset,
    PlannedExplainer,
    PlannedMember,
    PlannedMetric,
    PlannedModel,
)
from xaibench.plan.runtime import make_runtime

__all__ = [
    "ArtefactCell",
    "Cell",
    "Plan",
    "PlannedArtefact",
    "PlannedDataset",
    "PlannedExplainer",
    "PlannedMember",
    "PlannedMetric",
    "PlannedModel",
    "make_plan",
    "make_runtime",
    "preset_members",
]
