"""What an attack on a region says of the region."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from xaibench.api import Forward, MapCase, Parameters, Passes, Product, Programme, Score, Together, resolve_target
from xaibench_metrics.attack.choice import area_bin, random_regions, region_of
from xaibench_perturbation import AttackMode, AttackSettings, GradientSettings, RegionAttack

Attack = Literal["nes", "pgd"]
NO_CEILING = "the ceiling was not asked for (ceiling=false)"


class AttackParameters(Parameters):
    """The attack that judges; to be inherited."""

    attack: Attack = Field("nes", description="NES asks for scores alone; PGD differentiates the detector")
    mode: AttackMode = Field(
        "strict", description="NES: pixel space and bounded, or as published; never compare the two"
    )
    steps: int = Field(50, ge=1, description="steps of every attack, the same number for all")
    pairs: int = Field(40, ge=1, description="NES: pairs of probes a step")
    bound: float = Field(16 / 255, gt=0, le=1, description="largest change of a pixel that is tried")
    draws: int = Field(20, ge=0, description="random regions of the same area to stand beside; 0: none")
    ceiling: bool = Field(True, description="attack every segment by itself, to know the best that a ranking could do")

    def settings(self) -> AttackSettings | GradientSettings:
        """A fixed number of steps: what early stopping would have shown is read off the way."""
        if self.attack == "pgd":
            return GradientSettings(steps=self.steps, bound=self.bound, stop=False)
        return AttackSettings(mode=self.mode, steps=self.steps, pairs=self.pairs, bound=self.bound, stop=False)

    def largest(self) -> float | None:
        """The largest change of a pixel that is tried, in units of [0, 1]; None where the mode bounds none."""
        settings = self.settings()
        unbounded = isinstance(settings, AttackSettings) and settings.mode == "t24-code"
        return None if unbounded else min(self.bound, self.steps * settings.step)

    def most_passes(self) -> Passes:
        """Of one attack."""
        settings = self.settings()
        if isinstance(settings, AttackSettings):
            return Passes(forward=settings.most_passes(), exact=False)
        forward, backward = settings.most_passes()
        return Passes(forward=forward, backward=backward, exact=False)


@dataclass(frozen=True, slots=True)
class Outcome:
    """One attacked region.

    ``drop``: fall of the margin ``ln(P(fake)/P(real))`` after all steps. ``flipped``: the verdict was *real* at some
    point of the way. ``bound``: the L-infinity change at which it turned (:func:`distortion_upper_bound`), the largest
    tried where it did not, None where the mode bounds none. ``queries``: pictures asked until it turned, or in all.
    """

    drop: float
    flipped: bool
    bound: float | None
    queries: float


@dataclass(frozen=True, slots=True)
class Judged:
    """An attack on one region, its product and the figures."""

    attack: RegionAttack
    product: Product
    outcome: Outcome


def judged(case: MapCase, region: Tensor, parameters: AttackParameters) -> Programme[Judged | str]:
    """The region attacked, once whoever asks; or why it says nothing (no signal)."""
    attack = RegionAttack(region, parameters.settings())
    product: Product = yield from case.artefacts.get(attack, case.picture)
    if product.status != "ok":
        return product.reason
    return Judged(attack, product, outcome(product, parameters))


def random_outcomes(
    case: MapCase, labels: Tensor, region: Tensor, parameters: AttackParameters
) -> Programme[list[Outcome]]:
    """Random regions of the same area; those without signal are left out."""
    others = random_regions(labels, area_bin(int(region.sum())), parameters.draws, case.streams)
    found: list[Judged | str] = yield Together([judged(case, other, parameters) for other in others])
    return [one.outcome for one in found if not isinstance(one, str)]


def singles(case: MapCase, labels: Tensor, parameters: AttackParameters) -> Programme[list[Outcome | None]]:
    """Every segment attacked by itself, None where there was no signal; nothing where no ceiling is asked for."""
    if not parameters.ceiling:
        return []
    segments = range(int(labels.max()) + 1)
    found: list[Judged | str] = yield Together([judged(case, labels == s, parameters) for s in segments])
    return [None if isinstance(one, str) else one.outcome for one in found]


def ceiling(
    case: MapCase, item: str, k: int, labels: Tensor, alone: Sequence[Outcome | None], parameters: AttackParameters
) -> Programme[list[Score]]:
    """What the k segments give that drop most by themselves; ``alone`` as of :func:`singles`."""
    names = ("ceiling-drop", "ceiling-flip")
    if not alone:
        return [Score(name=n, item=item, status="undefined", reason=NO_CEILING) for n in names]
    drops = torch.tensor([o.drop if o else float("-inf") for o in alone], dtype=torch.float64)
    best = torch.argsort(drops, descending=True, stable=True)[:k]
    own = yield from judged(case, region_of(labels, best), parameters)
    if isinstance(own, str):
        return [Score(name=n, item=item, status="undefined", reason=own) for n in names]
    values = (own.outcome.drop, float(own.outcome.flipped))
    return [Score(name=n, item=item, value=v) for n, v in zip(names, values, strict=True)]


def published(case: MapCase, item: str, region: Tensor, own: Judged) -> Programme[list[Score]]:
    """The scores of the published study, of the picture at which the attack would have stopped."""
    facts = case.detector.facts
    which = "turned" if own.outcome.flipped else "pixels"
    picture = own.attack.picture(case.picture.image, own.product, which)
    reply: Tensor = yield Forward(picture[None])
    after = reply[0].cpu()
    predicted = int(case.clean.argmax())
    truth = resolve_target("label", case.picture.sample, case.clean.tolist(), facts)
    sufficiency = float(case.clean[predicted]) - float(after[predicted])
    area = float(region.double().mean())
    values = {
        "accuracy": float(not own.outcome.flipped),
        "class-accuracy": float(int(after.argmax()) == truth),
        "sufficiency": sufficiency,
        "drop-over-area": sufficiency / area,
        "area": area,
    }
    return [Score(name=name, item=item, value=value) for name, value in values.items()]


def outcome(product: Product, parameters: AttackParameters) -> Outcome:
    """An attack's product as figures; its status must be ``ok``."""
    trace: list[float] = product.tensors["trace"].tolist()
    settings = parameters.settings()
    turned_at = int(product.numbers["turned_at"])
    each = 2 * settings.pairs + 1 if isinstance(settings, AttackSettings) else 1
    largest = parameters.largest()
    return Outcome(
        drop=trace[0] - trace[-1],
        flipped=turned_at >= 0,
        bound=None if largest is None else distortion_upper_bound(trace, turned_at, settings.step, largest),
        queries=float(each * turned_at + 1) if turned_at >= 0 else product.numbers["queries"],
    )


