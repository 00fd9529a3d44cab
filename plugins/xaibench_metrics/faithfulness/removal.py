"""Deletion and insertion: how the score goes as pixels leave or come in the order of the map."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from xaibench.api import Curve, MapCase, Parameters, Passes, PassQuery, Programme, Score, Scores, ScoreSpec
from xaibench_metrics.faithfulness.curves import area, replaced_probabilities
from xaibench_perturbation import SIGMA, Background, PictureFill, is_constant, pixel_ranks, step_counts

Direction = Literal["delete", "insert"]

DELETION = ScoreSpec(
    name="deletion",
    better="lower",
    low=0,
    high=1,
    ranks_evidence=True,
    description="area under the target's probability over the share of pixels removed",
)
INSERTION = ScoreSpec(
    name="insertion",
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


def removal_curve(
    image: Tensor, background: Tensor, ranks: Tensor, *, target: int, clean: float, steps: int, direction: Direction
) -> Programme[tuple[Tensor, Tensor]]:
    """Shares of pixels changed and the target's probability there, ``(steps + 1,)`` float64 each.

    Point t has the ``floor(t * H * W / steps)`` first pixels of ``ranks`` ``(H, W)`` from ``background`` (delete) or
    from ``image`` (insert), all channels together. The untouched picture's point is ``clean``, the others are
    forwarded: ``steps`` passes.
    """
    counts = step_counts(ranks.numel(), steps)
    if direction == "delete":
        changed = yield from replaced_probabilities(image, background, ranks, counts[1:])
    else:
        changed = yield from replaced_probabilities(background, image, ranks, counts[:-1])
    at_picture = torch.tensor([clean], dtype=torch.float64)
    probabilities = changed[:, target]
    ends = [at_picture, probabilities] if direction == "delete" else [probabilities, at_picture]
    return counts.double() / ranks.numel(), torch.cat(ends)


def _score(
    case: MapCase, spec: ScoreSpec, parameters: DeletionParameters | InsertionParameters, direction: Direction
) -> Programme[Scores]:
    saliency = case.explanation.map
    assert saliency is not None
    if is_constant(saliency):
        return Scores.undefined((spec,), "the map is constant: it orders no pixels")
    image = case.picture.image.to(case.detector.device)
    made = yield from case.artefacts.get(Background(parameters.fill, parameters.sigma), case.picture)
    x, y = yield from removal_curve(
        image,
        made.tensors["background"],
        pixel_ranks(saliency.cpu()).to(image.device),
        target=case.target,
        clean=float(case.clean[case.target]),
        steps=parameters.steps,
        direction=direction,
    )
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
        return _score(case, DELETION, self.parameters, "delete")

    def passes(self, query: PassQuery) -> Passes:
        """Exact for every map that orders pixels; a constant one costs nothing."""
        return Passes(forward=self.parameters.steps)


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
        return _score(case, INSERTION, self.parameters, "insert")

    def passes(self, query: PassQuery) -> Passes:
        """Exact for every map that orders pixels; a constant one costs nothing."""
        return Passes(forward=self.parameters.steps)
