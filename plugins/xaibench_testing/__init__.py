"""The conformance kit: what holds for every component, as functions that a plugin's own tests can call.

::

    from xaibench_testing import parametrize_checks

    @parametrize_checks("xaibench-acme")
    def test_contract(check):
        check()

* :func:`check_component` runs every check of one component and returns what came of each.
* :func:`explain` and :func:`score` run an explainer or a metric outside of a run, exactly as a run does.
* :class:`PatchDetector` and its like are detectors whose evidence is known; :func:`planted_samples` has pictures.
  :class:`MarginDetector` is the base of further ones.
* :func:`fake_distribution` installs a plugin into a folder without pip.

Importing this package imports neither pytest nor torch; a name is loaded when it is first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xaibench_testing.checks import Case, cases, check_component, check_detector, check_names
    from xaibench_testing.checks.subject import Subject
    from xaibench_testing.distributions import fake_distribution
    from xaibench_testing.facade import MarginDetector, margin_logits, randomised_facts
    from xaibench_testing.harness import (
        DrawnBy,
        Member,
        drawn_by,
        explain,
        make_bench,
        score,
        score_model,
        score_set,
        value,
    )
    from xaibench_testing.planted import (
        ConstantDetector,
        DifferentiablePatchDetector,
        LinearDetector,
        Patch,
        PatchDetector,
        planted_family,
    )
    from xaibench_testing.planted_data import PlantedDataset, pictures_of, planted_samples
    from xaibench_testing.pytest_cases import parametrize_checks
    from xaibench_testing.violations import CheckResult, ContractViolation, NotApplicable
    from xaibench_testing.worlds import World, awkward_worlds, bare, limited, planted_world

_MODULE_OF = {
    "Case": "checks",
    "CheckResult": "violations",
    "ConstantDetector": "planted",
    "ContractViolation": "violations",
    "DifferentiablePatchDetector": "planted",
    "DrawnBy": "harness",
    "LinearDetector": "planted",
    "MarginDetector": "facade",
    "Member": "harness",
    "NotApplicable": "violations",
    "Patch": "planted",
    "PatchDetector": "planted",
    "PlantedDataset": "planted_data",
    "Subject": "checks.subject",
    "World": "worlds",
    "awkward_worlds": "worlds",
    "bare": "worlds",
    "cases": "checks",
    "check_component": "checks",
    "check_detector": "checks",
    "check_names": "checks",
    "drawn_by": "harness",
    "explain": "harness",
    "fake_distribution": "distributions",
    "limited": "worlds",
    "make_bench": "harness",
    "margin_logits": "facade",
    "parametrize_checks": "pytest_cases",
    "pictures_of": "planted_data",
    "planted_family": "planted",
    "planted_samples": "planted_data",
    "planted_world": "worlds",
    "randomised_facts": "facade",
    "score": "harness",
    "score_model": "harness",
    "score_set": "harness",
    "value": "harness",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)


__all__ = [
    "Case",
    "CheckResult",
    "ConstantDetector",
    "ContractViolation",
    "DifferentiablePatchDetector",
    "DrawnBy",
    "LinearDetector",
    "MarginDetector",
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
    "limited",
    "make_bench",
    "margin_logits",
    "parametrize_checks",
    "pictures_of",
    "planted_family",
    "planted_samples",
    "planted_world",
    "randomised_facts",
    "score",
    "score_model",
    "score_set",
    "value",
]
