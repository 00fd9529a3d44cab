"""What components cost: detector passes, and what a component may know when it states its own."""

from __future__ import annotations

from dataclasses import dataclass

from xaibench.api.datasets import Sample
from xaibench.api.detectors import Facts


@dataclass(frozen=True, slots=True)
class Passes:
    """Real pictures forwarded and differentiated. ``exact`` is False for an upper bound."""

    forward: int = 0
    backward: int = 0
    exact: bool = True

    def __add__(self, other: Passes) -> Passes:
        return Passes(self.forward + other.forward, self.backward + other.backward, self.exact and other.exact)

    def times(self, n: int) -> Passes:
        return Passes(self.forward * n, self.backward * n, self.exact)


@dataclass(frozen=True, slots=True, kw_only=True)
class PassQuery:
    """What a component may know when it states its passes for one sample.

    ``map``: what one more map of the explainer costs whose maps a metric scores (of a view, a draw, another detector).
    """

    sample: Sample
    facts: Facts
    map: Passes = Passes()
