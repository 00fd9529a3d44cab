"""Segment attack: whether the segments that a map puts first are those that an attack needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from pydantic import Field, field_validator
from torch import Tensor

from xaibench.api import (
    Curve,
    Explanation,
    MapCase,
    Passes,
    PassQuery,
    Programme,
    Score,
    Scores,
    ScoreSpec,
    Together,
    View,
    digest,
)
from xaibench_metrics.attack.choice import CELLS, Segmentation, first_segments, region_of, segmentation_of, too_many
from xaibench_metrics.attack.judging import (
    AttackParameters,
    Judged,
    Outcome,
    ceiling,
    judged,
    published,
    random_outcomes,
    singles,
)
from xaibench_metrics.attack.scores import (
    GRID_ADVANTAGE,
    PERCENTILE,
    SCORES,
    STABILITY,
    ranked_values,
    undefined,
)
from xaibench_metrics.attack.subjects import CALLED_REAL, why_no_attack
from xaibench_perturbation import region_digest

OWN_GRID: Segmentation = "slic-50"
"""The superpixels that LIME and the other segment explainers work on by default."""
CURVE_POINTS = 32


class SegmentAttackParameters(AttackParameters):
    """Parameters of ``segment-attack``."""

    top: tuple[int, ...] = Field((1, 2, 3), description="how many segments are attacked together")
    segmentations: tuple[Segmentation, ...] = Field(
        ("slic-50", "grid-7"), description="superpixels as published, and a grid that no explainer used"
    )
    stability: bool = Field(False, description="also explain the picture after a little of the largest attack")

    @field_validator("top", "segmentations")
    @classmethod
    def _some(cls, values: tuple[object, ...]) -> tuple[object, ...]:
        if not values or len(set(values)) < len(values) or any(isinstance(v, int) and v < 1 for v in values):
            raise ValueError("name one or more, each once, numbers from 1 on")
        return values


@dataclass(frozen=True, slots=True)
class _Region:
    """The segments that the map puts first, k of one segmentation, and what stands beside their attack."""

    item: str
    k: int
    own: Judged
    random: list[Outcome]
    published: list[Score]


class SegmentAttack:
    """Adversarial evaluation (Tsigos et al. 2024): attack the top segments of the map towards *real*.

    SLIC 50; segments ranked by mean saliency; NES (or PGD) inside the top-1, top-1-2, top-1-2-3 segments, each from
    the clean picture. ``item`` is the segmentation and k, as ``slic-50 top-3``. For LIME on the same superpixels the
    mean is the regression weight. Only fakes that are called fake count; the published study also averaged fakes
    called real, as accuracy 0 and sufficiency 0, which ``mode=t24-code`` does too.

    The published scores hide three things. *Saturation*: with early stopping sufficiency cannot exceed P - 0.5 once
    everything flips; ``margin-drop`` and ``distortion-upper-bound`` come from a fixed number of steps. *Area*: large
    segments are easier to attack; ``drop-percentile`` is the rank among random regions of the same area.
    *Grid*: segments that an explainer worked on favour it; scores on a shifted grid stand beside, and
    ``grid-advantage`` is the difference of the percentiles at the same k. ``random-drop`` and
    ``ceiling-drop`` (the segments that drop most by themselves) say what the measure can show at all: where they are
    equal, or random regions flip too, it cannot rank, and the leaderboard leaves the cell undefined.

    A constant map is ``undefined``; otherwise equal segments go by number. An explainer without
    a map has no value here, and what is left out is counted beside the leaderboard; ranks are over common pictures.

    Curves: ``flipped``, 1 from the change on at which the attack turned the verdict, over the change.

    ``mode=t24-code`` is the published NES: its units, its stop and its likeliest-class verdict. It bounds no change, so
    that ``distortion-upper-bound`` and the curve are missing there. Departures in both modes: the superpixels are those
    of the picture, not of the normalised tensor, and every method is attacked on the same ones; of LIME's segments
    negative ones count too.
    """

    Parameters = SegmentAttackParameters

    def __init__(self, parameters: SegmentAttackParameters) -> None:
        self.parameters = parameters
        self._of_a_region = (*SCORES, STABILITY) if parameters.stability else SCORES
        self.scores = (*self._of_a_region, GRID_ADVANTAGE) if self._foreign() else self._of_a_region
        self.needs = frozenset({"gradients"}) if parameters.attack == "pgd" else frozenset[str]()

    def score(self, case: MapCase) -> Programme[Scores] | Scores:
        reason = why_no_attack(case, self.parameters.mode)
        if reason == CALLED_REAL and self.parameters.mode == "t24-code":
            return Scores((
                *(v for item in self._items() for v in as_published(self._of_a_region, item)),
                *(v for item in self._foreign_items() for v in undefined((GRID_ADVANTAGE,), item, reason)),
            ))  # fmt: skip
        return Scores.undefined(self.scores, reason) if reason else self._score(case)

    def _items(self) -> list[str]:
        p = self.parameters
        return [item_of(segmentation, k) for segmentation in p.segmentations for k in p.top]

    def _foreign(self) -> list[Segmentation]:
        """Segmentations to compare the explainers' own with."""
        asked = self.parameters.segmentations
        return [s for s in asked if s != OWN_GRID] if OWN_GRID in asked else []

    def _foreign_items(self) -> list[str]:
        return [item_of(segmentation, k) for segmentation in self._foreign() for k in self.parameters.top]

    def _score(self, case: MapCase) -> Programme[Scores]:
        found: list[Scores] = yield Together([self._segmented(case, s) for s in self.parameters.segmentations])
        values = [v for scores in found for v in scores.values]
        values += grid_advantages(values, self._foreign(), self.parameters.top)
        return Scores(tuple(values), tuple(c for scores in found for c in scores.curves))

    def _segmented(self, case: MapCase, segmentation: Segmentation) -> Programme[Scores]:
        """All numbers of segments of one segmentation. Every attack that waits for no other runs beside the others."""
        p = self.parameters
        labels = yield from segmentation_of(case.picture, segmentation, case.artefacts, case.streams)
        if reason := too_many(labels, segmentation):
            return Scores(
                tuple(v for k in p.top for v in undefined(self._of_a_region, item_of(segmentation, k), reason))
            )
        regions = [self._region(case, item_of(segmentation, k), labels, k) for k in p.top]
        alone, *found = yield Together([singles(case, labels, p), *regions])
        scores = yield Together([self._region_scores(case, region, labels, alone) for region in found])
        return Scores(tuple(v for s in scores for v in s.values), tuple(c for s in scores for c in s.curves))

    def _region(self, case: MapCase, item: str, labels: Tensor, k: int) -> Programme[_Region | Scores]:
        """The k segments that the map puts first, attacked; all scores undefined where that says nothing."""
        assert case.explanation.map is not None
        first = first_segments(case.explanation.map, labels, k)
        if isinstance(first, str):
            return Scores(tuple(undefined(self._of_a_region, item, first)))
        region = region_of(labels, first)
        own = yield from judged(case, region, self.parameters)
        if isinstance(own, str):
            return Scores(tuple(undefined(self._of_a_region, item, own)))
        random = yield from random_outcomes(case, labels, region, self.parameters)
        beside = yield from published(case, item, region, own)
        return _Region(item, k, own, random, beside)

    def _region_scores(
        self, case: MapCase, found: _Region | Scores, labels: Tensor, alone: Sequence[Outcome | None]
    ) -> Programme[Scores]:
        if isinstance(found, Scores):
            return found
        p = self.parameters
        values = [*ranked_values(found.item, found.own.outcome, found.random, p.draws), *found.published]
        values += yield from ceiling(case, found.item, found.k, labels, alone, p)
        if p.stability:
            last = found.k == max(p.top)
            values += yield from self._stability(case, found.item, found.own, last=last)
        return Scores(tuple(values), tuple(flipped_curves(found.item, found.own.outcome, p.largest())))

    def _settings_digest(self) -> str:
        return digest(self.parameters.model_dump(mode="json"))[:16]

    def _stability(self, case: MapCase, item: str, own: Judged, last: bool) -> Programme[list[Score]]:
        if not last:
            return [Score(name="stability", item=item, status="not_applicable", reason="asked of the largest region")]
        near = own.attack.picture(case.picture.image, own.product, "near")
        view = View(
            f"little attacked {item} {region_digest(own.attack.region)[:16]} {self._settings_digest()}",
            lambda image, mask, landmarks: (near, mask, landmarks),
            bounded=self.parameters.mode == "strict" or self.parameters.attack == "pgd",
        )
        other: Explanation = yield from case.explain(view=view)
        return [correlation(item, case.explanation.map, other)]

    def passes(self, query: PassQuery) -> Passes:
        """At most: an attack of every region, shared where several maps choose the same."""
        p = self.parameters
        each = len(p.top) * (1 + p.draws + p.ceiling)
        regions = sum(each + p.ceiling * CELLS[name] for name in p.segmentations)
        one = p.most_passes()
        readings = Passes(forward=len(p.top) * len(p.segmentations), exact=False)
        maps = query.map.times(len(p.segmentations)) if p.stability else Passes()
        return one.times(regions) + readings + maps


