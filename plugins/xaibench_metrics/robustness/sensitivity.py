"""How far a map moves when noise that nobody sees is added to the picture.

The maps of noisy pictures are drawn anew by the same explainer, for the class that was explained on the clean picture.
A stochastic explainer draws new masks for every copy, so its own scatter is part of what is measured. Maps are stored
in float16, which alone moves a map by about 0.0002 of its norm.

Noisy pictures are clipped to [0, 1], where pictures live; captum and Quantus do not clip. Equal where the picture
keeps away from black and white by the size of the noise.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from xaibench.api import MapCase, Parameters, Passes, PassQuery, Programme, Score, Scores, ScoreSpec
from xaibench_metrics.robustness.views import clean_map, distance, maps_of, noisy_views, shown

ZERO = "the map is zero everywhere: there is nothing to measure its change by"
STILL = "a map that never changes scores best, whatever it shows"

MAXIMUM = ScoreSpec(
    name="max-sensitivity",
    better="lower",
    low=0,
    why_not=STILL,
    description="largest change of the map under small noise, as a share of the map's norm",
)
AVERAGE = ScoreSpec(
    name="avg-sensitivity",
    better="lower",
    low=0,
    why_not=STILL,
    description="mean change of the map under small noise, as a share of the map's norm",
)
LIPSCHITZ = ScoreSpec(
    name="local-lipschitz",
    better="lower",
    low=0,
    why_not=STILL,
    description="largest change of the map for its largest value, over the change of the picture",
)


class SensitivityParameters(Parameters):
    """Parameters of ``max-sensitivity``."""

    samples: int = Field(10, ge=1, description="noisy copies of the picture, a map each")
    radius: float = Field(0.02, gt=0, le=1, description="noise is uniform between minus and plus this brightness")


class LipschitzParameters(Parameters):
    """Parameters of ``local-lipschitz``."""

    samples: int = Field(10, ge=1, description="noisy copies of the picture, a map each")
    sigma: float = Field(0.1, gt=0, le=1, description="standard deviation of the noise, in brightness")


def uniform(shape: tuple[int, ...], radius: float, generator: torch.Generator) -> Tensor:
    """Noise uniform in ``[-radius, radius)``, anew for every value."""
    return (2 * torch.rand(shape, generator=generator) - 1) * radius


def relative_change(clean: Tensor, other: Tensor) -> float:
    """``||a - a'||_2 / ||a||_2`` for maps of one shape, the first not zero."""
    return distance(clean, other) / distance(clean, torch.zeros_like(clean))


def lipschitz_ratio(clean: Tensor, other: Tensor, picture: Tensor, moved: Tensor) -> float:
    """``||a - a'||_2 / ||x - x'||_2``; the pictures must differ."""
    return distance(clean, other) / distance(picture, moved)


class MaxSensitivity:
    """Max-sensitivity (Yeh et al. 2019, by sampling) and the mean over the same copies.

    ``max_j ||a(x) - a(x + d_j)||_2 / ||a(x)||_2``, ``d_j`` uniform in ``[-radius, radius)`` for every value of the
    picture; the norm runs over the ``(H, W)`` pixels of the map. In [0, inf), lower = steadier. Samples and radius are
    captum's (Quantus: 200 copies, 0.2). ``undefined`` where the map is zero (captum divides by 1 instead) or where one
    of the noisy copies has no map.
    """

    Parameters = SensitivityParameters
    scores = (MAXIMUM, AVERAGE)

    def __init__(self, parameters: SensitivityParameters) -> None:
        self.parameters = parameters

    def score(self, case: MapCase) -> Programme[Scores]:
        p, clean, changes = self.parameters, clean_map(case), []
        if not clean.any():
            return Scores.undefined(self.scores, ZERO)
        noise = noisy_views(case, f"uniform {p.radius!r}", p.samples, lambda s, g: uniform(s, p.radius, g))
        for other in (yield from maps_of(case, list(noise))):
            if isinstance(other, str):
                return Scores.undefined(self.scores, f"no map of a noisy copy: {other}")
            changes.append(relative_change(clean, other))
        average = Score(name=AVERAGE.name, value=sum(changes) / len(changes))
        return Scores((Score(name=MAXIMUM.name, value=max(changes)), average))

    def passes(self, query: PassQuery) -> Passes:
        """Those of ``samples`` maps; a zero map costs nothing."""
        return query.map.times(self.parameters.samples)


class LocalLipschitz:
    """Local Lipschitz estimate (Alvarez-Melis and Jaakkola 2018), by sampling.

    ``max_j ||a(x) - a(x_j)||_2 / ||x - x_j||_2`` with ``x_j = clip(x + N(0, sigma^2))``, both maps divided by the
    largest absolute value of ``a(x)``, so that the unit of a method's maps does not count. In [0, inf), lower =
    steadier; it grows with the number of pixels, so compare detectors of one input size. ``undefined`` where the map is
    zero or a copy has no map.

    Departures: Quantus divides each map by the largest value of the batch that it stands in, takes 200 copies, and adds
    1e-10 to the divisor.
    """

    Parameters = LipschitzParameters
    scores = (LIPSCHITZ,)

    def __init__(self, parameters: LipschitzParameters) -> None:
        self.parameters = parameters

    def score(self, case: MapCase) -> Programme[Scores]:
        p, clean, ratios = self.parameters, clean_map(case), []
        unit = clean.abs().max()
        if not unit:
            return Scores.undefined(self.scores, ZERO)
        noise = noisy_views(case, f"normal {p.sigma!r}", p.samples, lambda s, g: p.sigma * torch.randn(s, generator=g))
        views = list(noise)
        for view, other in zip(views, (yield from maps_of(case, views)), strict=True):
            if isinstance(other, str):
                return Scores.undefined(self.scores, f"no map of a noisy copy: {other}")
            moved = shown(case, view)
            if torch.equal(moved, case.picture.image):
                return Scores.undefined(self.scores, "clipping undid the noise: a copy is the picture itself")
            ratios.append(lipschitz_ratio(clean / unit, other / unit, case.picture.image, moved))
        return Scores((Score(name=LIPSCHITZ.name, value=max(ratios)),))

    def passes(self, query: PassQuery) -> Passes:
        """Those of ``samples`` maps; a zero map costs nothing."""
        return query.map.times(self.parameters.samples)
