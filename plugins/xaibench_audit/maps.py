"""The maps that a measure is asked to rank: the true evidence, what is to fall short of it, and a ladder in between."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor
from torch.nn import functional

from xaibench.api import Streams
from xaibench_audit.evidence import Planted
from xaibench_perturbation import gaussian_blur
from xaibench_testing import drawn_by

if TYPE_CHECKING:
    from xaibench import Registry, Use

Role = Literal["truth", "rival", "rung", "explainer"]

TRUTH = "truth"
BLUR = 4.0
GRAIN = 8
RUNGS = (0.75, 0.5, 0.25, 0.0)
"""Correlations of the ladder's mixed maps with the truth, below the truth's own 1."""

RIVALS = ("blurred", "shifted", "inverted", "random", "centre-prior")
EXPLAINERS = ("rise:masks=256", "saliency", "gradcam")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A map to be scored, of every fake. ``kind`` is the name without the number of a draw."""

    name: str
    kind: str
    role: Role
    use: Use


def candidates(
    planted: Planted, seed: int, draws: int, explainers: Sequence[str], registry: Registry
) -> list[Candidate]:
    """The truth first, then its rivals with ``draws`` random ones, the rungs, and explainers by name.

    Every planted map is made of the truth of that picture alone, whatever view it is asked for: of the real
    counterpart and the class *real* it is the truth as well, since with the roles of the two exchanged every
    contribution keeps its size.
    """
    from xaibench import open_component

    shown: list[tuple[str, str, Role, Mapping[str, Tensor]]] = [(TRUTH, TRUTH, "truth", _each(planted, positive))]
    shown += [(kind, kind, "rival", _each(planted, make)) for kind, make in _RIVALS.items()]
    for i in range(draws):
        drawn = {s: noise(t.shape, _streams(seed, s, i)) for s, t in planted.truth.items()}
        shown.append((f"random-{i}", "random", "rival", drawn))
    for c in RUNGS:
        mixed = {s: mixture(t, c, _streams(seed, s, -1)) for s, t in planted.truth.items()}
        shown.append((f"rung-{100 * c:.0f}", f"rung-{100 * c:.0f}", "rung", mixed))
    own = [Candidate(name, kind, role, _held(name, maps)) for name, kind, role, maps in shown]
    named = [(spec, open_component("explainer", spec, registry=registry)) for spec in explainers]
    return own + [Candidate(spec.partition(":")[0], spec, "explainer", use) for spec, use in named]


def correlation(a: Tensor, b: Tensor) -> float:
    """Pearson's correlation of two maps of one shape; 0 where one of them is constant."""
    pair = torch.stack((a.flatten(), b.flatten())).double()
    pair = pair - pair.mean(dim=1, keepdim=True)
    norms = pair.norm(dim=1)
    return 0.0 if float(norms.min()) == 0.0 else float((pair[0] @ pair[1]) / (norms[0] * norms[1]))


# ---- the maps -------------------------------------------------------------------------------------------------------


def positive(truth: Tensor) -> Tensor:
    """The truth without its negative places, which are few: the maps of most explainers have none."""
    return truth.clamp(min=0)


def blurred(truth: Tensor) -> Tensor:
    """Gaussian blur of :data:`BLUR` pixels."""
    return gaussian_blur(positive(truth), BLUR)


def shifted(truth: Tensor) -> Tensor:
    """Rolled by half the picture, both ways."""
    return positive(truth).roll((truth.shape[0] // 2, truth.shape[1] // 2), (0, 1))


def inverted(truth: Tensor) -> Tensor:
    """The largest value less the truth."""
    return positive(truth).max() - positive(truth)


def centre_prior(truth: Tensor) -> Tensor:
    """A Gaussian at the centre, its deviation a quarter of each side."""
    rows, columns = (torch.linspace(-2, 2, n, dtype=truth.dtype) for n in truth.shape)
    return torch.exp(-(rows[:, None] ** 2 + columns**2) / 2)


def noise(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Uniform values on cells of :data:`GRAIN` pixels, interpolated: random, but no rougher than an explainer's map.

    A map that is random in every pixel would be told by its roughness alone: removing scattered pixels *makes* texture.
    """
    cells = [max(2, round(n / GRAIN)) for n in shape]
    grid = torch.rand(cells, generator=generator, dtype=torch.float64)
    return functional.interpolate(grid[None, None], size=tuple(shape), mode="bilinear", align_corners=False)[0, 0]


def mixture(truth: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """``c T + sqrt(1 - c^2) N`` stretched to [0, 1]; correlation with the truth is exactly c.

    T is the (positive) truth and N random noise without its projection on T, both of mean 0 and length 1.
    """
    first = _unit(positive(truth))
    drawn = _unit(noise(truth.shape, generator))
    mixed = share * first + math.sqrt(1 - share**2) * _unit(drawn - (drawn * first).sum() * first)
    return (mixed - mixed.min()) / (mixed.max() - mixed.min())


def _unit(values: Tensor) -> Tensor:
    centred = values - values.mean()
    return functional.normalize(centred.flatten(), dim=0).reshape(values.shape)


_RIVALS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "blurred": blurred,
    "shifted": shifted,
    "inverted": inverted,
    "centre-prior": centre_prior,
}


def _each(planted: Planted, make: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
    return {sample: make(truth) for sample, truth in planted.truth.items()}


def _held(name: str, maps: Mapping[str, Tensor]) -> Use:
    return drawn_by(lambda request: maps[request.picture.sample.id], name)


def _streams(seed: int, sample: str, draw: int) -> torch.Generator:
    return Streams.of(seed, draw, "audit", sample).torch("noise")
