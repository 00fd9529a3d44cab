"""What hiding a place does to a verdict: the reason why measures that hide places can mislead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from xaibench.api import Picture, Streams
from xaibench_audit.evidence import Planted
from xaibench_audit.pictures import somewhere
from xaibench_perturbation import fill
from xaibench_statistics import Estimate, Values, mean_interval
from xaibench_testing import Patch

FILLS = ("black", "grey", "mean", "blur")
PLACES = 8
EXTENT = (14, 18)
_RISE = 1e-4


@dataclass(frozen=True, slots=True)
class Mechanism:
    """For one fill: on what share of fakes P(fake) rises by more than 1e-4 when a random place of 14 x 18 pixels is
    filled, and what share of real pictures the same edit turns fake. Per picture over 8 places, then over pictures."""

    fill: str
    rises: Estimate
    turned: Estimate


def mechanism(planted: Planted, seed: int) -> tuple[Mechanism, ...]:
    """The two shares for every fill."""
    places = [_places(seed, fake) for fake in planted.fakes]
    return tuple(_of_fill(planted, places, kind) for kind in FILLS)


def filled(image: Tensor, places: Sequence[Patch], kind: str) -> Tensor:
    """``(places, 3, H, W)``: the picture with each place filled by itself."""
    background = fill(image, kind)
    masks = torch.stack([p.mask((image.shape[1], image.shape[2])) for p in places])
    return torch.where(masks[:, None], background, image)


def _of_fill(planted: Planted, places: Sequence[Sequence[Patch]], kind: str) -> Mechanism:
    rises, turned = [], []
    for fake, real, at in zip(planted.fakes, planted.reals, places, strict=True):
        clean = _p_fake(planted, fake.image[None])
        rises.append(_p_fake(planted, filled(fake.image, at, kind)) > clean + _RISE)
        turned.append(_p_fake(planted, filled(real.image, at, kind)) >= planted.detector.facts.threshold)
    return Mechanism(kind, _share(planted.fakes, rises), _share(planted.reals, turned))


def _places(seed: int, picture: Picture) -> list[Patch]:
    draw = Streams.of(seed, 0, "audit", picture.sample.id).numpy("places")
    size = (picture.image.shape[1], picture.image.shape[2])
    return [somewhere(size, EXTENT, None, draw) for _ in range(PLACES)]


def _p_fake(planted: Planted, images: Tensor) -> Tensor:
    return planted.detector.probabilities(images)[:, 1]


def _share(pictures: Sequence[Picture], found: Sequence[Tensor]) -> Estimate:
    means = [float(f.double().mean()) for f in found]
    return mean_interval(Values.of([p.sample.id for p in pictures], means, [p.sample.group for p in pictures]))
