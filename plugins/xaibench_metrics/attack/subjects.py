"""Which pictures an attack towards *real* can say something of."""

from __future__ import annotations

from xaibench.api import MapCase, is_fake, verdict
from xaibench_perturbation import AttackMode

NOT_FAKE = "a real picture: there is no manipulation to undo"
CALLED_REAL = "a fake that is called real already"
REAL_CLASS = "the class explained is real: the attack goes from fake to real"


def why_no_attack(case: MapCase, mode: AttackMode) -> str:
    """Why a picture is left out; empty for a fake that is called fake and explained as such.

    The verdict is that of the attack: at the detector's threshold, in ``t24-code`` the likeliest class.
    """
    facts = case.detector.facts
    if case.picture.sample.label == "real":
        return NOT_FAKE
    likeliest = int(case.clean.argmax()) == facts.real_class
    if likeliest if mode == "t24-code" else verdict(case.clean.tolist(), facts) == "real":
        return CALLED_REAL
    return "" if is_fake(case.target, facts) else REAL_CLASS
