"""Sparseness and complexity: on how few pixels a map rests, whatever it is right about.

All look at ``|a|`` of the map at the picture's size, so that explainers of different resolutions have as many values,
and need no detector call. A map of zeros is ``undefined``; other constant maps are simply the least sparse ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from pydantic import Field
from torch import Tensor

from xaibench.api import MapCase, Parameters, Passes, PassQuery, Score, Scores, ScoreSpec

_NOT_WHERE = "it sees how few pixels a map rests on, not which: the evidence's map moved anywhere scores the same"

SPARSENESS = ScoreSpec(
    name="sparseness",
    better="higher",
    low=0,
    high=1,
    why_not=_NOT_WHERE,
    description="Gini index of |a|: 0 all pixels alike, near 1 a single one",
)
HOYER = ScoreSpec(
    name="hoyer",
    better="higher",
    low=0,
    high=1,
    why_not=_NOT_WHERE,
    primary=False,
    description="Hoyer's sparseness of |a|: 0 all pixels alike, 1 a single one",
)
COMPLEXITY = ScoreSpec(
    name="complexity",
    better="lower",
    low=0,
    why_not=_NOT_WHERE,
    description="Shannon entropy in nats of |a| as a distribution over pixels",
)
NORMALISED = ScoreSpec(
    name="complexity-normalised",
    better="lower",
    low=0,
    high=1,
    why_not=_NOT_WHERE,
    primary=False,
    description="the same over the largest possible, the logarithm of the number of pixels",
)
EFFECTIVE = ScoreSpec(
    name="effective-complexity",
    better="lower",
    low=0,
    why_not=_NOT_WHERE,
    description="pixels whose |a| exceeds a share of the largest",
)
EFFECTIVE_SHARE = ScoreSpec(
    name="effective-share",
    better="lower",
    low=0,
    high=1,
    why_not=_NOT_WHERE,
    primary=False,
    description="the same over the number of pixels",
)


class EffectiveComplexityParameters(Parameters):
    """Parameters of ``effective-complexity``."""

    threshold: float = Field(1e-5, ge=0, lt=1, description="share of the largest |a| that a pixel must exceed")


def gini(sizes: Tensor) -> float:
    """``sum_i (2 i - n - 1) v_(i) / (n sum v)`` in [0, 1 - 1/n] for n ascending ``v >= 0``, not all 0."""
    ordered = sizes.double().flatten().sort().values
    n = len(ordered)
    weights = 2.0 * torch.arange(1, n + 1, dtype=torch.float64) - n - 1
    return _within(float((weights @ ordered) / (n * ordered.sum())))


def hoyer(sizes: Tensor) -> float:
    """``(sqrt n - |v|_1 / |v|_2) / (sqrt n - 1)`` in [0, 1] for n > 1 values that are not all 0."""
    v = sizes.double().flatten()
    v = v / v.max()
    root = math.sqrt(len(v))
    return _within((root - float(v.sum() / v.norm())) / (root - 1))


def entropy(sizes: Tensor) -> float:
    """``-sum p ln p`` in [0, ln n], ``p = v / sum v`` and ``0 ln 0 = 0``, for n values ``v >= 0``, not all 0."""
    v = sizes.double().flatten()
    shares = v / v.sum()
    return min(math.log(len(v)), max(0.0, -float(torch.xlogy(shares, shares).sum())))


def effective_count(sizes: Tensor, threshold: float) -> int:
    """``|{v > threshold * max v}|``."""
    v = sizes.double()
    return int((v > threshold * v.max()).sum())


def _within(value: float) -> float:
    return min(1.0, max(0.0, value))


def _of_sizes(case: MapCase, specs: tuple[ScoreSpec, ...], measure: Callable[[Tensor], tuple[float, ...]]) -> Scores:
    assert case.explanation.map is not None
    sizes = case.explanation.map.cpu().abs()
    if not sizes.any():
        return Scores.undefined(specs, "the map is zero everywhere")
    return Scores(tuple(Score(name=s.name, value=v) for s, v in zip(specs, measure(sizes), strict=True)))


class Sparseness:
    """Sparseness (Chalasani et al. 2020): the Gini index of ``|a|``; and Hoyer's (2004).

    Departures: Quantus adds 1e-7 to every value, so that its number depends on the map's scale; equal to it and to
    xplique on maps much larger than that. Quantus divides in place where it is told not to normalise; nothing is
    changed here.
    """

    scores = (SPARSENESS, HOYER)

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters

    def score(self, case: MapCase) -> Scores:
        return _of_sizes(case, self.scores, lambda v: (gini(v), hoyer(v)))

    def passes(self, query: PassQuery) -> Passes:
        return Passes()


class Complexity:
    """Complexity (Bhatt, Weller, Moura 2020): entropy of ``|a| / sum |a|`` in nats, and over ``ln n``.

    Departures: exact at 0 where Quantus takes ``ln(p + 1e-12)`` and xplique 1e-8. Quantus overwrites the caller's map
    when told ``abs=False, normalise=False``. pnpxai's measure of this name is the entropy of a histogram of values,
    pytorch-grad-cam's the mean of ``|a|``. ``entropy-spatial`` stretches the map to [0, 1] first, which takes offsets
    off, and looks at the map before upsampling.
    """

    scores = (COMPLEXITY, NORMALISED)

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters

    def score(self, case: MapCase) -> Scores:
        return _of_sizes(case, self.scores, lambda v: (entropy(v), _within(entropy(v) / math.log(v.numel()))))

    def passes(self, query: PassQuery) -> Passes:
        return Passes()


class EffectiveComplexity:
    """Effective complexity as Quantus counts it: pixels with ``|a| > threshold * max |a|``.

    Departures: Quantus divides by the largest value *of the batch*, so that a picture beside one of larger
    attributions counts none of its own; here by the map's own. Nguyen and Martinez (2020) mean something else by the
    name: the fewest features whose expected loss stays within a tolerance.
    """

    Parameters = EffectiveComplexityParameters
    scores = (EFFECTIVE, EFFECTIVE_SHARE)

    def __init__(self, parameters: EffectiveComplexityParameters) -> None:
        self.parameters = parameters

    def score(self, case: MapCase) -> Scores:
        return _of_sizes(case, self.scores, self._count)

    def _count(self, sizes: Tensor) -> tuple[float, float]:
        count = effective_count(sizes, self.parameters.threshold)
        return float(count), count / sizes.numel()

    def passes(self, query: PassQuery) -> Passes:
        return Passes()
