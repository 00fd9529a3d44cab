"""Where an attack stands, kept on the device: a step of an attack reads nothing on the host."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from xaibench.api import Facts
from xaibench_perturbation.attacks.result import NEAR, AttackMode, Reading

GOES_ON = 0
"""The code of a step after which the attack goes on; every other code ends it, and means what its mover says."""


def fake_margins(logits: Tensor, real_class: int) -> Tensor:
    """``ln(P(fake) / P(real)) = logsumexp(z of the fakes) - z_real``: ``(n, C)`` to ``(n,)`` in the logits' dtype.

    Falls as P(real) rises, and unlike P(real) does not saturate.
    """
    fakes = torch.cat([logits[:, :real_class], logits[:, real_class + 1 :]], dim=1)
    return fakes.logsumexp(dim=1) - logits[:, real_class]


@dataclass(frozen=True, slots=True)
class Readings:
    """What the detector says of ``n`` pictures, as tensors ``(n,)``: P(real) float32, margin float64, verdict bool."""

    p_real: Tensor
    margins: Tensor
    real: Tensor

    @classmethod
    def of(cls, logits: Tensor, facts: Facts, mode: AttackMode) -> Readings:
        """Of ``(n, C)`` float64 logits."""
        p_real = logits.softmax(dim=1).float()[:, facts.real_class]
        real = 1.0 - p_real.double() < facts.threshold
        if mode == "t24-code":
            real = logits.argmax(dim=1) == facts.real_class
        return cls(p_real, fake_margins(logits, facts.real_class), real)

    def rows(self) -> Tensor:
        """``(n, 3)`` float64."""
        return torch.stack([self.p_real.double(), self.margins, self.real.double()], dim=1)

    def on_host(self) -> list[Reading]:
        """The same as numbers: the host waits once."""
        return [Reading(p_real, margin, bool(real)) for p_real, margin, real in self.rows().tolist()]


@dataclass(frozen=True, slots=True)
class Outcome:
    """An attack in numbers: the readings before each step and after the last, the code that ended it, after how many
    steps the verdict turned (-1: never), and the L-infinity distance to the picture."""

    readings: list[Reading]
    code: int
    turned_at: int
    largest_change: float


@dataclass(slots=True)
class Course:
    """The pictures and readings of one attack.

    ``now`` ``(3, H, W)`` is the picture after the last step. Once a step ended the attack it moves no more, so that
    what is asked afterwards changes nothing. ``near``, ``turned``: see
    :class:`xaibench_perturbation.attacks.Attacked`. ``turned_at`` and ``ended_at`` are tensors of one integer, -1
    where that did not happen; ``code`` is that of the step that ended the attack.
    """

    start: Tensor
    facts: Facts
    mode: AttackMode
    now: Tensor = field(init=False)
    near: Tensor = field(init=False)
    turned: Tensor = field(init=False)
    turned_at: Tensor = field(init=False)
    ended_at: Tensor = field(init=False)
    code: Tensor = field(init=False)
    logits: list[Tensor] = field(default_factory=list)
    _first: Readings | None = None
    _last: Readings | None = None

    def __post_init__(self) -> None:
        self.now = self.near = self.turned = self.start
        self.turned_at = self.ended_at = torch.full((), -1, device=self.start.device)
        self.code = torch.full((), GOES_ON, device=self.start.device)

    @property
    def on_host(self) -> bool:
        """Whether reading a number costs nothing: the state is read in every step then."""
        return self.start.device.type == "cpu"

    def observe(self, logits: Tensor) -> None:
        """``(C,)`` logits of ``now``."""
        rows = logits.double()[None]
        last = self._last = Readings.of(rows, self.facts, self.mode)
        if self.on_host:
            check_probabilities(rows, self.facts)
        self.logits.append(rows)
        first = self._first = self._first or last
        rise = last.p_real[0].double() - first.p_real[0].double()
        self.near = _either(rise <= NEAR, self.now, self.near)
        turns = last.real[0] & ~first.real[0] & (self.turned_at < 0)
        self.turned = _either(turns, self.now, self.turned)
        self.turned_at = _either(turns, torch.full_like(self.turned_at, len(self.logits) - 1), self.turned_at)

    def advance(self, moved: Tensor, code: Tensor) -> None:
        """Go to ``moved``, or end here where ``code``, a tensor of one integer, is not :data:`GOES_ON`."""
        goes_on = self.code == GOES_ON
        ends = goes_on & (code != GOES_ON)
        self.now = _either(goes_on & (code == GOES_ON), moved, self.now)
        self.ended_at = _either(ends, torch.full_like(self.ended_at, len(self.logits)), self.ended_at)
        self.code = _either(goes_on, code, self.code)

    def is_over(self, stop: bool) -> bool:
        """Whether a step ended the attack, or ``stop`` and the last reading was *real*: the host waits once."""
        assert self._last is not None
        over = self.code != GOES_ON
        return bool(over | self._last.real[0] if stop else over)

    def outcome(self) -> Outcome:
        """All that a host wants to know of it, asked for at once. Raises ValueError where a reading up to the step that
        ended the attack makes no probabilities."""
        rows = torch.cat(self.logits)
        readings = Readings.of(rows, self.facts, self.mode).rows()
        change = (self.now.double() - self.start.double()).abs().max()
        state = torch.stack([self.code.double(), self.ended_at.double(), self.turned_at.double(), change])
        numbers = torch.cat([readings.flatten(), state]).cpu()
        code, ended_at, turned_at, largest = numbers[-4:].tolist()
        kept = numbers[:-4].view(-1, 3)[: None if ended_at < 0 else int(ended_at)].tolist()
        found = [Reading(p_real, margin, bool(real)) for p_real, margin, real in kept]
        if any(math.isnan(reading.p_real) for reading in found):
            check_probabilities(rows, self.facts)
        return Outcome(found, int(code), int(turned_at), largest)


def check_probabilities(logits: Tensor, facts: Facts) -> None:
    """Raise ValueError where ``(n, C)`` logits make no probabilities (NaN, infinity)."""
    broken = logits.softmax(dim=1).isnan().any(dim=1)
    if broken.any():
        raise ValueError(f"{facts.name} gives {logits[broken][0].tolist()} for a picture of the attack")


def first_of(codes: Sequence[tuple[int, Tensor]]) -> Tensor:
    """The first code whose condition, a tensor of one bool, is true; :data:`GOES_ON` where none is."""
    found = torch.full((), GOES_ON, device=codes[0][1].device)
    for code, condition in reversed(codes):
        found = torch.where(condition, code, found)
    return found


def _either(condition: Tensor, one: Tensor, other: Tensor) -> Tensor:
    """``one`` where the one bool is true, else ``other``: no copy on the CPU, and no question on a device."""
    if condition.device.type == "cpu":
        return one if bool(condition) else other
    return torch.where(condition, one, other)
