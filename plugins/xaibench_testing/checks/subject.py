"""What a check is given: a component, and where it finds others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from xaibench.api import (
    ComponentRecord,
    Done,
    ExplainerRecord,
    Explanation,
    MetricRecord,
    Passes,
    PassQuery,
    Picture,
    Scores,
)
from xaibench_testing.violations import ContractViolation, require

if TYPE_CHECKING:
    from xaibench import Registry, Use

C = TypeVar("C", bound=ComponentRecord)
T = TypeVar("T")

BATCH = 8
"""Compute batch of every check: larger than the number of pictures, so that batches are mixed and padded."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A component under examination. ``registry`` (None: what is installed) is where an explainer finds the others
    whose maps it asks for."""

    use: Use
    registry: Registry | None = None

    @property
    def explainer(self) -> ExplainerRecord:
        return _expect(self.use, ExplainerRecord)

    @property
    def metric(self) -> MetricRecord:
        return _expect(self.use, MetricRecord)

    @property
    def instance(self) -> Any:
        return self.use.instance

    def depends(self) -> list[Subject]:
        """The explainers whose maps this one asks for."""
        from xaibench import load_registry, open_component

        specs = tuple(getattr(self.instance, "depends", ()))
        if not specs:
            return []
        registry = self.registry or load_registry()
        return [Subject(open_component("explainer", spec, registry=registry), registry) for spec in specs]

    def needs(self) -> frozenset[str]:
        """What the record, the parameters and the explainers asked for need."""
        own: frozenset[str] = getattr(self.use.registered.record, "needs", frozenset())
        more = [frozenset(getattr(self.instance, "needs", ())), *(d.needs() for d in self.depends())]
        return own.union(*more)

    def stochastic(self) -> bool:
        """Whether it, or an explainer that it asks for, is declared to depend on the seed."""
        return self.use.trait("stochastic") or any(d.stochastic() for d in self.depends())

    def expected_passes(self, query: PassQuery) -> Passes:
        """Its own passes, those of the artefacts that it lists, and those of the maps that it asks for."""
        own: Passes = self.instance.passes(query)
        made = sum((a.passes(query) for a in getattr(self.instance, "artefacts", ())), Passes())
        return sum((d.expected_passes(query) for d in self.depends()), own + made)

    def made(self) -> bool:
        """Whether it, or an explainer that it asks for, lists stored artefacts."""
        return bool(getattr(self.instance, "artefacts", ())) or any(d.made() for d in self.depends())


def _expect(use: Use, kind: type[C]) -> C:
    record = use.registered.record
    if not isinstance(record, kind):
        raise TypeError(f"{use.name} is a {record.kind}: this check is for what {kind.__name__} describes")
    return record


@dataclass(frozen=True, slots=True)
class Check:
    """A named check of one kind of component; ``run`` raises ContractViolation or NotApplicable."""

    name: str
    run: Callable[[Subject], None]


def named(*functions: Callable[[Subject], None]) -> tuple[Check, ...]:
    """Checks called after their functions: ``check_batch_mates`` is ``batch-mates``."""
    return tuple(Check(f.__name__.removeprefix("check_").replace("_", "-"), f) for f in functions)


# ---- shared by the checks -------------------------------------------------------------------------------------------


def finished(done: Done[T], where: str) -> T:
    """What came back; an exception is a violation: "cannot" is a status with a reason."""
    if done.error is not None:
        said = str(done.error).splitlines() or [""]
        raise ContractViolation(f"{where}: {type(done.error).__name__}: {said[0]}")
    assert done.value is not None
    return done.value


def require_passes(where: str, said: Passes, taken: Passes, *, exact: bool) -> None:
    """What was taken is what was said, or no more where it need not be exact."""
    told = (
        f"{where}: passes() says {said.forward} forward and {said.backward} backward, "
        f"{taken.forward} and {taken.backward} were taken"
    )
    if exact:
        require((said.forward, said.backward) == (taken.forward, taken.backward), f"{told} (exact)")
    require(taken.forward <= said.forward and taken.backward <= said.backward, f"{told}: more than the bound")


def bytes_of(tensor: Tensor | None) -> bytes:
    """The values of a tensor as bytes, with its shape and type."""
    if tensor is None:
        return b"none"
    return f"{tensor.dtype}{tuple(tensor.shape)}".encode() + tensor.detach().cpu().contiguous().numpy().tobytes()


def explanation_bytes(explanation: Explanation) -> bytes:
    """Everything of an explanation that can differ between two runs."""
    tensors = (explanation.map, explanation.native_map, explanation.segment_weights)
    details = repr(sorted((k, float(v).hex()) for k, v in explanation.details.items()))
    said = (explanation.status.encode(), explanation.reason.encode(), details.encode())
    return b"|".join((*said, *map(bytes_of, tensors)))


def scores_bytes(scores: Scores) -> bytes:
    """Everything of scores that can differ between two runs."""
    curves = [(c.name, c.item, [float(x).hex() for x in c.x], [float(y).hex() for y in c.y]) for c in scores.curves]
    values = [
        (s.name, s.item, s.status, s.reason, None if s.value is None else float(s.value).hex()) for s in scores.values
    ]
    return repr((values, curves)).encode()


def name_of(picture: Picture) -> str:
    """A picture in a message."""
    return f"{picture.sample.id} ({picture.view})" if picture.view else picture.sample.id


def largest_difference(a: Tensor, b: Tensor) -> float:
    """Largest absolute difference of two tensors of one shape; infinite where the shapes differ."""
    if a.shape != b.shape:
        return float("inf")
    return float((a.double() - b.double()).abs().max()) if a.numel() else 0.0


def seeded(*shape: int, seed: int = 0) -> Tensor:
    """Uniform noise, the same each time."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))
