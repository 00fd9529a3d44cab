"""The verdict on a picture and the class that is explained, both taken on the clean picture."""

from __future__ import annotations

from collections.abc import Sequence

from xaibench.api.datasets import Sample
from xaibench.api.detectors import Facts
from xaibench.api.errors import UsageError

TARGET_RULES = ("predicted", "fake", "real", "label")


def p_fake(probabilities: Sequence[float], facts: Facts) -> float:
    """1 - P(real)."""
    return 1.0 - float(probabilities[facts.real_class])


def verdict(probabilities: Sequence[float], facts: Facts) -> str:
    """``fake`` when P(fake) reaches the card's threshold, else ``real``."""
    return "fake" if p_fake(probabilities, facts) >= facts.threshold else "real"


def likeliest_fake(probabilities: Sequence[float], facts: Facts) -> int:
    """The fake class of the highest probability; of equals the first."""
    fakes = [i for i in range(len(facts.classes)) if i != facts.real_class]
    return max(fakes, key=lambda i: (probabilities[i], -i))


def predicted_class(probabilities: Sequence[float], facts: Facts) -> int:
    """The class that goes with the verdict: *real*, or the likeliest fake class."""
    return facts.real_class if verdict(probabilities, facts) == "real" else likeliest_fake(probabilities, facts)


def resolve_target(rule: str, sample: Sample, probabilities: Sequence[float], facts: Facts) -> int:
    """Index of the class to explain under a rule of :data:`TARGET_RULES`, or of the class that the rule names.

    ``label`` is the true class: *real*, the class named as the sample's method where there is one, or else the
    likeliest fake class.
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
    """Refuse a rule that this detector cannot follow."""
    if rule not in TARGET_RULES and rule not in facts.classes:
        raise UsageError(
            f"target '{rule}' is neither a rule nor a class of {facts.name}",
            f"rules: {', '.join(TARGET_RULES)}; classes: {', '.join(facts.classes)}",
        )


def is_fake(target: int, facts: Facts) -> bool:
    return target != facts.real_class