def item_of(segmentation: Segmentation, k: int) -> str:
    """What tells apart the values of a score."""
    return f"{segmentation} top-{k}"


def grid_advantages(values: Sequence[Score], foreign: Sequence[Segmentation], top: Sequence[int]) -> Iterator[Score]:
    """``drop-percentile`` on the explainers' own grid less that on each foreign one, at every k: in [-1, 1].

    The percentile, unlike the drop, does not grow with the area, in which the segments of two grids differ.
    """
    known = {v.item: v for v in values if v.name == PERCENTILE.name}
    for segmentation in foreign:
        for k in top:
            own, other = known[item_of(OWN_GRID, k)], known[item_of(segmentation, k)]
            lacking = next((v for v in (own, other) if v.value is None), None)
            if own.value is not None and other.value is not None:
                yield Score(name=GRID_ADVANTAGE.name, item=other.item, value=own.value - other.value)
            elif lacking is not None:
                why = f"no {PERCENTILE.name} of {lacking.item}: {lacking.reason}"
                yield Score(name=GRID_ADVANTAGE.name, item=other.item, status="undefined", reason=why)


def flipped_curves(item: str, own: Outcome, largest: float | None) -> Iterator[Curve]:
    """Whether the verdict had turned, over the bound: a step at :attr:`Outcome.bound`. None where none is tried."""
    bound = own.bound
    if largest is not None and bound is not None:
        x = [largest * i / CURVE_POINTS for i in range(CURVE_POINTS + 1)]
        yield Curve(name="flipped", item=item, x=x, y=[float(own.flipped and bound <= b) for b in x])


def correlation(item: str, first: Tensor | None, second: Explanation) -> Score:
    """Pearson's correlation of two maps, -1 to 1; undefined where one is constant or missing."""
    if first is None or second.map is None:
        return Score(name="stability", item=item, status="undefined", reason=f"no second map: {second.reason}")
    pair = torch.stack([first.flatten(), second.map.flatten()]).double()
    if bool((pair.std(dim=1) == 0).any()):
        return Score(name="stability", item=item, status="undefined", reason="one of the maps is constant")
    return Score(name="stability", item=item, value=float(torch.corrcoef(pair)[0, 1].clamp(-1, 1)))


def as_published(specs: Sequence[ScoreSpec], item: str) -> Iterator[Score]:
    """A fake that is called real: the published study counts it with accuracy 0 and sufficiency 0 for every map."""
    for spec in specs:
        if spec.name in ("accuracy", "class-accuracy", "sufficiency", "drop-over-area"):
            yield Score(name=spec.name, item=item, value=0.0)
        else:
            yield Score(name=spec.name, item=item, status="undefined", reason=CALLED_REAL)
