"""Deletion and insertion: how the score goes as pixels leave or come in the order of the map."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field
from torch import Tensor

from xaibench.api import Curve, MapCase, Parameters, Passes, PassQuery, Programme, Score, Scores, ScoreSpec
from xaibench_metrics.faithfulness.curves import CONSTANT, area, saliency_of
from xaibench_metrics.faithfulness.removal_curves import Removal, deletion, insertion, pixels_of, target_curve
from xaibench_perturbation import SIGMA, PictureFill, is_constant, step_counts

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


class DeletionParameters(Parameters):
    """Parameters of ``deletion``."""

    steps: int = Field(20, ge=1, description="equal steps from the picture to the fill")
    fill: PictureFill = Field("black", description="what replaces removed pixels")
    sigma: float = Field(SIGMA, gt=0, le=1, description="blur of fill=blur, as a share of the shorter side")


class InsertionParameters(Parameters):
    """Parameters of ``insertion``."""

    steps: int = Field(20, ge=1, description="equal steps from the fill to the picture")
    fill: PictureFill = Field("blur", description="what stands where pixels are not shown yet")
    sigma: float = Field(SIGMA, gt=0, le=1, description="blur of fill=blur, as a share of the shorter side")


def _scores(spec: ScoreSpec, x: Tensor, y: Tensor) -> Scores:
    return Scores((Score(name=spec.name, value=area(x, y)),), (Curve(name=spec.name, x=x.tolist(), y=y.tolist()),))


class Deletion:
    """Deletion (Petsiuk et al. 2018, section 4.2): lower = the map finds what the score hangs on.

    ``AUC = sum_t (x_{t+1} - x_t)(p_t + p_{t+1}) / 2`` with x the true share of pixels removed and p the probability of
    the target, both ends included; in [0, 1]. Pixels of equal saliency go in the order of reading. A constant map is
    ``undefined``.

    Departures: xplique truncates to ``max_percentage``, takes 10 steps, averages the curves of a data set before
    integrating, and takes all steps for equal where they do not divide the pixels; torchcam removes ``ceil(P / steps)``
    pixels a step, so that its last is shorter (the same where steps divides the pixels); Quantus's pixel flipping
    leaves the untouched picture out and does not divide by the length.
    """

    Parameters = DeletionParameters
    scores = (DELETION,)

    def __init__(self, parameters: DeletionParameters) -> None:
        self.parameters = parameters

    def score(self, case: MapCase) -> Programme[Scores]:
        saliency = saliency_of(case)
        if is_constant(saliency):
            return Scores.undefined(self.scores, CONSTANT)
        x, y = yield from target_curve(case, self._removal(saliency.numel()))
        return _scores(DELETION, x, y)

    def _removal(self, pixels: int) -> Removal:
        p = self.parameters
        return deletion(pixels, p.steps, p.fill, p.sigma)

    def passes(self, query: PassQuery) -> Passes:
        """Exact for every map that orders pixels; a constant one costs nothing."""
        return Passes(forward=self.parameters.steps)

    def shared(self, query: PassQuery) -> Mapping[str, Passes]:
        return self._removal(pixels_of(query)).shared()


class Insertion:
    """Insertion (Petsiuk et al. 2018, section 4.2): higher = the map finds what brings the score back.

    As :class:`Deletion`, from the fill to the picture. It starts from a blurred picture, since uncovering pixels on
    black draws edges that look like evidence; evidence that survives the blur is not seen by it.
    """

    Parameters = InsertionParameters
    scores = (INSERTION,)

    def __init__(self, parameters: InsertionParameters) -> None:
        self.parameters = parameters

    def score(self, case: MapCase) -> Programme[Scores]:
        saliency = saliency_of(case)
        if is_constant(saliency):
            return Scores.undefined(self.scores, CONSTANT)
        pixels = saliency.numel()
        _, y = yield from target_curve(case, self._removal(pixels))
        return _scores(INSERTION, step_counts(pixels, self.parameters.steps).double() / pixels, y.flip(0))

    def _removal(self, pixels: int) -> Removal:
        p = self.parameters
        return insertion(pixels, p.steps, p.fill, p.sigma)

    def passes(self, query: PassQuery) -> Passes:
        """Exact for every map that orders pixels; a constant one costs nothing."""
        return Passes(forward=self.parameters.steps)

    def shared(self, query: PassQuery) -> Mapping[str, Passes]:
        return self._removal(pixels_of(query)).shared()
