"""Which pictures an attack towards *real* can say something of."""

from __future__ import annotations

from xaibench import targets
from xaibench.contracts import MapCase

NOT_FAKE = "a real picture: there is no manipulation to undo"
CALLED_REAL = "a fake that is called real already"
REAL_CLASS = "the class explained is real: the attack goes from fake to real"


def why_no_attack(case: MapCase) -> str:
    """Why a picture is left out; empty for a fake that is called fake and explained as such."""
    facts = case.detector.facts
    if case.picture.sample.label == "real":
        return NOT_FAKE
    if targets.verdict(case.clean.tolist(), facts) == "real":
        return CALLED_REAL
    return "" if targets.is_fake(case.target, facts) else REAL_CLASS


def too_few(segments: int, wanted: int) -> str:
    """Why there is no choice of segments."""
    return f"the picture is cut into {segments}, so {wanted} of them are no choice"
