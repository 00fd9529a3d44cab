"""Deletion and insertion: how the score goes as pixels leave or come in the order of the map."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from pydantic import Field
from torch import Tensor

from xaibench.api import Curve, MapCase, Passes, PassQuery, Programme, Score, Scores, ScoreSpec
from xaibench_metrics.faithfulness.curves import area, saliency_of
from xaibench_metrics.faithfulness.fill_response import fill_response
from xaibench_metrics.faithfulness.removal_curves import (
    Removal,
    deletion,
    insertion,
    pixels_of,
    removal_scores,
    shared_passes,
    target_curve,
)
from xaibench_metrics.faithfulness.ties import TieParameters, tie_passes, with_ties
from xaibench_perturbation import SIGMA, PictureFill, step_counts

DELETION = ScoreSpec(
    name="deletion",
    output="probability",
    untouched="start",
    better="lower",
    low=0,
    high=1,
    ranks_evidence=True,
    description="area under the target's probability over the share of pixels removed",
)
INSERTION = ScoreSpec(
    name="insertion",
    output="probability",
    untouched="end",
    better="higher",
    low=0,
    high=1,
    ranks_evidence=True,
    description="area under the target's probability over the share of pixels shown",
)


class DeletionParameters(TieParameters):
    """Parameters of ``deletion``."""

    steps: int = Field(20, ge=1, description="equal steps from the picture to the fill")
    fill: PictureFill = Field("black", description="what replaces removed pixels")
    sigma: float = Field(SIGMA, gt=0, le=1, description="blur of fill=blur, as a share of the shorter side")


class InsertionParameters(TieParameters):
    """Parameters of ``insertion``."""

    steps: int = Field(20, ge=1, description="equal steps from the fill to the picture")
    fill: PictureFill = Field("blur", description="what stands where pixels are not shown yet")
    sigma: float = Field(SIGMA, gt=0, le=1, description="blur of fill=blur, as a share of the shorter side")


def _scores(spec: ScoreSpec, x: Tensor, y: Tensor) -> Scores:
    return Scores((Score(name=spec.name, value=area(x, y)),), (Curve(name=spec.name, x=x.tolist(), y=y.tolist()),))


class Deletion:
    """Deletion (Petsiuk et al. 2018, section 4.2): lower = the map finds what the score hangs on.

    ``AUC = sum_t (x_{t+1} - x_t)(p_t + p_{t+1}) / 2`` with x the true share of pixels removed and p the probability of
    the target, both ends included; in [0, 1]. Pixels of equal saliency go in a random order, the same for all maps of a
    picture (:mod:`xaibench_metrics.faithfulness.ties`). A constant map is ``undefined``.

    Departures: xplique truncates to ``max_percentage``, takes 10 steps, averages the curves of a data set before
    integrating, and takes all steps for equal where they do not divide the pixels; torchcam removes ``ceil(P / steps)``
    pixels a step, so that its last is shorter (the same where steps divides the pixels); Quantus's pixel flipping
    leaves the untouched picture out and does not divide by the length.
    """

    Parameters = DeletionParameters

    def __init__(self, parameters: DeletionParameters) -> None:
        self.parameters = parameters

    @property
    def scores(self) -> tuple[ScoreSpec, ...]:
        return with_ties((DELETION,), self.parameters.ties)

    def score(self, case: MapCase) -> Programme[Scores]:
        removal = self._removal(saliency_of(case).numel())
        in_order = partial(self._in_order, case, removal)
        return removal_scores(case, self.scores, self.parameters.ties, [removal], in_order)

    def _in_order(self, case: MapCase, removal: Removal, ties: int) -> Programme[Scores]:
        x, y = yield from target_curve(case, removal, ties)
        return _scores(DELETION, x, y)

    def _removal(self, pixels: int) -> Removal:
        p = self.parameters
        return deletion(pixels, p.steps, p.fill, p.sigma)

    def accompanied_by(self) -> tuple[str, ...]:
        return fill_response(self.parameters.fill, self.parameters.sigma)

    def passes(self, query: PassQuery) -> Passes:
        """A bound: a map with many ties is removed in three orders of them, and a constant one not at all."""
        p = self.parameters
        return tie_passes(Passes(forward=p.steps), p.ties, p.steps, query)

    def shared(self, query: PassQuery) -> Mapping[str, Passes]:
        return shared_passes([self._removal(pixels_of(query))], self.parameters.ties, query)


class Insertion:
    """Insertion (Petsiuk et al. 2018, section 4.2): higher = the map finds what brings the score back.

    As :class:`Deletion`, from the fill to the picture. It starts from a blurred picture, since uncovering pixels on
    black draws edges that look like evidence; evidence that survives the blur is not seen by it.
    """

    Parameters = InsertionParameters

    def __init__(self, parameters: InsertionParameters) -> None:
        self.parameters = parameters

    @property
    def scores(self) -> tuple[ScoreSpec, ...]:
        return with_ties((INSERTION,), self.parameters.ties)

    def score(self, case: MapCase) -> Programme[Scores]:
        removal = self._removal(saliency_of(case).numel())
        in_order = partial(self._in_order, case, removal)
        return removal_scores(case, self.scores, self.parameters.ties, [removal], in_order)

    def _in_order(self, case: MapCase, removal: Removal, ties: int) -> Programme[Scores]:
        _, y = yield from target_curve(case, removal, ties)
        pixels = saliency_of(case).numel()
        return _scores(INSERTION, step_counts(pixels, self.parameters.steps).double() / pixels, y.flip(0))

    def _removal(self, pixels: int) -> Removal:
        p = self.parameters
        return insertion(pixels, p.steps, p.fill, p.sigma)

    def accompanied_by(self) -> tuple[str, ...]:
        return fill_response(self.parameters.fill, self.parameters.sigma)

    def passes(self, query: PassQuery) -> Passes:
        """A bound: a map with many ties is removed in three orders of them, and a constant one not at all."""
        p = self.parameters
        return tie_passes(Passes(forward=p.steps), p.ties, p.steps, query)

    def shared(self, query: PassQuery) -> Mapping[str, Passes]:
        return shared_passes([self._removal(pixels_of(query))], self.parameters.ties, query)
