"""Localisation: does the map point at what was manipulated?

Scored where the class explained is fake and the picture has a mask; elsewhere ``undefined``, never 0. Pixels of
equal saliency count by the share of them that lies in the mask, which is the expectation over random tie-breaking, so a
constant map scores exactly what chance scores.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from xaibench.api import MapCase, Parameters, Passes, PassQuery, Scores, ScoreSpec
from xaibench_metrics.localisation.case import localised

POINTING = ScoreSpec(
    name="pointing-game",
    better="higher",
    low=0,
    high=1,
    ranks_evidence=True,
    description="share of the most salient pixels (one, unless tied) that lie in the mask",
)
CHANCE = ScoreSpec(
    name="chance",
    better="none",
    low=0,
    high=1,
    why_not="it is the mask's share of the picture, whatever the map",
    primary=False,
    description="the mask's share of the picture: what a pixel taken at random scores in the pointing game",
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
TOP = ScoreSpec(
    name="top-k",
    better="higher",
    low=0,
    high=1,
    ranks_evidence=True,
    description="share of the k most salient pixels that lie in the mask",
)
AUC = ScoreSpec(
    name="mask-auc",
    better="higher",
    low=0,
    high=1,
    ranks_evidence=True,
    description="chance that a pixel of the mask is more salient than one outside, ties half; 0.5 is chance",
)
ATTRIBUTION = ScoreSpec(
    name="attribution-localisation",
    better="higher",
    low=0,
    high=1,
    ranks_evidence=True,
    description="share of the saliency, signs dropped, that lies in the mask",
)


class TopKParameters(Parameters):
    """Parameters of ``top-k``."""

    share: float = Field(0.02, gt=0, le=1, description="k as a share of the picture's pixels, at least one pixel")


def pointing_game(saliency: Tensor, mask: Tensor) -> float:
    """``|{a = max a} in M| / |{a = max a}|`` for ``(H, W)`` saliency and bool mask: 1 hit, 0 miss, between if tied."""
    return float(mask[saliency == saliency.max()].double().mean())


def relevance_mass(saliency: Tensor, mask: Tensor) -> float | None:
    """``sum_M max(a, 0) / sum max(a, 0)`` in [0, 1]; None where no value is positive."""
    positive = saliency.double().clamp(min=0)
    total = float(positive.sum())
    return min(1.0, float(positive[mask].sum()) / total) if total > 0 else None


def attribution_localisation(saliency: Tensor, mask: Tensor) -> float | None:
    """``sum_M |a| / sum |a|`` in [0, 1]; None where every value is 0."""
    size = saliency.double().abs()
    total = float(size.sum())
    return min(1.0, float(size[mask].sum()) / total) if total > 0 else None


def share_of_top(saliency: Tensor, mask: Tensor, k: int) -> float:
    """``|top-k in M| / k`` with k > 0; of the pixels tied at the k-th value, their share in M counts."""
    threshold = saliency.flatten().topk(k).values[-1]
    above, tied = saliency > threshold, saliency == threshold
    places = k - int(above.sum())
    return (int(mask[above].sum()) + places * int(mask[tied].sum()) / int(tied.sum())) / k


def relevance_rank(saliency: Tensor, mask: Tensor) -> float:
    """:func:`share_of_top` with k = |M| > 0."""
    return share_of_top(saliency, mask, int(mask.sum()))


def mask_auc(saliency: Tensor, mask: Tensor) -> float:
    """``(#{a_i > a_j} + #{a_i = a_j} / 2) / (|M| |not M|)``, i in M, j outside; neither may be empty.

    The area under the ROC curve of the map as a score for lying in the mask (Mann and Whitney's U over all pairs),
    counted in whole numbers: exact with ties.
    """
    inside, outside = saliency[mask], saliency[~mask].sort().values
    below, up_to = (torch.searchsorted(outside, inside, right=right) for right in (False, True))
    return int((below + up_to).sum()) / (2 * len(inside) * len(outside))


class PointingGame:
    """Pointing game (Zhang et al. 2016): 1 when the most salient pixel lies in the mask.

    Departures: no tolerance around the mask (15 px in the paper, for objects in photographs). Quantus calls it a hit
    when *any* maximal pixel lies inside, so that a constant map always hits, and an empty mask counts as a hit; here
    the share of the maximal pixels counts, and an empty mask is ``undefined``. Equal where the maximum is unique.
    ``chance`` is the mask's share of the picture, which is what a map of independent random pixels scores.
    """

    scores = (POINTING, CHANCE)

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters

    def score(self, case: MapCase) -> Scores:
        return localised(case, self.scores, lambda a, m: (pointing_game(a, m), float(m.double().mean())))

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
        return localised(case, self.scores, _mass_and_lift)

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
        return localised(case, self.scores, lambda a, m: (relevance_rank(a, m),))

    def passes(self, query: PassQuery) -> Passes:
        return Passes()


class TopK:
    """Top-k intersection (Theiner et al. 2022): share of the k most salient pixels inside the mask.

    k is a share of the picture, so that it means the same at every size; the default is near the 1000 of 224 x 224
    pixels that Quantus takes, whatever the picture. A mask of fewer than k pixels cannot reach 1. Equal to Quantus
    where no values are tied at the threshold. ``undefined`` where the mask covers the picture: every map scores 1.
    """

    Parameters = TopKParameters
    scores = (TOP,)

    def __init__(self, parameters: TopKParameters) -> None:
        self.parameters = parameters

    def score(self, case: MapCase) -> Scores:
        share = self.parameters.share
        return localised(
            case,
            self.scores,
            lambda a, m: (share_of_top(a, m, max(1, round(share * a.numel()))),),
            outside=True,
        )

    def passes(self, query: PassQuery) -> Passes:
        return Passes()


class MaskAuc:
    """ROC AUC of the map as a score for lying in the mask. Depends on the order of pixels alone; 0.5 is chance.

    Equal to scikit-learn's ``roc_auc_score`` and to Quantus' ``AUC`` on the signed map. The mask's area does not move
    its chance level. ``undefined`` where the mask covers the picture.
    """

    scores = (AUC,)

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters

    def score(self, case: MapCase) -> Scores:
        return localised(case, self.scores, lambda a, m: (mask_auc(a, m),), outside=True)

    def passes(self, query: PassQuery) -> Passes:
        return Passes()


class AttributionLocalisation:
    """Attribution localisation (Kohlbrenner et al. 2020) of absolute values: the share of ``|a|`` inside the mask.

    Evidence against the class counts like evidence for it; ``relevance-mass`` leaves the former out. Departures: the
    paper takes positive values, Quantus absolute ones as here, adding 1e-9 to the sum; its ``weighted`` form, which
    depends on how many pictures are scored at once, does not exist here. ``undefined`` where the map is zero
    everywhere and where the mask covers the picture.
    """

    scores = (ATTRIBUTION,)

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters

    def score(self, case: MapCase) -> Scores:
        return localised(case, self.scores, _attribution, outside=True)

    def passes(self, query: PassQuery) -> Passes:
        return Passes()


def _attribution(saliency: Tensor, mask: Tensor) -> tuple[float] | str:
    share = attribution_localisation(saliency, mask)
    return "the map is zero everywhere" if share is None else (share,)
