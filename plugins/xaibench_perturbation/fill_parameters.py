"""Types of parameters that name a fill, and the built-in fills where no registry is at hand."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Annotated, Any, TypeAlias

from xaibench.api import FILL_NEEDS, Fill, FillParameter, FillRecord
from xaibench_perturbation.plugin import FILLS


@dataclass(frozen=True, slots=True)
class BuiltInFill:
    """A built-in fill, known by its bare name."""

    record: FillRecord
    built_in = True

    @property
    def name(self) -> str:
        return self.record.name

    def load(self) -> Any:
        return resolve_name(self.record.target)


BUILT_IN = tuple(map(BuiltInFill, FILLS))


def fill_parameter(gives: Iterable[str] = (), also: tuple[str, ...] = ()) -> FillParameter:
    """For ``Annotated[str, ...]``: a fill that needs at most ``sigma`` and what ``gives`` names (:data:`FILL_NEEDS`).

    ``also``: names beside fills that the component itself knows what to do with.
    """
    return FillParameter(built_in=BUILT_IN, gives=frozenset({"sigma", *gives}), also=also)


PictureFill: TypeAlias = Annotated[str, fill_parameter()]
"""A fill that follows from the picture: of measures and baselines."""

AnyFill: TypeAlias = Annotated[str, fill_parameter(FILL_NEEDS)]
"""Any fill: of explainers that switch regions off by :func:`xaibench_perturbation.switch_off`."""

PICTURE_FILLS: tuple[str, ...] = fill_parameter().names()
"""Names of the built-in fills that follow from the picture."""


def as_fill(name: str) -> Fill:
    """The fill behind a parameter's value, or the built-in one of that name. Raises ValueError where there is none."""
    if isinstance(name, Fill):
        return name
    component = next((c for c in BUILT_IN if c.name == name), None)
    if component is None:
        raise ValueError(f"no fill called {name!r}; there are {', '.join(c.name for c in BUILT_IN)}")
    return Fill(component)
