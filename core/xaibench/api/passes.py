"""Costs of components in detector passes."""

from __future__ import annotations

from dataclasses import dataclass

from xaibench.api.datasets import Sample
from xaibench.api.detectors import Facts


@dataclass(frozen=True, slots=True)
class Passes:
    """Numbers of pictures forwarded and differentiated, without padding. ``exact`` is False for an upper bound.

    A picture whose gradient is taken counts in ``forward`` and in ``backward``.
    """

    forward: int = 0
    backward: int = 0
    exact: bool = True

    def __add__(self, other: Passes) -> Passes:
        return Passes(self.forward + other.forward, self.backward + other.backward, self.exact and other.exact)

    def __sub__(self, other: Passes) -> Passes:
        """What is left of these passes without ``other``, which is a part of them."""
        return Passes(self.forward - other.forward, self.backward - other.backward, self.exact and other.exact)

    def times(self, n: int) -> Passes:
        """``n`` times these passes."""
        return Passes(self.forward * n, self.backward * n, self.exact)


@dataclass(frozen=True, slots=True, kw_only=True)
class PassQuery:
    """What a component knows when it states its passes for one sample.

    ``map`` is set for metrics: the cost of one further map of the explainer whose maps are scored (of a view, of
    another draw, of another detector). ``few_ties`` and ``native_size`` are set for metrics where the explainer
    declares them; ``native_size`` is the (h, w) of its maps before upsampling.
    """

    sample: Sample
    facts: Facts
    map: Passes = Passes()
    few_ties: bool = False
    native_size: tuple[int, int] | None = None
