"""What comes of an attack."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from xaibench.api import Status

AttackMode = Literal["strict", "t24-code"]
"""``strict``: pixel space, bounded, the card's threshold. ``t24-code``: as the published code of Tsigos et al. 2024.
A step of ``strict`` is 4.4 times a step of ``t24-code``, so their results must never be compared."""

ALREADY_REAL = "the picture is called real already"
NO_SIGNAL = "no signal"
"""How the reason of an attack begins that had nothing to follow: it says nothing about the detector's robustness."""
NEAR = 0.1
"""Rise of P(real) up to which a picture counts as little changed to the detector (Tsigos et al. 2024, stability)."""
BLIND = "the detector does not react to this region"


@dataclass(frozen=True, slots=True)
class Reading:
    """What the detector says of one picture.

    ``margin = ln(P(fake) / P(real))``, the difference of the logits where there are two classes. ``real``: the verdict.
    """

    p_real: float
    margin: float
    real: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Attacked:
    """A picture after an attack towards *real*.

    ``image``: ``(3, H, W)`` float32. ``status`` is ``undefined`` where the attack had no meaning (``reason``:
    :data:`ALREADY_REAL`, or begins with :data:`NO_SIGNAL`); an attack that did not turn the verdict is ``ok``.
    ``flipped``: fake before, real after; ``survives_8bit`` and ``survives_jpeg``: still real after rounding to 256
    levels, and after JPEG of quality 90 (False where it did not flip). ``steps``: those that were taken. ``queries``:
    pictures that the attack asked for, which are ``(2n + 1) s + 1`` for NES that succeeded after s steps and
    ``(2n + 1) T`` for one that failed: the reading after step T counts where it finds the verdict turned; it and the
    two saved pictures cost passes in any case. ``largest_change``: L-infinity distance to the picture, in units of
    [0, 1]. ``trace``: the margin before each step and after the last, ``steps + 1`` numbers. ``turned``: the picture at
    which the verdict first was *real*, reached after ``turned_at`` steps; None and -1 where it did not flip. ``near``:
    the last picture on the way whose P(real) had risen by at most :data:`NEAR`.
    """

    image: Tensor
    status: Status
    reason: str
    flipped: bool
    steps: int
    queries: int
    before: Reading
    after: Reading
    survives_8bit: bool
    survives_jpeg: bool
    largest_change: float
    trace: tuple[float, ...]
    turned: Tensor | None
    turned_at: int
    near: Tensor

    def numbers(self) -> dict[str, float]:
        """The figures by name, for a :class:`xaibench.api.Product`; an infinite margin is left out."""
        figures = {
            "flipped": float(self.flipped),
            "queries": float(self.queries),
            "steps": float(self.steps),
            "p_real_before": self.before.p_real,
            "p_real_after": self.after.p_real,
            "margin_before": self.before.margin,
            "margin_after": self.after.margin,
            "survives_8bit": float(self.survives_8bit),
            "survives_jpeg": float(self.survives_jpeg),
            "largest_change": self.largest_change,
            "turned_at": float(self.turned_at),
        }
        return {name: value for name, value in figures.items() if math.isfinite(value)}
