"""Localisation: does the map point at what was manipulated?

Scored where the class explained is fake and the picture has a mask; elsewhere ``undefined``, never 0. Pixels of
equal saliency count by the share of them that lies in the mask, which is the expectation over random tie-breaking, so a
constant map scores exactly what chance scores.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from xaibench.contracts import MapCase, Passes, PassQuery, Score, Scores, ScoreSpec
from xaibench.parameters import Parameters

POINTING = ScoreSpec(
    name="pointing-game",
    better="higher",
    low=0,
    high=1,
    ranks_evidence=True,
    description="share of the most salient pixels (one, unless tied) that lie in the mask",
)
MASS = ScoreSpec(
    name="relevance-mass",
    better="higher",
    low=0,
    high=1,
    ranks_evidence=True,
    description="share of the positive saliency that lies in the mask",
)
LIFT = ScoreSpec(
    name="lift",
    better="higher",
    low=0,
    ranks_evidence=True,
    primary=False,
    description="relevance mass over the mask's share of the picture; 1 is chance",
)
RANK = ScoreSpec(
    name="relevance-rank",
    better="higher",
    low=0,
    high=1,
    ranks_evidence=True,
    description="share of the |mask| most salient pixels that lie in the mask",
)


def pointing_game(saliency: Tensor, mask: Tensor) -> float:
    """``|{a = max a} in M| / |{a = max a}|`` for ``(H, W)`` saliency and bool mask: 1 hit, 0 miss, between if tied."""
    return float(mask[saliency == saliency.max()].double().mean())


def relevance_mass(saliency: Tensor, mask: Tensor) -> float | None:
    """``sum_M max(a, 0) / sum max(a, 0)`` in [0, 1]; None where no value is positive."""
    positive = saliency.double().clamp(min=0)
    total = float(positive.sum())
    return min(1.0, float(positive[mask].sum()) / total) if total > 0 else None


def relevance_rank(saliency: Tensor, mask: Tensor) -> float:
    """``|top-k in M| / k`` with k = |M| > 0; of the pixels tied at the k-th value, their share in M counts."""
    k = int(mask.sum())
    threshold = saliency.flatten().topk(k).values[-1]
    above, tied = saliency > threshold, saliency == threshold
    places = k - int(above.sum())
    return (int(mask[above].sum()) + places * int(mask[tied].sum()) / int(tied.sum())) / k


def why_no_mask(case: MapCase) -> str:
    """The reason why localisation cannot be scored, or ``""``."""
    mask = case.picture.mask
    if case.picture.sample.label == "real":
        return "real pictures have no mask"
    if mask is None:
        return "the picture has no mask"
    if case.target == case.detector.facts.real_class:
        return "the class explained is real: its evidence is not what the mask shows"
    return "" if mask.any() else "the mask is empty"


def _localise(
    case: MapCase, specs: tuple[ScoreSpec, ...], measure: Callable[[Tensor, Tensor], tuple[float, ...] | str]
) -> Scores:
    reason = why_no_mask(case)
    saliency, mask = case.explanation.map, case.picture.mask
    if reason or saliency is None or mask is None:
        return Scores.undefined(specs, reason)
    values = measure(saliency.cpu(), mask.cpu())
    if isinstance(values, str):
        return Scores.undefined(specs, values)
    return Scores(tuple(Score(name=s.name, value=v) for s, v in zip(specs, values, strict=True)))


class PointingGame:
    """Pointing game (Zhang et al. 2016): 1 when the most salient pixel lies in the mask.

    Departures: no tolerance around the mask (15 px in the paper, for objects in photographs). Quantus calls it a hit
    when *any* maximal pixel lies inside, so that a constant map always hits, and an empty mask counts as a hit; here
    the share of the maximal pixels counts, and an empty mask is ``undefined``. Equal where the maximum is unique.
    """

    scores = (POINTING,)

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters

    def score(self, case: MapCase) -> Scores:
        return _localise(case, self.scores, lambda a, m: (pointing_game(a, m),))

    def passes(self, query: PassQuery) -> Passes:
        return Passes()


class RelevanceMass:
    """Relevance mass accuracy (Arras et al. 2022) of the non-negative part, and its lift over the mask's area.

    ``undefined`` where no value is positive. A map with an offset (RISE) has a mass near the mask's area however well
    it orders pixels; ``relevance-rank`` does not see offsets. Quantus sums signed values, which can leave [0, 1];
    equal on non-negative maps.
    """

    scores = (MASS, LIFT)

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters

    def score(self, case: MapCase) -> Scores:
        return _localise(case, self.scores, _mass_and_lift)

    def passes(self, query: PassQuery) -> Passes:
        return Passes()


def _mass_and_lift(saliency: Tensor, mask: Tensor) -> tuple[float, float] | str:
    mass = relevance_mass(saliency, mask)
    if mass is None:
        return "the map has no positive value"
    return mass, mass / float(mask.double().mean())


class RelevanceRank:
    """Relevance rank accuracy (Arras et al. 2022): share of the top ``|mask|`` pixels inside the mask.

    Equal to Quantus where no values are tied at the threshold.
    """

    scores = (RANK,)

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters

    def score(self, case: MapCase) -> Scores:
        return _localise(case, self.scores, lambda a, m: (relevance_rank(a, m),))

    def passes(self, query: PassQuery) -> Passes:
        return Passes()
