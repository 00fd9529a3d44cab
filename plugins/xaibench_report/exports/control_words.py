"""What the built-in controls and references are, in half a sentence each: the summaries of their records, which a run
does not keep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

CONTROL_WORDS: Final[Mapping[str, str]] = {
    "xaibench/random": "random values on a coarse grid, smoothed to the picture",
    "xaibench/center-prior": "a Gaussian in the middle of the picture",
    "xaibench/face-hull": "the convex hull of the face's landmarks",
    "xaibench/other-mask": "the manipulation mask of somebody else's picture",
    "xaibench/edges": "the picture's own edges",
    "xaibench/mask-oracle": "the manipulation mask itself as the map",
}
INVERSE_WORDS: Final = "the explainer's map upside down"


def control_words(name: str) -> str:
    """Of a control with or without parameters; empty for one of another distribution."""
    return CONTROL_WORDS.get(name.partition(":")[0], "")
