"""How a check says what it found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["pass", "skip", "fail"]


class ContractViolation(AssertionError):
    """A component breaks its contract. The message is one line and names what was expected and what came."""


class NotApplicable(Exception):
    """A check has nothing to look at in this component; the message says why."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What one check came to. ``message`` is empty where it passed."""

    name: str
    status: Outcome
    message: str = ""


def require(condition: bool, message: str) -> None:
    """Raise :class:`ContractViolation` unless ``condition``."""
    if not condition:
        raise ContractViolation(" ".join(message.split()))
