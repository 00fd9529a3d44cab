"""Region perturbation: how the score goes as square patches are replaced, most salient first."""

from __future__ import annotations

from functools import partial

import torch
from pydantic import Field
from torch import Tensor

from xaibench.api import Curve, MapCase, Passes, PassQuery, Programme, Score, Scores, ScoreSpec
from xaibench_metrics.faithfulness.curves import (
    RemovalFill,
    RemovalParameters,
    removal_background,
    replaced_probabilities,
    saliency_of,
    shown_image,
    with_clean,
)
from xaibench_metrics.faithfulness.fill_response import fill_response
from xaibench_metrics.faithfulness.ties import in_tie_orders, tie_order, tie_passes, with_ties
from xaibench_perturbation import is_constant, pixel_ranks, tied_share

AOPC = ScoreSpec(
    name="region-perturbation",
    output="probability",
    better="higher",
    low=-1,
    high=1,
    ranks_evidence=True,
    description="mean loss of the target's probability while patches are replaced, most salient first (AOPC)",
)
SELECTIVITY = ScoreSpec(
    name="selectivity",
    output="probability",
    better="lower",
    low=0,
    high=1,
    ranks_evidence=True,
    primary=False,
    description="mean of the target's probability over the same pictures",
)

ALIKE = "the map gives every patch the same: it orders none"


class RegionParameters(RemovalParameters):
    """Parameters of ``region-perturbation``."""

    fill: RemovalFill = Field("noise", description="what a patch becomes; the paper fills with uniform noise")
    patch: int = Field(8, ge=1, description="side of a patch in pixels; the paper takes 9")
    regions: int = Field(100, ge=1, description="patches replaced at most, one after another")


def patch_labels(height: int, width: int, patch: int) -> Tensor:
    """``(H, W)`` int64: the patch that each pixel lies in, counted along rows; border patches may be cropped."""
    down, across = torch.arange(height) // patch, torch.arange(width) // patch
    labels: Tensor = down[:, None] * -(-width // patch) + across[None]
    return labels


def patch_sums(saliency: Tensor, labels: Tensor) -> Tensor:
    """``(S,)`` float64: the map summed over each patch."""
    sums = torch.zeros(int(labels.max()) + 1, dtype=torch.float64)
    return sums.index_add_(0, labels.flatten(), saliency.double().flatten())


def aopc(curve: Tensor) -> float:
    """``mean_k (p_0 - p_k)`` over k = 0 .. L of a curve ``(L + 1,)`` that starts with the untouched picture."""
    return float((curve[0] - curve).mean())


class RegionPerturbation:
    """Region perturbation (Samek et al. 2017, AOPC of the MoRF order): higher = the map finds what the score hangs on.

    Patches of ``patch x patch`` pixels, ordered by the map summed over them, are replaced one after another and never
    put back: ``AOPC = 1 / (L + 1) sum_{k=0}^{L} (p_0 - p_k)`` of the target's probability, k = 0 included, L the
    smaller of ``regions`` and the number of patches; in [-1, 1]. Patches of equal sums go in a random order, the
    same for all maps of a picture; a map that gives every patch the same is ``undefined``. ``selectivity`` (Montavon et
    al. 2018) is the mean of p_k, the same curve without its start subtracted: between pictures it differs, the order of
    maps of one picture is the same.

    The noise of ``fill=noise`` is drawn once a picture, so that all maps of it meet the same. The curve's x is the
    number of patches replaced.

    Departures: Quantus returns ``p_0 - p_k`` for k = 1 .. L and leaves averaging to the caller (``fill=minimum`` gives
    the same points for one channel); where the sides are no multiples of the patch it centres the grid, whose border
    patches reach out of the picture, while here the last row and column are cropped.
    """

    Parameters = RegionParameters

    def __init__(self, parameters: RegionParameters) -> None:
        self.parameters = parameters

    @property
    def scores(self) -> tuple[ScoreSpec, ...]:
        return with_ties((AOPC, SELECTIVITY), self.parameters.ties)

    def score(self, case: MapCase) -> Programme[Scores]:
        saliency, p = saliency_of(case), self.parameters
        labels = patch_labels(saliency.shape[0], saliency.shape[1], p.patch)
        sums = patch_sums(saliency, labels)
        if is_constant(sums):
            return Scores.undefined(self.scores, ALIKE)
        counts = torch.arange(1, min(p.regions, len(sums)) + 1)
        share = tied_share(sums, counts.tolist(), labels.flatten().bincount())
        in_order = partial(self._in_order, case, labels, sums, counts)
        scores = yield from in_tie_orders(self.scores, p.ties, share, in_order)
        return scores

    def _in_order(self, case: MapCase, labels: Tensor, sums: Tensor, counts: Tensor, ties: int) -> Programme[Scores]:
        background = yield from removal_background(case, self.parameters.fill, self.parameters.sigma)
        order = yield from tie_order(case, len(sums), ties)
        ranks = pixel_ranks(sums, order)[labels]
        changed = yield from replaced_probabilities(shown_image(case), background, ranks, counts)
        curve = with_clean(case, changed)[:, case.target]
        values = (
            Score(name=AOPC.name, value=aopc(curve)),
            Score(name=SELECTIVITY.name, value=float(curve.mean())),
        )
        return Scores(values, (Curve(name=AOPC.name, x=list(range(len(curve))), y=curve.tolist()),))

    def accompanied_by(self) -> tuple[str, ...]:
        return fill_response(self.parameters.fill, self.parameters.sigma)

    def passes(self, query: PassQuery) -> Passes:
        """A bound: three orders where the map leaves that of many patches open; one that orders none costs nothing."""
        (height, width), p = query.facts.input_size, self.parameters
        steps = min(p.regions, -(-height // p.patch) * -(-width // p.patch))
        return tie_passes(Passes(forward=steps), p.ties, steps, query)
