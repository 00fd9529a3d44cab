"""What detectors whose evidence is planted share: two classes, one margin, the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from xaibench.api import Facts, digest


class MarginDetector:
    """A detector of the classes *real* and *fake* by a margin z a picture: logits ``(-z/2, z/2)``, on the CPU.

    A subclass gives :meth:`_logits`; what is asked of it from outside is float32.
    """

    def __init__(self, facts: Facts) -> None:
        self._facts = facts

    @property
    def facts(self) -> Facts:
        return self._facts

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    def probabilities(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            return self._logits(images).softmax(dim=1).float()

    def scores(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            return self._logits(images).float()

    def _logits(self, images: Tensor) -> Tensor:
        """``(N, 2)``, in the floating type that probabilities are computed in."""
        raise NotImplementedError


def margin_logits(margins: Tensor) -> Tensor:
    """``(-z/2, z/2)``: ``(N,)`` to ``(N, 2)``."""
    return torch.stack((-margins / 2, margins / 2), dim=1)


def randomised_facts(facts: Facts, layers: Sequence[str], generator: torch.Generator) -> Facts:
    """The parent's facts with a digest of its own: parent, layers and the state that the draw started from."""
    return replace(facts, digest=digest([facts.digest, "randomised", list(layers), generator.initial_seed()]))
