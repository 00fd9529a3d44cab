"""Random streams named by what they are for, so that no picture depends on the order of rendering."""

from __future__ import annotations

import zlib

import numpy as np


def stream(seed: int, identity: int, *purpose: str) -> np.random.Generator:
    """Return the generator that belongs to (seed, identity, purpose); `seed` and `identity` must not be negative."""
    words = [zlib.crc32(word.encode()) for word in purpose]
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, identity, *words])))
