"""Counterpart attack: whether the region that a map of the real counterpart puts first is where the fake gives way."""

from __future__ import annotations

from pydantic import Field

from xaibench.api import Explanation, MapCase, Passes, PassQuery, Picture, Programme, Scores, Together, View
from xaibench_metrics.attack.choice import CELLS, Segmentation, first_segments, region_of, segmentation_of, too_many
from xaibench_metrics.attack.judging import AttackParameters, ceiling, judged, published, random_outcomes, singles
from xaibench_metrics.attack.scores import SCORES, ranked_values, undefined
from xaibench_metrics.attack.subjects import why_no_attack

UNPAIRED = "the picture has no real counterpart"


class CounterpartAttackParameters(AttackParameters):
    """Parameters of ``counterpart-attack``."""

    top: int = Field(1, ge=1, description="how many segments are attacked together")
    segmentation: Segmentation = Field("slic-100", description="superpixels of the real counterpart")


class CounterpartAttack:
    """Real-counterpart evaluation (Gowrisankar and Thing 2024): explain the *real* counterpart for the class *real*,
    take its single most salient of 100 superpixels, and attack that place of the fake towards *real*.

    It never hides anything, so no artefact of a fill is scored; but it needs an aligned pair, and it assumes that what
    speaks for *real* on one picture matters for *fake* on the other. The published score is ``accuracy`` (lower is
    better); the others are those of ``segment-attack``, random regions of the same area and the ceiling included.
    ``item`` is the segmentation and k. Fakes that are called real are left out, and constant maps.
    """

    Parameters = CounterpartAttackParameters
    scores = SCORES

    def __init__(self, parameters: CounterpartAttackParameters) -> None:
        self.parameters = parameters
        self.needs = frozenset({"gradients"}) if parameters.attack == "pgd" else frozenset[str]()

    def score(self, case: MapCase) -> Programme[Scores] | Scores:
        reason = why_no_attack(case, self.parameters.mode)
        real = None if reason else case.picture.counterpart()
        if real is None:
            doubt = case.picture.sample.pair_doubt
            return Scores.undefined(self.scores, reason or (f"in doubt: {doubt}" if doubt else UNPAIRED))
        return self._score(case, real)

    def _score(self, case: MapCase, real: Picture) -> Programme[Scores]:
        p = self.parameters
        item = f"{p.segmentation} top-{p.top}"
        view = View("real counterpart", lambda image, mask, landmarks: (real.image, mask, landmarks))
        explanation: Explanation = yield from case.explain(view=view, target=case.detector.facts.real_class)
        if explanation.map is None:
            return Scores(tuple(undefined(self.scores, item, f"no map of the counterpart: {explanation.reason}")))
        labels = yield from segmentation_of(real, p.segmentation, case.artefacts, case.streams)
        first = too_many(labels, p.segmentation) or first_segments(explanation.map, labels, p.top)
        if isinstance(first, str):
            return Scores(tuple(undefined(self.scores, item, first)))
        region = region_of(labels, first)
        own = yield from judged(case, region, p)
        if isinstance(own, str):
            return Scores(tuple(undefined(self.scores, item, own)))
        random, alone = yield Together([random_outcomes(case, labels, region, p), singles(case, labels, p)])
        beside = yield from published(case, item, region, own)
        best = yield from ceiling(case, item, p.top, labels, alone, p)
        return Scores((*ranked_values(item, own.outcome, random, p.draws), *beside, *best))

    def passes(self, query: PassQuery) -> Passes:
        """At most: the attack, its random regions and its ceiling, one map, one reading."""
        p = self.parameters
        regions = 1 + p.draws + p.ceiling * (1 + CELLS[p.segmentation])
        return p.most_passes().times(regions) + query.map + Passes(forward=1, exact=False)
