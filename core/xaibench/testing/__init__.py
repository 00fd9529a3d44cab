"""The conformance kit: what holds for every component, as functions that a plugin's own tests can call.

::

    from xaibench.testing import parametrize_checks

    @parametrize_checks("xaibench-acme")
    def test_contract(check):
        check()

* :func:`check_component` runs every check of one component and returns what came of each.
* :func:`explain` and :func:`score` run an explainer or a metric outside of a run, exactly as a run does.
* :class:`PatchDetector` and its like are detectors whose evidence is known; :func:`planted_samples` has pictures.
* :func:`fake_distribution` installs a plugin into a folder without pip.

Importing this package does not import pytest.
"""

from __future__ import annotations

from xaibench.testing.checks import Case, cases, check_component, check_detector, check_names
from xaibench.testing.checks.subject import Subject
from xaibench.testing.distributions import fake_distribution
from xaibench.testing.harness import (
    DrawnBy,
    Member,
    drawn_by,
    explain,
    held,
    make_bench,
    score,
    score_model,
    score_set,
    value,
)
from xaibench.testing.planted import (
    ConstantDetector,
    DifferentiablePatchDetector,
    LinearDetector,
    Patch,
    PatchDetector,
    planted_family,
)
from xaibench.testing.planted_data import PlantedDataset, pictures_of, planted_samples
from xaibench.testing.pytest_cases import parametrize_checks
from xaibench.testing.violations import CheckResult, ContractViolation, NotApplicable
from xaibench.testing.worlds import World, awkward_worlds, bare, limited, planted_world

__all__ = [
    "Case",
    "CheckResult",
    "ConstantDetector",
    "ContractViolation",
    "DifferentiablePatchDetector",
    "DrawnBy",
    "LinearDetector",
    "Member",
    "NotApplicable",
    "Patch",
    "PatchDetector",
    "PlantedDataset",
    "Subject",
    "World",
    "awkward_worlds",
    "bare",
    "cases",
    "check_component",
    "check_detector",
    "check_names",
    "drawn_by",
    "explain",
    "fake_distribution",
    "held",
    "limited",
    "make_bench",
    "parametrize_checks",
    "pictures_of",
    "planted_family",
    "planted_samples",
    "planted_world",
    "score",
    "score_model",
    "score_set",
    "value",
]
