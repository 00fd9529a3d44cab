"""Infidelity: how far a map, read as a gradient, is off the change of the output under a perturbation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from xaibench.api import Forward, MapCase, Passes, PassQuery, Programme, Score, Scores, ScoreSpec, to_device
from xaibench_metrics.faithfulness.changes import (
    ChangeParameters,
    clean_output,
    clean_passes,
    shared_clean,
    watching,
)
from xaibench_metrics.faithfulness.correlation import map_of, score_of
from xaibench_metrics.faithfulness.curves import removal_background
from xaibench_metrics.faithfulness.fill_response import fill_response
from xaibench_perturbation import CHUNK, drawn_ahead

NORMALISED = ScoreSpec(
    name="infidelity-normalised",
    better="lower",
    low=0,
    ranks_evidence=True,
    description="mean squared error of the map's prediction of the change, after the best common factor",
)
INFIDELITY = ScoreSpec(
    name="infidelity",
    better="lower",
    low=0,
    why_not="it depends on the map's scale, which most methods leave open: a hundred times the evidence's map is worse"
    " than a random one",
    primary=False,
    description="mean squared error of the map's prediction of the change, as published",
)


class InfidelityParameters(ChangeParameters):
    """Parameters of ``infidelity``."""

    perturbation: Literal["square", "noise"] = Field("square", description="a square removed, or noise everywhere")
    samples: int = Field(100, ge=1, description="perturbations")
    side: float = Field(0.25, gt=0, lt=1, description="side of the square over the picture's shorter side")
    noise: float = Field(0.2, gt=0, description="standard deviation of perturbation=noise")


def effects(perturbations: Tensor, saliency: Tensor) -> Tensor:
    """``sum_{c, i} I_{c i} a_i``, ``(n,)`` float64, of ``(n, C, H, W)`` perturbations and an ``(H, W)`` map.

    A map of pixels stands for the same attribution in every channel.
    """
    return perturbations.double().sum(dim=1).flatten(1) @ saliency.double().flatten()


def infidelity(predicted: Tensor, drops: Tensor) -> float:
    """``mean (I.a - (f(x) - f(x - I)))^2`` of ``(n,)`` and ``(n,)``, at least 0."""
    return float((predicted.double() - drops.double()).square().mean())


def normalised_infidelity(predicted: Tensor, drops: Tensor) -> float | None:
    """The same of ``beta I.a`` with ``beta = sum (I.a) d / sum (I.a)^2``, the best factor; None where ``I.a`` is 0."""
    largest = predicted.abs().max()
    if largest == 0:
        return None
    unit = predicted.double() / largest.double()
    return infidelity((unit @ drops.double()) / (unit @ unit) * unit, drops)


def random_squares(count: int, size: tuple[int, int], side: int, generator: torch.Generator) -> Tensor:
    """``(count, H, W)`` bool, True in a square of ``side`` pixels that lies anywhere within the picture."""
    inside = []
    for n in size:
        start = torch.randint(n - side + 1, (count, 1), generator=generator)
        inside.append((torch.arange(n) >= start) & (torch.arange(n) < start + side))
    rows, columns = inside
    return rows[:, :, None] & columns[:, None]


def with_noise(image: Tensor, noise: Tensor, deviation: float) -> Tensor:
    """``(n, 3, H, W)``: the picture minus ``deviation`` times standard normal noise, clipped to [0, 1]."""
    return (image - deviation * noise).clamp(0, 1)


class Infidelity:
    """Infidelity (Yeh et al. 2019, definition 2.1), as published and after the best common factor.

    ``E_I (I.a - (f(x) - f(x - I)))^2``, f the target's logit. ``perturbation=square`` puts the fill into a random
    square, ``I = x - fill`` there and 0 elsewhere (the paper's square removal); ``noise`` subtracts Gaussian noise, and
    I is what is left of it after clipping to [0, 1]. A map of pixels has no channels: I counts by its sum over them.

    ``infidelity-normalised`` fits the factor by least squares, as captum's ``normalize=True`` does. The factor may be
    negative, so that a and -a score alike; a map that predicts nothing scores the mean squared change. It is undefined
    where ``I.a`` is always 0; ``infidelity`` of such a map, and of a constant one, is a number like any other.

    The measure reads a map as a gradient. One that says where the evidence is, but not which sign it has, is credited
    by ``square`` alone: under ``noise`` the planted evidence does not beat random maps.

    Equal to captum's on the same perturbations. Quantus's puts patches on top of one another without taking them
    off again and needs a size that divides the picture.
    """

    Parameters = InfidelityParameters

    def __init__(self, parameters: InfidelityParameters) -> None:
        self.parameters = parameters
        self.scores = watching(parameters.output, NORMALISED, INFIDELITY)

    def score(self, case: MapCase) -> Programme[Scores]:
        p, saliency = self.parameters, map_of(case)
        image = to_device(case.picture.image, case.detector.device)
        weights = to_device(saliency, image.device)
        clean = yield from clean_output(case, p.output)
        perturb = yield from self._perturbation(case, image)
        predicted, outputs = [], []
        for pictures in perturb:
            predicted.append(effects(image - pictures, weights))
            reply: Tensor = yield Forward(pictures, output=p.output)
            outputs.append(reply[:, case.target].double().cpu())
        return _scores(torch.cat(predicted).cpu(), clean - torch.cat(outputs))

    def _perturbation(self, case: MapCase, image: Tensor) -> Programme[Iterator[Tensor]]:
        """Perturbed pictures ``x - I``, ``(n, 3, H, W)`` in [0, 1], some at a time."""
        p, generator = self.parameters, case.streams.torch("perturbations")
        height, width = image.shape[1:]
        sizes = (min(CHUNK, p.samples - start) for start in range(0, p.samples, CHUNK))
        if p.perturbation == "noise":
            draws = (partial(torch.randn, (n, *image.shape), generator=generator) for n in sizes)
            return (with_noise(image, noise, p.noise) for noise in drawn_ahead(draws, image.device))
        background = yield from removal_background(case, p.fill, p.sigma)
        side = max(1, round(p.side * min(height, width)))

        squares = (partial(random_squares, n, (height, width), side, generator) for n in sizes)
        masks = drawn_ahead(squares, image.device)
        return (torch.where(inside[:, None], background, image) for inside in masks)

    def accompanied_by(self) -> tuple[str, ...]:
        """None under ``perturbation=noise``, which fills nothing."""
        p = self.parameters
        return fill_response(p.fill, p.sigma) if p.perturbation == "square" else ()

    def passes(self, query: PassQuery) -> Passes:
        return Passes(forward=self.parameters.samples + clean_passes(self.parameters.output))

    def shared(self, query: PassQuery) -> Mapping[str, Passes]:
        return shared_clean(self.parameters.output)


def _scores(predicted: Tensor, drops: Tensor) -> Scores:
    fitted = normalised_infidelity(predicted, drops)
    first = score_of(NORMALISED, "the map predicts no change for any perturbation" if fitted is None else fitted)
    return Scores((first, Score(name=INFIDELITY.name, value=infidelity(predicted, drops))))
