"""The checks as pytest cases, for the tests of a plugin package."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from xaibench.api import Kind
from xaibench_testing.checks import cases, check_names
from xaibench_testing.violations import ContractViolation, NotApplicable

if TYPE_CHECKING:
    import pytest

    from xaibench import Registered, Registry

CHECKED: tuple[Kind, ...] = ("explainer", "metric", "model", "dataset", "fill", "recipe")


@dataclass(frozen=True)
class LazyCase:
    """A check of a registered component; the component is imported when the case is called."""

    component: Registered
    check: str
    registry: Registry
    parameters: Mapping[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.component.record.kind}-{self.component.record.name}-{self.check}"

    def __call__(self) -> None:
        """Run the check: ContractViolation fails a test, what does not apply skips it."""
        import pytest

        from xaibench import open_component

        kind, name = self.component.record.kind, self.component.name
        use = open_component(kind, name, self.parameters, registry=self.registry)
        wanted = [c for c in cases(use, self.registry) if c.name.partition("[")[0] == self.check]
        reasons = []
        for case in wanted:
            try:
                case.run()
            except NotApplicable as reason:
                reasons.append(str(reason))
            except ContractViolation as violation:
                raise ContractViolation(f"{use.name}: {case.name}: {violation}") from None
        if reasons and len(reasons) == len(wanted):
            pytest.skip(reasons[0])


def lazy_cases(
    distribution: str | None = None,
    *,
    registry: Registry | None = None,
    parameters: Mapping[str, Mapping[str, object]] | None = None,
    kinds: Sequence[Kind] = CHECKED,
    leave_out: Sequence[str] = (),
) -> Iterator[LazyCase]:
    """The cases behind :func:`parametrize_checks`; nothing is imported to list them."""
    from xaibench import load_registry

    known = registry or load_registry()
    values = parameters or {}
    for kind in kinds:
        for component in known.of_kind(kind):
            mine = distribution is None or component.origin.distribution == distribution
            if mine and component.record.name not in leave_out:
                for check in check_names(kind):
                    yield LazyCase(component, check, known, values.get(component.record.name, {}))


def parametrize_checks(distribution: str | None = None, **options: Any) -> pytest.MarkDecorator:
    """Parametrise a test over every check of every component that a distribution registers::

        from xaibench_testing import parametrize_checks

        @parametrize_checks("xaibench-acme", parameters={"acme-map": {"masks": 64}})
        def test_contract(check):
            check()

    Parameters
    ----------
    distribution: whose components; None: everybody's.
    registry: None: what is installed.
    parameters: by component name, values that differ from the defaults: small budgets make a test quick.
    kinds: of components; ``explainer``, ``metric``, ``model``, ``dataset``, ``fill``, ``recipe``.
    leave_out: names of components not to check.
    """
    import pytest

    return pytest.mark.parametrize("check", [pytest.param(c, id=str(c)) for c in lazy_cases(distribution, **options)])
