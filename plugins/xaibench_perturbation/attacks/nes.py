"""NES: an attack that needs nothing but scores, with the gradient estimated from pairs of noisy pictures."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from typing import TypeAlias

import torch
from torch import Tensor

from xaibench.api import Detector, Facts, Forward, Output, Programme, to_device
from xaibench_perturbation.attacks.course import fake_margins, first_of
from xaibench_perturbation.attacks.pursuit import End, Judge, Move, Sight, ball, pursue, within
from xaibench_perturbation.attacks.result import BLIND, NO_SIGNAL, Attacked, AttackMode, Reading
from xaibench_perturbation.drawing import drawn_ahead
from xaibench_perturbation.masks import CHUNK

PAIRS = CHUNK // 2
"""Pairs of probes in one request: 37 MiB at 224 px, held by the few attacks that wait for their answers."""

Pixels: TypeAlias = "Tensor | slice"


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackSettings:
    """Settings of :func:`nes_attack`, the published ones by default.

    ``sigma``, ``step`` and ``bound`` are in units of [0, 1] in ``strict`` mode and in units of the network's normalised
    input in ``t24-code``. ``pairs`` is n; ``stop``: end as soon as the verdict is *real*.
    """

    mode: AttackMode = "strict"
    steps: int = 50
    pairs: int = 40
    sigma: float = 0.001
    step: float = 1 / 255
    bound: float = 16 / 255
    stop: bool = True

    def __post_init__(self) -> None:
        if min(self.steps, self.pairs) < 1 or min(self.sigma, self.step, self.bound) <= 0:
            raise ValueError(f"steps, pairs, sigma, step and bound must be positive: {self}")

    def most_passes(self) -> int:
        """Forward passes at most: every step, the last reading, two saved pictures, one check of the whole picture."""
        return self.steps * (2 * self.pairs + 1) + 3 + 2 * self.pairs


def nes_attack(
    image: Tensor,
    region: Tensor | None,
    facts: Facts,
    settings: AttackSettings,
    generator: torch.Generator,
    detector: Detector | None = None,
) -> Programme[Attacked]:
    """Raise P(real) with steps along the sign of a gradient estimated from noisy pictures (Ilyas et al. 2018).

    A step draws n maps u ~ N(0, I) on the region M and moves M by ``step * sign(g)``,
    ``g = sum_j [f(x + sigma u_j) - f(x - sigma u_j)] u_j / (2 n sigma)`` (:func:`estimate`). Before each step the
    verdict is read, and a picture called real is done.

    ===========  ===========================================  ==========================================
    ..           ``strict``                                   ``t24-code`` (Tsigos et al. 2024)
    ===========  ===========================================  ==========================================
    space        pixels                                       the network's normalised input
    noise        its own for each channel                     one map for the three channels
    f            log-odds of *real* (cannot saturate)         P(real)
    change       at most ``bound``, picture within [0, 1]     only each step is capped, from above
    done         verdict at the card's threshold is *real*    *real* is the likeliest class
    ===========  ===========================================  ==========================================

    Parameters
    ----------
    image: ``(3, H, W)`` float32 in [0, 1]; never changed.
    region: ``(H, W)`` bool, best on the CPU; pixels outside stay bit-equal. None: the whole picture.
    facts: of the detector that is asked (its ``scale`` and ``quantum`` too).
    generator: on the CPU; the only source of chance.
    detector: asked in place of the programme's own.

    Where all differences of a step are exactly 0 although the verdict is not *real*, or the noise lies below the step
    to which the detector rounds its input, there is nothing to follow: ``undefined``, "no signal: ...". Zero
    differences in a part of the picture are told from a detector that says the same of everything by n further pairs on
    the whole picture: where those differ, the region does not matter to the detector, and the attack ends there, ``ok``
    and without a further change.
    """
    if region is not None and not bool(region.any()):
        raise ValueError("the region to attack is empty")
    judge = Judge(facts, settings.mode, detector)
    mover = _Nes(image, region, judge, settings, generator)
    found = yield from pursue(image, judge, mover, steps=settings.steps, stop=settings.stop)
    return found


def draw_noise(pairs: int, channels: int, pixels: int, generator: torch.Generator) -> Tensor:
    """``(n, channels, pixels)`` standard normal, float32, on the CPU."""
    return torch.randn((pairs, channels, pixels), generator=generator)


def estimate(differences: Tensor, noise: Tensor, sigma: float) -> Tensor:
    """``sum_j d_j u_j / (2 n sigma)``: ``(n,)`` differences and ``(n, ...)`` noise to ``(...)``.

    On ``f = w . x`` with d elements of equal \\|w\\| its signs are right with probability ``Phi(sqrt(n / (d + 1)))``.
    """
    total: Tensor = torch.tensordot(differences.to(noise), noise, dims=1)
    return total / (2 * len(noise) * sigma)


NOT_FINITE, SILENT = 1, 2
"""Codes of a step that ends the attack: scores that are not finite, and differences that are all 0."""


class _Nes:
    """The steps of one attack."""

    def __init__(
        self, image: Tensor, region: Tensor | None, judge: Judge, settings: AttackSettings, generator: torch.Generator
    ) -> None:
        self.image, self.judge, self.settings, self.generator = image, judge, settings, generator
        self.asked = 2 * settings.pairs
        self.strict = settings.mode == "strict"
        self.output: Output = "logit" if self.strict else "probability"
        units = torch.tensor((1.0, 1.0, 1.0) if self.strict else judge.facts.scale, dtype=torch.float32)
        self.least = settings.sigma * float(units.max())
        self.unit = to_device(units[:, None], image.device)
        self.limits = ball(image, settings.bound, clamp=True) if self.strict else None
        self.region = None if region is None else to_device(region, image.device)
        inside = None if region is None else region.cpu().flatten().nonzero()[:, 0]
        self.at: Pixels = slice(None) if inside is None else to_device(inside, image.device)
        self.noises = self._noises(image[0].numel() if inside is None else len(inside))

    def refusal(self) -> str:
        noise, quantum = self.least, self.judge.facts.quantum
        if noise >= quantum:
            return ""
        return f"{NO_SIGNAL}: the noise ({noise:.2g}) lies below the step to which the input is rounded ({quantum:.2g})"

    def look(self, image: Tensor) -> Programme[Sight]:
        logits = yield from self.judge.logits(image[None])
        return Sight(logits[0])

    def move(self, image: Tensor, sight: Sight) -> Programme[Move]:
        gradient, differences = yield from self._probe(image, self.at, self.noises)
        conditions = (NOT_FINITE, ~differences.isfinite().all()), (SILENT, ~differences.any())
        return Move(self._stepped(image, gradient), first_of(conditions))

    def end(self, code: int, image: Tensor, reading: Reading, step: int) -> Programme[End]:
        if code == NOT_FINITE:
            return End("undefined", f"{NO_SIGNAL}: the detector's scores of step {step} are not finite")
        found = yield from self._silence(image, reading, step)
        return found

    def _noises(self, pixels: int) -> Generator[Tensor, None, None]:
        """The noise of one chunk of pairs after another, without an end."""
        channels, n = 3 if self.strict else 1, self.settings.pairs
        sizes = cycle([min(PAIRS, n - start) for start in range(0, n, PAIRS)])
        draws = (partial(draw_noise, some, channels, pixels, self.generator) for some in sizes)
        return drawn_ahead(draws, self.image.device)

    def _probe(self, image: Tensor, at: Pixels, noises: Iterator[Tensor]) -> Programme[tuple[Tensor, Tensor]]:
        """The estimated gradient, ``(3 or 1, pixels)``, and the differences that it is made of, ``(n,)`` float64."""
        n, sigma = self.settings.pairs, self.settings.sigma
        total, found = None, list[Tensor]()
        for start in range(0, n, PAIRS):
            noise = next(noises)
            differences = yield from self._differences(image, noise, at)
            part = estimate(differences, noise, sigma) * (min(PAIRS, n - start) / n)
            total = torch.zeros_like(part) + part if total is None else total + part
            found.append(differences)
        assert total is not None
        return total, torch.cat(found)

    def _differences(self, image: Tensor, noise: Tensor, at: Pixels) -> Programme[Tensor]:
        """``f(x + sigma u) - f(x - sigma u)``, ``(n,)`` float64."""
        # no name for the probes: many attacks wait here at once
        reply: Tensor = yield Forward(self._probes(image, noise, at), output=self.output, detector=self.judge.detector)
        n = len(noise)
        real_class = self.judge.facts.real_class
        raised = -fake_margins(reply.double(), real_class) if self.strict else reply[:, real_class].double()
        return raised[:n] - raised[n:]

    def _probes(self, image: Tensor, noise: Tensor, at: Pixels) -> Tensor:
        """``x + sigma u`` of every ``u``, then ``x - sigma u``: ``(2n, 3, H, W)``."""
        shift = self.settings.sigma * self.unit * noise
        n = len(noise)
        probes = image.expand(2 * n, *image.shape).clone()
        flat = probes.flatten(2)
        flat[:n, :, at] += shift
        flat[n:, :, at] -= shift
        return probes

    def _stepped(self, image: Tensor, gradient: Tensor) -> Tensor:
        """The picture after a step; ``gradient``: ``(3 or 1, pixels)``."""
        s = self.settings
        moved = image.clone()
        change = s.step * gradient.sign()
        if not self.strict:
            change = change.clamp(max=s.bound)  # all that the published code's bound does
        moved.flatten(1)[:, self.at] += self.unit * change
        if self.limits is not None:
            moved = moved.clamp(*self.limits)
        return within(moved, self.image, self.region)

    def _silence(self, image: Tensor, reading: Reading, step: int) -> Programme[End]:
        """All differences are 0: whether the detector is silent or only blind to the region."""
        asked = 0
        if self.region is not None:
            self.noises.close()  # it may be drawing ahead from the generator that draws below
            _, differences = yield from self._probe(image, slice(None), self._noises(image[0].numel()))
            asked = self.asked
            if differences.any():
                return End("ok", BLIND, asked)
        why = f"{NO_SIGNAL}: all {self.settings.pairs} probe differences of step {step} are 0"
        return End("undefined", f"{why} (P(real) {reading.p_real:.4f})", asked)
