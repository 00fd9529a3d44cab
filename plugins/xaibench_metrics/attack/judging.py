"""What an attack on a region says of the region."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field
from torch import Tensor

from xaibench import targets
from xaibench.artefacts import Product
from xaibench.contracts import MapCase, Passes, Programme, Score
from xaibench.parameters import Parameters
from xaibench.probes import Forward, Together
from xaibench_metrics.attack.choice import area_bin, random_regions
from xaibench_perturbation import AttackMode, AttackSettings, GradientSettings, RegionAttack

Attack = Literal["nes", "pgd"]


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

    def settings(self) -> AttackSettings | GradientSettings:
        """A fixed number of steps: what early stopping would have shown is read off the way."""
        if self.attack == "pgd":
            return GradientSettings(steps=self.steps, bound=self.bound, stop=False)
        return AttackSettings(mode=self.mode, steps=self.steps, pairs=self.pairs, bound=self.bound, stop=False)

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
    point of the way. ``bound``: the smallest L-infinity change that turned it (:func:`smallest_bound`), the largest
    tried where it did not. ``queries``: pictures asked until it turned, or in all.
    """

    drop: float
    flipped: bool
    bound: float
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


def published(case: MapCase, item: str, region: Tensor, own: Judged) -> Programme[list[Score]]:
    """The scores of the published study, of the picture at which the attack would have stopped."""
    facts = case.detector.facts
    which = "turned" if own.outcome.flipped else "pixels"
    picture = own.attack.picture(case.picture.image, own.product, which)
    reply: Tensor = yield Forward(picture[None])
    after = reply[0].cpu()
    predicted = int(case.clean.argmax())
    truth = targets.resolve("label", case.picture.sample, case.clean.tolist(), facts)
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
    return Outcome(
        drop=trace[0] - trace[-1],
        flipped=turned_at >= 0,
        bound=smallest_bound(trace, turned_at, settings.step, parameters.bound),
        queries=float(each * turned_at + 1 if turned_at >= 0 else each * (len(trace) - 1)),
    )


def smallest_bound(trace: list[float], turned_at: int, step: float, bound: float) -> float:
    """The L-infinity change at which the margin crosses zero, read between two steps; ``bound`` if it never does.

    After t steps no pixel has changed by more than ``t * step``, so a crossing between steps t - 1 and t at the share
    ``m_{t-1} / (m_{t-1} - m_t)`` of the step gives ``step (t - 1 + share)``. On a linear margin z that is
    ``z / |w_M|_1``. A threshold other than .5 turns the verdict away from zero; the step's end is taken then.
    """
    if turned_at < 0:
        return bound
    before, after = trace[turned_at - 1], trace[turned_at]
    share = before / (before - after) if before > 0 > after else 1.0
    return min(bound, step * (turned_at - 1 + share))


def percentile(value: float, others: list[float]) -> float:
    """Share of ``others`` that ``value`` exceeds, ties counted half: in [0, 1]."""
    below = sum(value > o for o in others) + 0.5 * sum(value == o for o in others)
    return below / len(others)
