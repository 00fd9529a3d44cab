"""The detector's verdict, not its probability, as pixels leave or come in the order of the map."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from pydantic import Field
from torch import Tensor

from xaibench.api import Curve, MapCase, Passes, PassQuery, Programme, Score, Scores, ScoreSpec
from xaibench_metrics.faithfulness.curves import (
    RemovalFill,
    area,
    saliency_of,
    still_called,
    with_clean,
)
from xaibench_metrics.faithfulness.fill_response import fill_response
from xaibench_metrics.faithfulness.removal_curves import (
    Removal,
    deletion,
    insertion,
    pixels_of,
    removal_probabilities,
    removal_scores,
    shared_passes,
)
from xaibench_metrics.faithfulness.ties import TieParameters, tie_passes, with_ties
from xaibench_perturbation import SIGMA, step_counts

DELETION_ACCURACY = ScoreSpec(
    name="deletion-accuracy",
    better="lower",
    low=0,
    high=1,
    ranks_evidence=True,
    is_accuracy=True,
    description="area under the verdict (1: still the target's) over the share of pixels removed",
)
INSERTION_ACCURACY = ScoreSpec(
    name="insertion-accuracy",
    better="higher",
    low=0,
    high=1,
    ranks_evidence=True,
    is_accuracy=True,
    description="area under the verdict (1: the target's) over the share of pixels shown",
)


class AccuracyParameters(TieParameters):
    """Parameters of ``accuracy-under-removal``."""

    steps: int = Field(20, ge=1, description="equal steps from the picture to the fill, and from the fill to it")
    removed: RemovalFill = Field("black", description="what replaces removed pixels")
    hidden: RemovalFill = Field("blur", description="what stands where pixels are not shown yet")
    sigma: float = Field(SIGMA, gt=0, le=1, description="blur, as a share of the shorter side")


class AccuracyUnderRemoval:
    """Detector accuracy against the share of pixels removed or shown, as deepfake work reports it (Gowrisankar & Thing
    2024, who find it *above* the untouched detector's after some removals).

    Per picture the curves ``deletion-accuracy`` and ``insertion-accuracy`` are 1 where the picture is still called the
    class that was explained, else 0, at the shares of ``deletion`` and ``insertion``; their mean over pictures is the
    accuracy at each share (of the class explained: explain the true one, ``target=label``, to have accuracy). The
    scores are the areas under them by trapezoids, in [0, 1]. For several fake classes the verdict's class counts: the
    likeliest fake one. Pixels of equal value go in a random order, the same for all maps of a picture. A constant map
    is ``undefined``.

    Unlike deletion and insertion, it sees no change of the probability that leaves the verdict, and nothing where a
    verdict turns at the first fill whatever is filled: read it beside the random control.
    """

    Parameters = AccuracyParameters

    def __init__(self, parameters: AccuracyParameters) -> None:
        self.parameters = parameters

    @property
    def scores(self) -> tuple[ScoreSpec, ...]:
        return with_ties((DELETION_ACCURACY, INSERTION_ACCURACY), self.parameters.ties)

    def score(self, case: MapCase) -> Programme[Scores]:
        pixels = saliency_of(case).numel()
        removals = (self._deletion(pixels), self._insertion(pixels))
        in_order = partial(self._in_order, case, *removals)
        return removal_scores(case, self.scores, self.parameters.ties, removals, in_order)

    def _in_order(self, case: MapCase, deletion: Removal, insertion: Removal, ties: int) -> Programme[Scores]:
        deleted = yield from removal_probabilities(case, deletion, ties)
        hidden = yield from removal_probabilities(case, insertion, ties)
        pixels = saliency_of(case).numel()
        x = step_counts(pixels, self.parameters.steps).double() / pixels
        curves = (
            (DELETION_ACCURACY, self._verdicts(case, with_clean(case, deleted))),
            (INSERTION_ACCURACY, self._verdicts(case, with_clean(case, hidden).flip(0))),
        )
        return Scores(
            tuple(Score(name=spec.name, value=area(x, y)) for spec, y in curves),
            tuple(Curve(name=spec.name, x=x.tolist(), y=y.tolist()) for spec, y in curves),
        )

    def _deletion(self, pixels: int) -> Removal:
        p = self.parameters
        return deletion(pixels, p.steps, p.removed, p.sigma)

    def _insertion(self, pixels: int) -> Removal:
        p = self.parameters
        return insertion(pixels, p.steps, p.hidden, p.sigma)

    def _verdicts(self, case: MapCase, probabilities: Tensor) -> Tensor:
        return still_called(probabilities, case.target, case.detector.facts)

    def accompanied_by(self) -> tuple[str, ...]:
        p = self.parameters
        return (*fill_response(p.removed, p.sigma), *fill_response(p.hidden, p.sigma))

    def passes(self, query: PassQuery) -> Passes:
        """A bound: a map with many ties is removed in three orders of them, and a constant one not at all."""
        p = self.parameters
        return tie_passes(Passes(forward=2 * p.steps), p.ties, p.steps, query)

    def shared(self, query: PassQuery) -> Mapping[str, Passes]:
        pixels = pixels_of(query)
        return shared_passes([self._deletion(pixels), self._insertion(pixels)], self.parameters.ties, query)
