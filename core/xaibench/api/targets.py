"""The verdict on a picture, and the class that is explained.

``probabilities`` are the ``(C,)`` class probabilities of the clean picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from xaibench.api.datasets import Sample
from xaibench.api.detectors import Facts
from xaibench.api.errors import UsageError

_SMALLEST = 2.0**-149
TARGET_RULES = ("predicted", "fake", "real", "label")


def p_fake(probabilities: Sequence[float], facts: Facts) -> float:
    """P(fake) = 1 - P(real), in [0, 1]."""
    return 1.0 - float(probabilities[facts.real_class])


def log_odds(probabilities: Sequence[float], facts: Facts) -> float:
    """``log(P(fake) / P(real))`` in nats, with P(fake) as the sum over the fake classes.

    Where a detector is sure of itself P(fake) is 1 to the last bit on many pictures; P(real) tells them apart.
    A probability of 0 counts as the smallest of float32, 1.4e-45.
    """
    real = float(probabilities[facts.real_class])
    fake = sum(float(p) for i, p in enumerate(probabilities) if i != facts.real_class)
    return math.log(max(fake, _SMALLEST)) - math.log(max(real, _SMALLEST))


def verdict(probabilities: Sequence[float], facts: Facts) -> str:
    """``fake`` where P(fake) is at least the detector's threshold, else ``real``."""
    return "fake" if p_fake(probabilities, facts) >= facts.threshold else "real"


def likeliest_fake(probabilities: Sequence[float], facts: Facts) -> int:
    """Index of the fake class with the highest probability; the first of several."""
    fakes = [i for i in range(len(facts.classes)) if i != facts.real_class]
    return max(fakes, key=lambda i: (probabilities[i], -i))


def predicted_class(probabilities: Sequence[float], facts: Facts) -> int:
    """Index of the class of the verdict: the real class, or the likeliest fake class."""
    return facts.real_class if verdict(probabilities, facts) == "real" else likeliest_fake(probabilities, facts)


def resolve_target(rule: str, sample: Sample, probabilities: Sequence[float], facts: Facts) -> int:
    """Index of the class to explain.

    ``rule`` is one of :data:`TARGET_RULES` or the name of a class. ``predicted``: the class of the verdict. ``real``:
    the real class. ``fake``: the likeliest fake class. ``label``: the real class for real samples; for fakes the class
    with the name of the sample's method, or the likeliest fake class where there is none. Raises :class:`UsageError`
    for any other rule.
    """
    if rule == "predicted":
        return predicted_class(probabilities, facts)
    if rule == "real" or (rule == "label" and sample.label == "real"):
        return facts.real_class
    if rule == "label" and sample.method in facts.classes:
        return facts.classes.index(sample.method)
    if rule in ("fake", "label"):
        return likeliest_fake(probabilities, facts)
    check_target_rule(rule, facts)
    return facts.classes.index(rule)


def check_target_rule(rule: str, facts: Facts) -> None:
    """Raise :class:`UsageError` for a rule that does not apply to this detector."""
    if rule not in TARGET_RULES and rule not in facts.classes:
        raise UsageError(
            f"target '{rule}' is neither a rule nor a class of {facts.name}",
            f"rules: {', '.join(TARGET_RULES)}; classes: {', '.join(facts.classes)}",
        )


def is_fake(target: int, facts: Facts) -> bool:
    """Whether a class index is that of a fake class."""
    return target != facts.real_class
