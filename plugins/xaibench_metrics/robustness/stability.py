"""Relative stability: how far a map moves, in shares of itself, for how far picture or logits move."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from xaibench.api import (
    Facts,
    Forward,
    MapCase,
    Parameters,
    Passes,
    PassQuery,
    Programme,
    Score,
    Scores,
    ScoreSpec,
    View,
    to_device,
    verdict,
)
from xaibench_metrics.robustness.sensitivity import STILL, ZERO
from xaibench_metrics.robustness.views import clean_map, distance, maps_of, noisy_views, shown
from xaibench_perturbation import CHUNK

Signs = Literal["both", "positive"]

INPUT = ScoreSpec(
    name="relative-input-stability",
    better="lower",
    low=0,
    why_not=STILL,
    description="largest relative change of the map over the relative change of the picture",
)
OUTPUT = ScoreSpec(
    name="relative-output-stability",
    output="logit",
    better="lower",
    low=0,
    why_not=STILL,
    description="largest relative change of the map over the change of the logits",
)


class StabilityParameters(Parameters):
    """Parameters of ``relative-stability``."""

    samples: int = Field(10, ge=1, description="noisy copies of the picture, a map each")
    least: float = Field(0.02, ge=0, le=1, description="smallest change of a value, in brightness")
    most: float = Field(0.2, gt=0, le=1, description="largest change of a value, in brightness")
    signs: Signs = Field("both", description="both: brighter or darker at random; positive: Quantus's, brighter only")
    epsilon: float = Field(1e-6, gt=0, le=1, description="stands for a zero wherever one is divided by")

    @model_validator(mode="after")
    def _in_order(self) -> StabilityParameters:
        if self.least > self.most:
            raise ValueError(f"least ({self.least}) is more than most ({self.most})")
        return self


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A noisy copy: its view, pixels ``(3, H, W)`` and logits ``(C,)``."""

    view: View
    image: Tensor
    logits: Tensor


def graded_noise(shape: tuple[int, ...], p: StabilityParameters, generator: torch.Generator) -> Tensor:
    """Sizes uniform in ``[least, most)``; signs at random, or all positive."""
    size = p.least + (p.most - p.least) * torch.rand(shape, generator=generator)
    if p.signs == "positive":
        return size
    return torch.where(torch.rand(shape, generator=generator) < 0.5, -size, size)


def relative_difference(clean: Tensor, other: Tensor, epsilon: float) -> float:
    """``||(u - u') / u||_2`` over all values, ``epsilon`` in place of every u = 0."""
    u = clean.double()
    return float(((u - other.double()) / torch.where(u == 0, epsilon, u)).square().sum().sqrt())


def relative_stability(clean: Tensor, other: Tensor, moved: float, epsilon: float) -> float:
    """``||(a - a') / a||_2 / max(moved, epsilon)``: RIS with moved = ``||(x - x') / x||_2``, ROS with
    ``||f(x) - f(x')||_2``."""
    return relative_difference(clean, other, epsilon) / max(moved, epsilon)


class RelativeStability:
    """Relative input and output stability (Agarwal et al. 2022), by sampling.

    RIS ``= max_j ||(a - a_j) / a||_2 / max(||(x - x_j) / x||_2, epsilon)`` and ROS the same over
    ``max(||f(x) - f(x_j)||_2, epsilon)``, f the logits, j over the noisy copies whose verdict is the clean picture's.
    In [0, inf), lower = steadier. ``undefined`` where the map is zero, every copy has another verdict, or one has no
    map. Zeros are replaced by ``epsilon`` where they divide, after the maps were divided by the largest absolute value
    of a: maps with many zeros (ReLU'd ones) score of the order of 1/epsilon whatever they show, and black pixels of
    the picture make RIS small. Read it beside ``max-sensitivity``, which divides by norms.

    Departures: Quantus's noise only brightens (``signs=positive``), pictures are not clipped to [0, 1] there, a single
    copy with another verdict makes its result NaN, and epsilon replaces the divisor only where that is exactly 0.
    """

    Parameters = StabilityParameters
    scores = (INPUT, OUTPUT)

    def __init__(self, parameters: StabilityParameters) -> None:
        self.parameters = parameters

    def score(self, case: MapCase) -> Programme[Scores]:
        clean, image, epsilon = clean_map(case), case.picture.image, self.parameters.epsilon
        unit = clean.abs().max()
        if not unit:
            return Scores.undefined(self.scores, ZERO)
        logits, alike = yield from self._neighbours(case)
        if not alike:
            return Scores.undefined(self.scores, "the verdict on every noisy copy is another")
        inputs, outputs = [], []
        maps = yield from maps_of(case, [near.view for near in alike])
        for near, other in zip(alike, maps, strict=True):
            if isinstance(other, str):
                return Scores.undefined(self.scores, f"no map of a noisy copy: {other}")
            a, b = clean / unit, other / unit
            inputs.append(relative_stability(a, b, relative_difference(image, near.image, epsilon), epsilon))
            outputs.append(relative_stability(a, b, distance(logits, near.logits), epsilon))
        return Scores((Score(name=INPUT.name, value=max(inputs)), Score(name=OUTPUT.name, value=max(outputs))))

    def _neighbours(self, case: MapCase) -> Programme[tuple[Tensor, list[Neighbour]]]:
        """Logits of the clean picture, and the noisy copies with the same verdict."""
        p = self.parameters
        kind = f"graded {p.least!r} to {p.most!r} {p.signs}"
        views = list(noisy_views(case, kind, p.samples, lambda s, g: graded_noise(s, p, g)))
        images = [case.picture.image, *(shown(case, v) for v in views)]
        logits = yield from _logits(images, case.detector.device)
        verdicts = [_verdict(row, case.detector.facts) for row in logits]
        found = zip(views, images[1:], logits[1:], verdicts[1:], strict=True)
        return logits[0], [Neighbour(v, x, row) for v, x, row, said in found if said == verdicts[0]]

    def passes(self, query: PassQuery) -> Passes:
        """A bound: copies with another verdict are not explained."""
        samples = self.parameters.samples
        return replace(query.map.times(samples) + Passes(forward=samples + 1), exact=False)


def _logits(images: Sequence[Tensor], device: torch.device) -> Programme[Tensor]:
    """``(n, C)`` float64 on the CPU."""
    rows = []
    for start in range(0, len(images), CHUNK):
        reply: Tensor = yield Forward(to_device(torch.stack(list(images[start : start + CHUNK])), device), "logit")
        rows.append(reply.double().cpu())
    return torch.cat(rows)


def _verdict(logits: Tensor, facts: Facts) -> str:
    return verdict(logits.softmax(dim=0).tolist(), facts)
