"""Random streams that depend on what they are for, and on nothing else.

A stream is keyed by (seed, repeat, component, sample, view); a control's also by the detector, so that a random map
is not "stable" across training runs. Neither sharding, nor order, nor worker count changes a draw.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import torch


@dataclass(frozen=True, slots=True)
class Streams:
    """Random generators of one (component, sample, view). ``key`` holds the parts of the key as strings."""

    key: tuple[str, ...]

    @staticmethod
    def of(seed: int, repeat: int, component: str, sample: str, view: str = "", detector: str = "") -> Streams:
        return Streams((str(seed), str(repeat), component, sample, view, detector))

    def child(self, *parts: object) -> Streams:
        """The streams of a part of this component's work, independent of all others."""
        return Streams((*self.key, *map(str, parts)))

    def seed(self, purpose: str = "") -> int:
        """A 63-bit integer for this key and purpose."""
        text = "\x1f".join((*self.key, purpose))
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1

    def numpy(self, purpose: str = "") -> np.random.Generator:
        """A fresh numpy generator; the same key and purpose give the same draws."""
        import numpy as np

        return np.random.Generator(np.random.PCG64(self.seed(purpose)))

    def torch(self, purpose: str = "") -> torch.Generator:
        """A fresh CPU torch generator; draw on the CPU and move the result, so that devices agree."""
        import torch

        return torch.Generator().manual_seed(self.seed(purpose))
