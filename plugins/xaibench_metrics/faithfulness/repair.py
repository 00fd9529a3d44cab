"""Repair: how fast the verdict turns real as the real counterpart's pixels come back, most salient first."""

from __future__ import annotations

from functools import partial

import torch
from pydantic import Field
from torch import Tensor

from xaibench.api import (
    Curve,
    Facts,
    Forward,
    MapCase,
    Passes,
    PassQuery,
    Programme,
    Score,
    Scores,
    ScoreSpec,
    to_device,
)
from xaibench_metrics.faithfulness.curves import (
    CONSTANT,
    area,
    replaced_probabilities,
    saliency_of,
    shown_image,
    with_clean,
)
from xaibench_metrics.faithfulness.ties import TieParameters, in_tie_orders, tie_order, tie_passes, with_ties
from xaibench_perturbation import is_constant, jpeg, pixel_ranks, step_counts, tied_share

REPAIR_AUC = ScoreSpec(
    name="repair-auc",
    output="probability",
    better="lower",
    low=0,
    high=1,
    ranks_evidence=True,
    description="area under P(fake) over the share of pixels put back from the real counterpart",
)
REPAIR_HALF = ScoreSpec(
    name="repair-half",
    better="lower",
    low=0,
    high=1,
    ranks_evidence=True,
    description="share of pixels put back after which the verdict is real; 1 where it never is",
)
SEAM = ScoreSpec(
    name="seam",
    output="probability",
    better="none",
    low=-1,
    high=1,
    primary=False,
    why_not="it measures what pasting alone does, a caution for the other two, not what the map is worth",
    description="change of P(fake) when the same pixels come from a JPEG of the real counterpart into the real one",
)


class RepairParameters(TieParameters):
    """Parameters of ``repair``."""

    steps: int = Field(20, ge=1, description="equal steps from the fake to its real counterpart")
    seam_share: float = Field(0.1, gt=0, lt=1, description="share pasted for the seam where no part turned the verdict")
    seam_quality: int = Field(75, ge=1, le=95, description="JPEG quality of the copy that the seam is pasted from")


def why_no_repair(case: MapCase, real: Tensor | None) -> str:
    """The reason why there is nothing to repair, or ``""``. ``real``: the counterpart's pixels, if there is one."""
    if case.target == case.detector.facts.real_class:
        return "the class explained is real: there is nothing to repair"
    if case.picture.sample.label == "real":
        return "real pictures have no real counterpart"
    if case.picture.sample.pair_doubt:
        return f"in doubt: {case.picture.sample.pair_doubt}"
    if real is None:
        return "the picture has no real counterpart"
    if torch.equal(case.picture.image.cpu(), real.cpu()):
        return "the real counterpart is the picture itself"
    return CONSTANT if is_constant(saliency_of(case)) else ""


def p_fake(probabilities: Tensor, facts: Facts) -> Tensor:
    """``1 - P(real)`` of each row, ``(n,)`` float64."""
    return 1 - probabilities[:, facts.real_class].double()


def turning_point(fake: Tensor, threshold: float) -> int | None:
    """Index of the first point of a P(fake) curve ``(n,)`` whose verdict is real; None where there is none."""
    real = (fake < threshold).nonzero()
    return int(real[0]) if len(real) else None


class Repair:
    """Repair from the real counterpart: lower = the map finds what makes the picture fake. No fill is needed.

    A fake and the real picture it was made from differ where it was manipulated. The real one's pixels are pasted in,
    highest in the map first, until nothing of the fake is left: ``repair-auc`` is the area under P(fake) = 1 - P(real)
    over the share of pixels, both ends included, by trapezoids, in [0, 1]. ``repair-half`` is the least share, on the
    grid of ``steps``, after which the verdict is real; censored at 1 where it never is, not even of the whole real
    picture; ``undefined`` where the fake is called real already. Where fake and real are equal, pasting changes
    nothing, so that the order matters among the pixels that differ.

    A map that mixes both pictures can leave a seam, which a detector may take for manipulation. ``seam`` says how far:
    P(fake) of the real picture with the same top region (at ``repair-half``, or ``seam_share`` where no part of the
    picture turned the verdict) from its own JPEG copy, minus P(fake) of the real picture. Neither holds anything fake.

    ``undefined``: real pictures, the class *real* explained, no counterpart, one equal to the picture, a constant map.
    Pixels of equal value go in a random order, the same for all maps of a picture. Our own measure; no library has it.
    """

    Parameters = RepairParameters

    def __init__(self, parameters: RepairParameters) -> None:
        self.parameters = parameters

    @property
    def scores(self) -> tuple[ScoreSpec, ...]:
        return with_ties((REPAIR_AUC, REPAIR_HALF, SEAM), self.parameters.ties)

    def score(self, case: MapCase) -> Programme[Scores]:
        found = case.picture.counterpart()
        real = None if found is None else found.image
        reason = why_no_repair(case, real)
        if reason or real is None:
            return Scores.undefined(self.scores, reason)
        saliency, p = saliency_of(case), self.parameters
        share = tied_share(saliency, step_counts(saliency.numel(), p.steps).tolist())
        in_order = partial(self._in_order, case, real.to(shown_image(case)))
        scores = yield from in_tie_orders(self.scores, p.ties, share, in_order)
        return scores

    def _in_order(self, case: MapCase, real: Tensor, ties: int) -> Programme[Scores]:
        image, facts, saliency = shown_image(case), case.detector.facts, saliency_of(case)
        order = yield from tie_order(case, saliency.numel(), ties)
        ranks = pixel_ranks(saliency, order)
        counts = step_counts(ranks.numel(), self.parameters.steps)
        repaired = yield from replaced_probabilities(image, real, ranks, counts[1:])
        fake, x = p_fake(with_clean(case, repaired), facts), counts.double() / ranks.numel()
        turned = turning_point(fake, facts.threshold)
        pasted = yield from self._pasted(real, ranks, self._seam_pixels(counts, turned))
        seam = float(p_fake(pasted, facts)[0] - fake[-1])
        values = (
            Score(name=REPAIR_AUC.name, value=area(x, fake)),
            _half(x, turned),
            Score(name=SEAM.name, value=seam),
        )
        return Scores(values, (Curve(name="repair", x=x.tolist(), y=fake.tolist()),))

    def _seam_pixels(self, counts: Tensor, turned: int | None) -> int:
        """How many of the first pixels are pasted. The whole picture would have no seam, and none no pixel."""
        pixels = int(counts[-1])
        if turned is not None and 0 < int(counts[turned]) < pixels:
            return int(counts[turned])
        return max(1, int(pixels * self.parameters.seam_share))

    def _pasted(self, real: Tensor, ranks: Tensor, pixels: int) -> Programme[Tensor]:
        copy = jpeg(real, self.parameters.seam_quality)
        reply: Tensor = yield Forward(torch.where(to_device(ranks, real.device) < pixels, copy, real)[None])
        return reply.cpu()

    def passes(self, query: PassQuery) -> Passes:
        """A bound for fakes with a counterpart: three orders of many ties; ``undefined`` costs nothing."""
        p = self.parameters
        return tie_passes(Passes(forward=p.steps + 1), p.ties, p.steps, query) if query.sample.pair else Passes()


def _half(x: Tensor, turned: int | None) -> Score:
    if turned == 0:
        return Score(name=REPAIR_HALF.name, status="undefined", reason="the fake is called real already")
    return Score(name=REPAIR_HALF.name, value=1.0 if turned is None else float(x[turned]))