def distortion_upper_bound(trace: list[float], turned_at: int, step: float, largest: float) -> float:
    """The L-infinity change at which the margin crosses zero, read between two steps; ``largest`` if it never does.

    An upper bound on the minimum adversarial distortion (Weng et al. 2018, arXiv:1801.10578), up to the reading between
    two steps, which is at most one step below the picture that did turn. How far above the minimum it lies depends on
    the attack: it compares regions under one attack, and says nothing of how robust the detector is.

    After t steps no pixel has changed by more than ``t * step``, so a crossing between steps t - 1 and t at the share
    ``m_{t-1} / (m_{t-1} - m_t)`` of the step gives ``step (t - 1 + share)``. On a linear margin z that is
    ``z / |w_M|_1``. A threshold other than .5 turns the verdict away from zero; the step's end is taken then.
    """
    if turned_at < 0:
        return largest
    before, after = trace[turned_at - 1], trace[turned_at]
    share = before / (before - after) if before > 0 > after else 1.0
    return min(largest, step * (turned_at - 1 + share))


def percentile(value: float, others: list[float]) -> float:
    """Share of ``others`` that ``value`` exceeds, ties counted half: in [0, 1]."""
    below = sum(value > o for o in others) + 0.5 * sum(value == o for o in others)
    return below / len(others)
