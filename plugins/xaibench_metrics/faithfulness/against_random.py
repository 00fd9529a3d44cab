"""Deletion against that of random maps as smooth as the map: what its order is worth beyond its smoothness."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, partial

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from xaibench.api import (
    ArtefactQuery,
    Curve,
    MapCase,
    Passes,
    PassQuery,
    Product,
    Programme,
    Score,
    Scores,
    ScoreSpec,
    to_device,
)
from xaibench_metrics.faithfulness.curves import CONSTANT, area, replaced_probabilities, saliency_of
from xaibench_metrics.faithfulness.fill_response import fill_response
from xaibench_metrics.faithfulness.removal import DeletionParameters
from xaibench_metrics.faithfulness.removal_curves import Removal, deletion, pixels_of, shared_passes, target_curve
from xaibench_metrics.faithfulness.ties import first_order, in_tie_orders, tie_order, tie_passes, with_ties
from xaibench_perturbation import Background, is_constant, pixel_ranks, tied_share

TOP_MINUS_RANDOM = ScoreSpec(
    name="top-minus-random",
    output="probability",
    untouched="start",
    better="lower",
    low=-1,
    high=1,
    ranks_evidence=True,
    description="deletion area of the map minus the mean of random maps as smooth",
)

LEVELS = (4, 7, 14, 28, 56)
"""Cells a side of the random maps; the finest, as many as pixels, is added."""

_REFERENCES = 8


class AgainstRandomParameters(DeletionParameters):
    """Parameters of ``top-minus-random``."""

    draws: int = Field(10, ge=1, description="random maps a picture")


# ---- smoothness -----------------------------------------------------------------------------------------------------


def smooth_map(cells: int, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """``(H, W)`` in [0, 1]: uniform values on ``cells x cells``, interpolated bilinearly; 0 cells: every pixel its
    own."""
    if cells == 0:
        return torch.rand(size, generator=generator)
    grid = torch.rand((1, 1, cells, cells), generator=generator)
    return functional.interpolate(grid, size=size, mode="bilinear", align_corners=False)[0, 0]


def roughness(saliency: Tensor, tie_order: Tensor | None = None) -> float:
    """``6 mean (r_i - r_j)^2`` over neighbours i, j beside and below each other, r the pixels' ranks in [0, 1].

    1 on average where every pixel is drawn by itself, near 0 for a smooth map. Of ranks, since deletion sees nothing
    else; equal values go in ``tie_order`` (:func:`xaibench_perturbation.pixel_ranks`). The sides must not both be 1.
    """
    ranks = pixel_ranks(saliency, tie_order).double() / saliency.numel()
    steps = torch.cat([ranks.diff(dim=0).flatten(), ranks.diff(dim=1).flatten()])
    return 6 * float((steps * steps).mean())


@lru_cache(maxsize=64)
def level_roughness(cells: int, size: tuple[int, int]) -> float:
    """Mean roughness of maps of a level, from eight that are the same each time."""
    generator = torch.Generator().manual_seed(0)
    return sum(roughness(smooth_map(cells, size, generator)) for _ in range(_REFERENCES)) / _REFERENCES


def smoothness_level(saliency: Tensor, tie_order: Tensor | None = None) -> int:
    """Cells a side of the random maps that are about as smooth as ``(H, W)``; 0: every pixel by itself."""
    size = (saliency.shape[0], saliency.shape[1])
    rough = math.log(roughness(saliency, tie_order))
    levels = (*(cells for cells in LEVELS if cells < min(size)), 0)
    return min(levels, key=lambda cells: abs(math.log(level_roughness(cells, size)) - rough))


# ---- random maps, once a picture ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RandomDeletion:
    """Deletion curves of random maps: an artefact, not stored, that all maps of a picture share.

    Product: the tensor ``probabilities`` ``(draws, steps)`` of the target, float64, as pixels are removed in the order
    of each map (:func:`xaibench_metrics.faithfulness.removal_curves.deletion`). ``cells``: see :func:`smooth_map`.
    """

    target: int
    cells: int
    draws: int
    steps: int
    fill: str
    sigma: float

    kind = "random-deletion"
    uses_detector = True
    stored = False

    def parameters(self) -> Mapping[str, object]:
        background = Background(self.fill, self.sigma).parameters()
        of_maps = {"target": self.target, "cells": self.cells, "draws": self.draws, "steps": self.steps}
        return {**of_maps, **background}

    def make(self, query: ArtefactQuery) -> Programme[Product]:
        image = to_device(query.picture.image, query.detector.device)
        made = yield from query.artefacts.get(Background(self.fill, self.sigma), query.picture)
        background, size = made.tensors["background"], (image.shape[1], image.shape[2])
        counts = torch.tensor(deletion(size[0] * size[1], self.steps, self.fill, self.sigma).counts)
        generator, curves = query.streams.torch("maps"), []
        for _ in range(self.draws):
            ranks = pixel_ranks(smooth_map(self.cells, size, generator))
            changed = yield from replaced_probabilities(image, background, ranks, counts)
            curves.append(changed[:, self.target])
        return Product(tensors={"probabilities": torch.stack(curves)})

    def passes(self, query: PassQuery) -> Passes:
        return Passes(forward=self.draws * self.steps)


class TopMinusRandom:
    """Deletion area of the map minus the mean of random maps' (after STeREx-Net, Alqurashi et al. 2026): lower than 0 =
    it orders pixels better than chance.

    ``AUC(map) - mean_d AUC(random_d)``, both as ``deletion`` with the same parameters; in [-1, 1]. The random maps are
    uniform values on a grid, interpolated, of the level of :data:`LEVELS` whose rank maps are as rough as this map's
    (:func:`roughness`): deletion favours smooth maps, and this takes that out. They depend on seed, picture, detector,
    target and level, never on the explainer, so that maps of one level are compared with the same draws, which are
    removed once a picture. The curve ``random`` is their mean. Pixels of equal value go in a random order, the same for
    all maps of a picture; so they do where the roughness is measured, and a map of one spot on zeros is as rough as its
    removal is. A constant map is ``undefined``.

    Departures: the paper's own number of draws, smoothness and fill are not known to us; these are parameters here.
    """

    Parameters = AgainstRandomParameters

    def __init__(self, parameters: AgainstRandomParameters) -> None:
        self.parameters = parameters

    @property
    def scores(self) -> tuple[ScoreSpec, ...]:
        return with_ties((TOP_MINUS_RANDOM,), self.parameters.ties)

    def score(self, case: MapCase) -> Programme[Scores]:
        saliency, p = saliency_of(case), self.parameters
        if is_constant(saliency):
            return Scores.undefined(self.scores, CONSTANT)
        removal = self._removal(saliency.numel())
        order = yield from tie_order(case, saliency.numel(), first_order(p.ties))
        cells = smoothness_level(saliency, order)
        share = tied_share(saliency, removal.counts)
        in_order = partial(self._in_order, case, removal, cells)
        scores = yield from in_tie_orders(self.scores, p.ties, share, in_order)
        return scores

    def _in_order(self, case: MapCase, removal: Removal, cells: int, ties: int) -> Programme[Scores]:
        p = self.parameters
        x, y = yield from target_curve(case, removal, ties)
        of_random_maps = RandomDeletion(case.target, cells, p.draws, p.steps, p.fill, p.sigma)
        drawn = (yield from case.artefacts.get(of_random_maps, case.picture)).tensors["probabilities"]
        chance = torch.cat([y[:1].expand(p.draws, 1), drawn], dim=1)
        value = area(x, y) - sum(area(x, curve) for curve in chance) / p.draws
        curves = (("top", y), ("random", chance.mean(dim=0)))
        return Scores(
            (Score(name=TOP_MINUS_RANDOM.name, value=value),),
            tuple(Curve(name=n, x=x.tolist(), y=c.tolist()) for n, c in curves),
        )

    def _removal(self, pixels: int) -> Removal:
        p = self.parameters
        return deletion(pixels, p.steps, p.fill, p.sigma)

    def accompanied_by(self) -> tuple[str, ...]:
        return fill_response(self.parameters.fill, self.parameters.sigma)

    def passes(self, query: PassQuery) -> Passes:
        """A bound: maps of one picture, target and smoothness share the random ones' passes."""
        p = self.parameters
        of_map = tie_passes(Passes(forward=p.steps), p.ties, p.steps, query)
        return of_map + Passes(forward=p.draws * p.steps, exact=False)

    def shared(self, query: PassQuery) -> Mapping[str, Passes]:
        return shared_passes([self._removal(pixels_of(query))], self.parameters.ties, query)
