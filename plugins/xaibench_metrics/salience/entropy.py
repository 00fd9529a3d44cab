"""Salience entropy: how spread out a map is, as a histogram of values and as a distribution over positions.

Both look at the map before upsampling where there is one, and first stretch it to [0, 1]: ``(a - min) / (max - min)``.
A constant map cannot be stretched and is ``undefined``.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from xaibench.api import MapCase, Parameters, Passes, PassQuery, Score, Scores, ScoreSpec
from xaibench_perturbation import is_constant

ROUNDING = 1 / 8
"""A share of a grey level. The stored form (float16) moves a value by at most 255 / 2 ** 12 of a level, and the ends
that it is stretched between as much."""

HISTOGRAM = ScoreSpec(
    name="entropy-histogram",
    better="lower",
    low=0,
    high=1,
    version=2,
    why_not="it sees which values a map has, not where: the evidence's map moved anywhere scores the same",
    description="Shannon entropy of the 8-bit map's values over the largest possible",
)
SPATIAL = ScoreSpec(
    name="entropy-spatial",
    better="lower",
    low=0,
    high=1,
    why_not="it sees how focused a map is, not on what: a single wrong pixel scores best",
    description="Shannon entropy of the map as a distribution over positions, over the largest possible",
)


def stretch(saliency: Tensor) -> Tensor:
    """``(a - min) / (max - min)`` in float64; the map must not be constant."""
    values = saliency.double()
    return (values - values.min()) / (values.max() - values.min())


def quantise(saliency: Tensor) -> Tensor:
    """The stretched map in 8 bits: ``floor(255 m)``, as torchvision's ``to_pil_image`` truncates.

    A map that was made in 8 bits gets its own levels back: where every ``255 m`` lies within :data:`ROUNDING` of an
    integer, the integers are taken, since the stored form may have moved them below.
    """
    values = 255 * stretch(saliency)
    nearest = values.round()
    in_8_bits = bool(((values - nearest).abs() <= ROUNDING).all())
    return (nearest if in_8_bits else values.floor()).to(torch.uint8)


def shannon_bits(values: Tensor) -> float:
    """``-sum_v p(v) log2 p(v)`` over the distinct values v, as ``skimage.measure.shannon_entropy``."""
    counts = torch.unique(values, return_counts=True)[1].double()
    shares = counts / counts.sum()
    return -float((shares * shares.log2()).sum())


def histogram_entropy(saliency: Tensor) -> float:
    """``H(quantise(a)) / log2(min(h w, 256))`` in [0, 1], for ``(h, w)`` that is not constant."""
    return shannon_bits(quantise(saliency)) / math.log2(min(saliency.numel(), 256))


def spatial_entropy(saliency: Tensor) -> float:
    """``-sum q log q / log(h w)`` in [0, 1], q the stretched map divided by its sum and ``0 log 0 = 0``."""
    mass = stretch(saliency).flatten()
    shares = mass / mass.sum()
    return -float(torch.xlogy(shares, shares).sum()) / math.log(saliency.numel())


def _entropy(case: MapCase, spec: ScoreSpec, measure: Callable[[Tensor], float]) -> Scores:
    explanation = case.explanation
    saliency = explanation.map if explanation.native_map is None else explanation.native_map
    if saliency is None or is_constant(saliency):
        return Scores.undefined((spec,), "the map is constant")
    return Scores((Score(name=spec.name, value=min(1.0, max(0.0, measure(saliency.cpu())))),))


class HistogramEntropy:
    """Salience entropy as in Explain To Me: of the grey values, so shuffling the pixels changes nothing.

    Computed from the code's definition: scikit-image's entropy of the 8-bit low-resolution map, stretched and
    truncated to ``floor(255 m)``, over ``log2(min(pixels, 256))`` (5.615 for 7x7). Mostly it counts the cells that are
    not zero. Departures: the map is read from its stored form, whose rounding moves under 1 % of the cells by a level;
    the class is the plan's target, not each picture's likeliest; a constant map, which the source divides by zero, is
    ``undefined``.
    """

    scores = (HISTOGRAM,)

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters

    def score(self, case: MapCase) -> Scores:
        return _entropy(case, HISTOGRAM, histogram_entropy)

    def passes(self, query: PassQuery) -> Passes:
        return Passes()


class SpatialEntropy:
    """Entropy of where the salience lies: 0 one cell, near 1 everywhere alike.

    The form of the same group's entropy loss, without its two 1e-10. Quantus's and xplique's ``Complexity`` is the
    same in nats, of ``|a|`` and not divided by the largest.
    """

    scores = (SPATIAL,)

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters

    def score(self, case: MapCase) -> Scores:
        return _entropy(case, SPATIAL, spatial_entropy)

    def passes(self, query: PassQuery) -> Passes:
        return Passes()
