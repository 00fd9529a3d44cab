"""Every check of a component, as a list, and the one call that runs them.

A check is a public function of :mod:`.records`, :mod:`.explainers`, :mod:`.metrics`, :mod:`.model_metrics`,
:mod:`.models`, :mod:`.datasets`, :mod:`.fills` or :mod:`.recipes`. :func:`check_component` runs all that apply to a
component.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING

from xaibench.api import Dataset, Detector, Kind, MetricRecord, Runtime
from xaibench_testing.checks import datasets, explainers, fills, metrics, model_metrics, models, recipes, records
from xaibench_testing.checks.subject import Subject
from xaibench_testing.violations import CheckResult, ContractViolation, NotApplicable

if TYPE_CHECKING:
    from xaibench import Registry, Use


@dataclass(frozen=True, slots=True)
class Case:
    """One check of one component, ready to run: ``run()`` raises ContractViolation or NotApplicable."""

    name: str
    run: Callable[[], None]

    def result(self) -> CheckResult:
        """Run it. An exception that is neither, or SystemExit, comes from the component and fails the check."""
        try:
            self.run()
        except NotApplicable as reason:
            return CheckResult(self.name, "skip", str(reason))
        except ContractViolation as violation:
            return CheckResult(self.name, "fail", str(violation))
        except (Exception, SystemExit) as error:
            said = str(error).splitlines() or [""]
            return CheckResult(self.name, "fail", f"{type(error).__name__}: {said[0]}")
        return CheckResult(self.name, "pass")


def check_component(use: Use, registry: Registry | None = None, runtime: Runtime | None = None) -> list[CheckResult]:
    """Run every check that applies to a component, in a fixed order; nothing is raised.

    Parameters
    ----------
    use: the component with the parameters to check it with (small budgets make it quick, and weaken no check).
    registry: where an explainer finds the others that it asks for; None: what is installed.

    runtime: where a model is opened; None: on the CPU.

    Each member's detector of a model is checked; with several members, names end in ``[member]``.
    """
    return [case.result() for case in cases(use, registry, runtime)]


def check_detector(detector: Detector) -> list[CheckResult]:
    """Run every check of a detector on one that is open already."""
    return [Case(check.name, partial(check.run, detector)).result() for check in models.CHECKS]


def check_names(kind: Kind) -> tuple[str, ...]:
    """Names of the checks of a kind of component, known without loading one."""
    own: dict[str, tuple[str, ...]] = {
        "explainer": tuple(c.name for c in explainers.CHECKS),
        "metric": tuple(c.name for c in metrics.CHECKS),
        "model": ("members", "opens", *(c.name for c in models.CHECKS)),
        "dataset": tuple(c.name for c in datasets.CHECKS),
        "fill": tuple(c.name for c in fills.CHECKS),
        "recipe": tuple(c.name for c in recipes.CHECKS),
    }
    return (*(c.name for c in records.CHECKS), *own.get(kind, ()))


def cases(use: Use, registry: Registry | None = None, runtime: Runtime | None = None) -> Iterator[Case]:
    """The checks that apply to a component. Listing a model's asks for its members."""
    subject = Subject(use, registry)
    for check in records.CHECKS:
        yield Case(check.name, partial(check.run, subject))
    record, kind = use.registered.record, use.registered.record.kind
    if kind in ("explainer", "metric"):
        of_model = isinstance(record, MetricRecord) and record.scope == "model"
        of_metric = model_metrics.CHECKS if of_model else metrics.CHECKS
        for check in explainers.CHECKS if kind == "explainer" else of_metric:
            yield Case(check.name, partial(check.run, subject))
    elif kind == "fill":
        for check in fills.CHECKS:
            yield Case(check.name, partial(check.run, subject))
    elif kind == "model":
        yield from _model_cases(use, runtime or Runtime())
    elif kind == "dataset":
        for c in datasets.CHECKS:
            yield Case(c.name, partial(_on_dataset, c.run, use))
    elif kind == "recipe":
        for r in recipes.CHECKS:
            yield Case(r.name, partial(r.run, partial(_new, use)))


def _new(use: Use) -> object:
    """Another object of the component: a recipe keeps what is of one run."""
    return use.registered.load()(use.parameters)


def _on_dataset(check: Callable[[Dataset], None], use: Use) -> None:
    check(use.instance)


def _model_cases(use: Use, runtime: Runtime) -> Iterator[Case]:
    """The checks of a model and, opened when the first of them runs, of every member's detector."""
    yield Case("members", lambda: models.check_members(use.instance))
    try:
        names = list(use.instance.members())
    except (Exception, SystemExit):
        return  # the case above says so
    for name in names:
        place = f"[{name}]" if len(names) > 1 else ""
        opened = cache(partial(use.instance.open, name, runtime))
        yield Case(f"opens{place}", partial(_opens, opened))
        for check in models.CHECKS:
            yield Case(f"{check.name}{place}", partial(_on_detector, check.run, opened))


def _opens(opened: Callable[[], Detector]) -> None:
    opened()


def _on_detector(check: Callable[[Detector], None], opened: Callable[[], Detector]) -> None:
    try:
        detector = opened()
    except (Exception, SystemExit) as error:
        raise NotApplicable(f"cannot be opened: {type(error).__name__}") from None
    check(detector)


__all__ = ["Case", "cases", "check_component", "check_detector", "check_names"]
