"""Counterpart attack: whether the region that a map of the real counterpart puts first is where the fake gives way."""

from __future__ import annotations

from pydantic import Field

from xaibench.contracts import Explanation, MapCase, Passes, PassQuery, Picture, Programme, Scores, View
from xaibench_metrics.attack.choice import Segmentation, ranked_segments, region_of, segmentation_of
from xaibench_metrics.attack.judging import AttackParameters, judged, published, random_outcomes
from xaibench_metrics.attack.scores import SCORES, ranked_values, undefined
from xaibench_metrics.attack.subjects import too_few, why_no_attack

UNPAIRED = "the picture has no real counterpart"
NO_RANDOM = "no random regions were asked for (draws=0)"
_OWN = tuple(s for s in SCORES if not s.name.startswith("ceiling"))


class CounterpartAttackParameters(AttackParameters):
    """Parameters of ``counterpart-attack``."""

    top: int = Field(1, ge=1, description="how many segments are attacked together")
    segmentation: Segmentation = Field("slic-100", description="superpixels of the real counterpart")


class CounterpartAttack:
    """Real-counterpart evaluation (Gowrisankar and Thing 2024): explain the *real* counterpart for the class *real*,
    take its single most salient of 100 superpixels, and attack that place of the fake towards *real*.

    It never hides anything, so no artefact of a fill is scored; but it needs an aligned pair, and it assumes that what
    speaks for *real* on one picture matters for *fake* on the other. The published score is ``accuracy`` (lower is
    better); the others are those of ``segment-attack``, random regions of the same area included. ``item`` is the
    segmentation and k. Fakes that are called real are left out.
    """

    Parameters = CounterpartAttackParameters
    scores = _OWN

    def __init__(self, parameters: CounterpartAttackParameters) -> None:
        self.parameters = parameters
        self.needs = frozenset({"gradients"}) if parameters.attack == "pgd" else frozenset[str]()

    def score(self, case: MapCase) -> Programme[Scores] | Scores:
        reason = why_no_attack(case)
        real = None if reason else case.picture.counterpart()
        if real is None:
            return Scores.undefined(self.scores, reason or UNPAIRED)
        return self._score(case, real)

    def _score(self, case: MapCase, real: Picture) -> Programme[Scores]:
        p = self.parameters
        item = f"{p.segmentation} top-{p.top}"
        view = View("real counterpart", lambda image, mask, landmarks: (real.image, mask, landmarks))
        explanation: Explanation = yield from case.explain(view=view, target=case.detector.facts.real_class)
        if explanation.map is None:
            return Scores(tuple(undefined(self.scores, item, f"no map of the counterpart: {explanation.reason}")))
        labels = yield from segmentation_of(real, p.segmentation, case.artefacts, case.streams)
        order = ranked_segments(explanation.map, labels)
        if p.top >= len(order):
            return Scores(tuple(undefined(self.scores, item, too_few(len(order), p.top))))
        region = region_of(labels, order[: p.top])
        own = yield from judged(case, region, p)
        if isinstance(own, str):
            return Scores(tuple(undefined(self.scores, item, own)))
        random = yield from random_outcomes(case, labels, region, p)
        beside = yield from published(case, item, region, own)
        return Scores((*ranked_values(item, own.outcome, random, NO_RANDOM), *beside))

    def passes(self, query: PassQuery) -> Passes:
        """At most: the attack and its random regions, one map, one reading."""
        p = self.parameters
        return p.most_passes().times(1 + p.draws) + query.map + Passes(forward=1, exact=False)
