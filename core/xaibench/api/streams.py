"""Random streams that depend on their purpose alone.

A stream is keyed by seed, repeat, component, sample and view. Task size, order and number of workers change no draw.
The streams of a control are also keyed by the detector; otherwise a random map would be stable across training runs.
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
    """Random generators of one component, sample and view. ``key`` holds the parts of the key as strings."""

    key: tuple[str, ...]

    @staticmethod
    def of(seed: int, repeat: int, component: str, sample: str, view: str = "", detector: str = "") -> Streams:
        """The streams with this key. ``detector`` is the digest of the detector, for controls."""
        return Streams((str(seed), str(repeat), component, sample, view, detector))

    def child(self, *parts: object) -> Streams:
        """The streams of a part of the work, independent of those of all other parts."""
        return Streams((*self.key, *map(str, parts)))

    def seed(self, purpose: str = "") -> int:
        """A 63-bit integer that depends on key and purpose."""
        text = "\x1f".join((*self.key, purpose))
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1

    def numpy(self, purpose: str = "") -> np.random.Generator:
        """A new numpy generator; the same key and purpose give the same draws."""
        import numpy as np

        return np.random.Generator(np.random.PCG64(self.seed(purpose)))

    def torch(self, purpose: str = "") -> torch.Generator:
        """A new torch generator of the CPU. Draw on the CPU and move the result, so that devices agree."""
        import torch

        return torch.Generator().manual_seed(self.seed(purpose))
