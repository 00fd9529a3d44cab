"""What statistics, measures and boards hand around cannot be changed by whoever is handed it."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import is_dataclass

import pytest

MUTABLE = {
    "xaibench_perturbation.attacks.course.Course",
    "xaibench_perturbation.attacks.pursuit.Way",
    "xaibench_report.page.report_context.ReportContext",
}
"""State of a computation under way, which is handed to nobody, and the context that sections fill."""


def _classes(package: str) -> dict[str, type]:
    folder = importlib.import_module(package)
    modules = [importlib.import_module(m.name) for m in pkgutil.walk_packages(folder.__path__, f"{package}.")]
    return {
        f"{module.__name__}.{name}": member
        for module in modules
        for name, member in vars(module).items()
        if isinstance(member, type) and is_dataclass(member) and member.__module__ == module.__name__
    }


@pytest.mark.parametrize(
    "package", ["xaibench_metrics", "xaibench_perturbation", "xaibench_report", "xaibench_statistics"]
)
def test_records_are_frozen(package: str) -> None:
    classes = _classes(package)
    mutable = {name for name, member in classes.items() if not member.__dataclass_params__.frozen}  # type: ignore[attr-defined]
    assert len(classes) > 5
    assert mutable <= MUTABLE
