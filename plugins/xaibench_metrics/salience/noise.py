"""Noise response: how soon a map falls apart as salt and pepper falls on the picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from xaibench.api import Curve, MapCase, Passes, PassQuery, Programme, Scores, View, to_device
from xaibench_metrics.salience.compare import Measured, compare, mean_of, shown_map
from xaibench_metrics.salience.responses import (
    Following,
    Response,
    ResponseParameters,
    clean_class,
    clean_map,
    flipped,
    following_scores,
    following_specs,
    moved,
    response_passes,
    responses,
)

NAME = "noise-response"
LEVELS = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75)


class NoiseParameters(ResponseParameters):
    """Parameters of ``noise-response``; the defaults are the robust form."""

    levels: tuple[float, ...] = Field(LEVELS, min_length=1, description="shares of colour values that turn 0 or 1")
    nulls: int = Field(2, ge=1, description="pictures of pure noise whose maps are the null")
    truncated: bool = Field(
        False, description="go through 8 bits and truncate, as Explain To Me does; else untouched values stay exact"
    )

    def model_post_init(self, context: object) -> None:
        if any(not 0 <= a <= 1 for a in self.levels) or len(set(self.levels)) < len(self.levels):
            raise ValueError("levels are different shares from 0 to 1")


def salt_and_pepper(image: Tensor, amount: float, generator: np.random.Generator) -> Tensor:
    """``(3, H, W)`` with each colour value turned 0 or 1, equally often, with probability ``amount``.

    R, G and B turn independently (coloured specks), as scikit-image's ``random_noise(mode="s&p")``, with whose draws
    these agree for 0 < amount < 1. The same generator state flips nested sets at growing amounts. Untouched values
    stay as they are.
    """
    if amount <= 0:
        return image.clone()
    shape = (image.shape[1], image.shape[2], image.shape[0])
    turned, salted = (torch.from_numpy(generator.random(shape)).permute(2, 0, 1) for _ in range(2))
    speck = to_device((salted <= 0.5).to(image.dtype), image.device)
    return torch.where(to_device(turned <= amount, image.device), speck, image)


def truncated(image: Tensor) -> Tensor:
    """To 8 bits and back through ``floor(255 x)`` as the original, which lowers 24 of the 256 grey values by one."""
    levels = (image.detach().cpu().double().numpy() * 255).round()
    scaled: NDArray[np.float64] = np.floor(255 * (levels * (1 / 255)))
    return to_device(torch.from_numpy((scaled / 255).astype(np.float32)), image.device)


def noise_view(name: str, amount: float, seed: int, in_bytes: bool) -> View:
    """Salt and pepper as a view; the name holds what draws it, so that one name is one change."""

    def apply(
        image: Tensor, mask: Tensor | None, landmarks: Tensor | None
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        base = truncated(image) if in_bytes else image
        return salt_and_pepper(base, amount, np.random.Generator(np.random.PCG64(seed))), mask, landmarks

    return View(f"salience-{name}-{seed}{'-truncated' if in_bytes else ''}", apply)


def whole_curve(levels: Sequence[float], alike: Sequence[Measured]) -> tuple[Curve, ...]:
    """The similarity over the levels; none where one has no value, as a mean curve would go over survivors there."""
    values = [s for s in alike if not isinstance(s, str)]
    return (Curve(name=NAME, x=list(levels), y=values),) if len(values) == len(levels) else ()


class NoiseResponse:
    """Similarity between the maps of the picture and of the picture under salt-and-pepper noise, level by level.

    ``s_a = similarity(M(x), M(x_a))`` in [-1, 1], ``a`` the share of colour values turned 0 or 1; higher = the map
    falls slowly, which Explain To Me (Crum et al., IEEE TAI 2023) wants. An item a level, the curve over
    the levels where all of them are defined, and beside each: ``null``, the mean similarity between the picture's map
    and those of ``nulls`` pictures of pure noise (nothing of the picture is left, the detector and the class are the
    same), ``corrected`` ``(s - s0) / (1 - s0)``, ``change`` of the class's probability and ``flip`` of the verdict.

    Parameters default to the robust form: float maps, the class fixed on the clean picture, seeded draws that are
    nested from level to level, values that are not hit untouched, so that level 0 is the picture itself.
    ``noise-response-explain2me`` is the original: 8-bit maps, scikit-image's SSIM, each picture's own likeliest class,
    all eight levels, truncation to 8 bits (which alters the picture at level 0, too).

    Departures: noise falls on the picture as the detector is shown it, the original's on the file before resizing (the
    same for faces stored at the input's size); the original has no seed and no null. Its code for comparing these maps
    is not public: it is taken to be that of its run-to-run comparison.
    """

    Parameters = NoiseParameters
    scores = following_specs(
        NAME,
        "the maps before and after salt-and-pepper noise, one item a level",
        "the picture's map and maps of pure noise",
        "a map that ignores the picture never falls: the centre prior scores 1",
    )

    def __init__(self, parameters: NoiseParameters) -> None:
        self.parameters = parameters

    def views(self, case: MapCase) -> list[View]:
        """The levels, then the pure noise."""
        p = self.parameters
        draw = case.streams.seed("salt and pepper")
        levels = [noise_view(f"noise-{a:g}", a, draw, p.truncated) for a in p.levels]
        nulls = [noise_view("noise-1", 1.0, case.streams.seed(f"null {i}"), p.truncated) for i in range(p.nulls)]
        return [*levels, *nulls]

    def score(self, case: MapCase) -> Programme[Scores]:
        p = self.parameters
        clean = yield from clean_map(case, p.class_rule)
        if isinstance(clean, str):
            return Scores.undefined(self.scores, clean)
        reference = shown_map(clean, p.size, p.quantised)
        alone = compare(reference, reference, p.similarity, p.quantised)
        if isinstance(alone, str):
            return Scores.undefined(self.scores, alone)
        found = yield from responses(case, self.views(case), p.class_rule)
        alike = [self._alike(reference, r) for r in found]
        return self._scores(case, found, alike)

    def _alike(self, reference: Tensor, response: Response) -> Measured:
        p = self.parameters
        if response.explanation.status != "ok":
            return f"the noisy picture has no map: {response.explanation.reason}"
        return compare(reference, shown_map(response.explanation, p.size, p.quantised), p.similarity, p.quantised)

    def _scores(self, case: MapCase, found: Sequence[Response], alike: Sequence[Measured]) -> Scores:
        levels = self.parameters.levels
        target, facts = clean_class(case, self.parameters.class_rule), case.detector.facts
        null = mean_of(alike[len(levels) :])
        rows = [
            Following(
                f"{a:g}",
                s,
                null,
                abs(moved(case.clean, r.probabilities, target)),
                flipped(case.clean, r.probabilities, facts),
            )
            for a, s, r in zip(levels, alike, found, strict=False)
        ]
        return Scores(following_scores(NAME, rows), whole_curve(levels, alike[: len(levels)]))

    def refuses(self, query: PassQuery) -> str:
        """Why maps are too small to be compared, or ``""``."""
        return self.parameters.refuses(query)

    def passes(self, query: PassQuery) -> Passes:
        """A pass and a map for each level and each null; exact where the map and the class rule let it be."""
        n = len(self.parameters.levels) + self.parameters.nulls
        return response_passes(query, n, n, self.parameters.class_rule)
