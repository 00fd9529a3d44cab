"""FGSM and PGD, masked to a region."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from xaibench.api import Apply, Detector, Facts, Programme, to_device
from xaibench_perturbation.attacks.course import fake_margins, first_of
from xaibench_perturbation.attacks.pursuit import End, Judge, Move, Sight, ball, pursue, within
from xaibench_perturbation.attacks.result import BLIND, NO_SIGNAL, Attacked, Reading


@dataclass(frozen=True, slots=True, kw_only=True)
class GradientSettings:
    """Settings of :func:`pgd_attack`: ``step`` is alpha and ``bound`` epsilon, in units of [0, 1].

    ``clamp``: keep the picture within [0, 1]. ``stop``: end as soon as the verdict is *real*. FGSM is one step of the
    size of the bound (:func:`fgsm`).
    """

    steps: int = 50
    step: float = 1 / 255
    bound: float = 16 / 255
    clamp: bool = True
    stop: bool = True

    def __post_init__(self) -> None:
        if self.steps < 1 or min(self.step, self.bound) <= 0:
            raise ValueError(f"steps, step and bound must be positive: {self}")

    def most_passes(self) -> tuple[int, int]:
        """Forward and backward passes at most: every step, and the last reading and two saved pictures forward."""
        return self.steps + 3, self.steps


def fgsm(bound: float = 16 / 255, *, clamp: bool = True) -> GradientSettings:
    """The fast gradient sign method (Goodfellow et al. 2015): one step of the whole bound."""
    return GradientSettings(steps=1, step=bound, bound=bound, clamp=clamp)


@dataclass(frozen=True, slots=True)
class MarginGradient:
    """For :class:`xaibench.api.Apply`: logits, and the gradient of the fake margin. One pass forward, one back."""

    real_class: int

    def __call__(
        self, detector: Any, images: Tensor, targets: Tensor, extras: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor]:
        logits = detector.logits(images)
        (gradient,) = torch.autograd.grad(fake_margins(logits, self.real_class).sum(), images)
        return logits, gradient


def pgd_attack(
    image: Tensor, region: Tensor | None, facts: Facts, settings: GradientSettings, detector: Detector | None = None
) -> Programme[Attacked]:
    """Lower the margin ``ln(P(fake) / P(real))`` with steps along the sign of its gradient (Madry et al. 2018).

    ``x <- clip(x - alpha sign(grad margin))`` on the region, into the ball of radius epsilon around the picture (and
    [0, 1]); without Madry's random start, so that nothing is left to chance. With two classes the margin is
    ``z_fake - z_real``; with more, all fake classes together, as the verdict has it. On ``margin = w . x + b``, nothing
    clipped, t steps lower it by exactly ``min(t alpha, epsilon) |w_M|_1``.

    ``image``, ``region``, ``facts`` and ``detector`` are those of :func:`nes_attack`. A query is one pass forward and
    back, which reads the verdict and gives the gradient: s + 1 on success after s < T steps, and T on failure. A
    gradient that is 0 all over the picture is ``undefined``, "no signal: ..."; one that is 0 in the region alone ends
    the attack, ``ok`` and without a further change.
    """
    if region is not None and not bool(region.any()):
        raise ValueError("the region to attack is empty")
    judge = Judge(facts, "strict", detector)
    mover = _Pgd(image, region, judge, settings)
    found = yield from pursue(image, judge, mover, steps=settings.steps, stop=settings.stop)
    return found


NOT_FINITE, FLAT, UNSEEN = 1, 2, 3
"""Codes of a step that ends the attack: a gradient that is not finite, 0 all over the picture, 0 in the region."""


class _Pgd:
    """The steps of one attack."""

    asked = 0

    def __init__(self, image: Tensor, region: Tensor | None, judge: Judge, settings: GradientSettings) -> None:
        self.image, self.judge, self.settings = image, judge, settings
        self.region = None if region is None else to_device(region, image.device)
        self.limits = ball(image, settings.bound, clamp=settings.clamp)

    def refusal(self) -> str:
        return ""

    def look(self, image: Tensor) -> Programme[Sight]:
        ask = MarginGradient(self.judge.facts.real_class)
        logits, gradient = yield Apply(ask, image[None], 0, detector=self.judge.detector)
        return Sight(logits[0], gradient[0])

    def move(self, image: Tensor, sight: Sight) -> Move:
        gradient = sight.gradient
        assert gradient is not None
        inside = within(gradient, torch.zeros_like(gradient), self.region)
        conditions = (NOT_FINITE, ~gradient.isfinite().all()), (FLAT, ~gradient.any()), (UNSEEN, ~inside.any())
        moved = (image - self.settings.step * inside.sign()).clamp(*self.limits)
        return Move(within(moved, self.image, self.region), first_of(conditions))

    def end(self, code: int, image: Tensor, reading: Reading, step: int) -> End:
        if code == UNSEEN:
            return End("ok", BLIND)
        if code == NOT_FINITE:
            return End("undefined", f"{NO_SIGNAL}: the gradient of step {step} is not finite")
        why = f"{NO_SIGNAL}: the gradient of step {step} is 0 all over the picture"
        return End("undefined", f"{why} (P(real) {reading.p_real:.4f})")
