"""The adversarial twin of a picture: a small change after which the detector calls it real."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from xaibench.artefacts import ArtefactQuery, Product
from xaibench.contracts import Passes, PassQuery, Programme
from xaibench_perturbation.attacks import AttackMode


@dataclass(frozen=True, slots=True)
class Twin:
    """Placeholder until the attack is written."""

    mode: AttackMode = "strict"
    steps: int = 80

    kind = "twin"
    uses_detector = True
    stored = True

    def parameters(self) -> Mapping[str, object]:
        return {"mode": self.mode, "steps": self.steps}

    def make(self, query: ArtefactQuery) -> Programme[Product]:
        raise NotImplementedError

    def passes(self, query: PassQuery) -> Passes:
        raise NotImplementedError
