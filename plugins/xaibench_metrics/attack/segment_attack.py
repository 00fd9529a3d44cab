"""Segment attack: whether the segments that a map puts first are those that an attack needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from pydantic import Field, field_validator
from torch import Tensor

from xaibench.contracts import Curve, Explanation, MapCase, Passes, PassQuery, Programme, Score, Scores, ScoreSpec, View
from xaibench.identity import digest
from xaibench_metrics.attack.choice import Segmentation, ranked_segments, region_of, segmentation_of
from xaibench_metrics.attack.judging import AttackParameters, Judged, Outcome, judged, published, random_outcomes
from xaibench_metrics.attack.scores import SCORES, STABILITY, ranked_values, undefined
from xaibench_metrics.attack.subjects import CALLED_REAL, too_few, why_no_attack
from xaibench_perturbation import region_digest

CELLS: Mapping[Segmentation, int] = {"slic-50": 75, "slic-80": 120, "slic-100": 150, "grid-7": 64}
"""Most segments of each segmentation: SLIC gives about as many as it is asked for, a shifted grid one more a side."""
CURVE_POINTS = 32
NO_RANDOM = "no random regions were asked for (draws=0)"
NO_CEILING = "the ceiling was not asked for (ceiling=false)"


class SegmentAttackParameters(AttackParameters):
    """Parameters of ``segment-attack``."""

    top: tuple[int, ...] = Field((1, 2, 3), description="how many segments are attacked together")
    segmentations: tuple[Segmentation, ...] = Field(
        ("slic-50", "grid-7"), description="superpixels as published, and a grid that no explainer used"
    )
    ceiling: bool = Field(True, description="attack every segment by itself, to know the best that a ranking could do")
    stability: bool = Field(False, description="also explain the picture after a little of the largest attack")

    @field_validator("top", "segmentations")
    @classmethod
    def _some(cls, values: tuple[object, ...]) -> tuple[object, ...]:
        if not values or len(set(values)) < len(values) or any(isinstance(v, int) and v < 1 for v in values):
            raise ValueError("name one or more, each once, numbers from 1 on")
        return values


@dataclass(frozen=True, slots=True)
class _Around:
    """What stands beside a region of one segmentation: nothing of it depends on the map."""

    labels: Tensor
    singles: tuple[Outcome | None, ...]


class SegmentAttack:
    """Adversarial evaluation (Tsigos et al. 2024): attack the top segments of the map towards *real*.

    SLIC 50; segments ranked by mean saliency; NES (or PGD) inside the top-1, top-1-2, top-1-2-3 segments, each from
    the clean picture. ``item`` is the segmentation and k, as ``slic-50 top-3``. For LIME on the same superpixels the
    mean is the regression weight. Only fakes that are called fake count; the published study also averaged fakes
    called real, as accuracy 0 and sufficiency 0, which ``mode=t24-code`` does too.

    The published scores hide three things. *Saturation*: with early stopping sufficiency cannot exceed P - 0.5 once
    everything flips; ``margin-drop`` and ``smallest-bound`` come from a fixed number of steps. *Area*: large segments
    are easier to attack; ``drop-percentile`` is the rank among random regions of the same area.
    *Grid*: segments that an explainer worked on favour it; scores on a shifted grid stand beside. ``random-drop`` and
    ``ceiling-drop`` (the segments that drop most by themselves) say what the measure can show at all: where they are
    equal, or random regions flip too, it cannot rank, and the leaderboard leaves the cell undefined.

    Curves: ``flipped``, 1 from the smallest bound on at which the verdict turned, over the bound.
    """

    Parameters = SegmentAttackParameters

    def __init__(self, parameters: SegmentAttackParameters) -> None:
        self.parameters = parameters
        self.scores = (*SCORES, STABILITY) if parameters.stability else SCORES
        self.needs = frozenset({"gradients"}) if parameters.attack == "pgd" else frozenset[str]()

    def score(self, case: MapCase) -> Programme[Scores] | Scores:
        reason = why_no_attack(case)
        if reason == CALLED_REAL and self.parameters.mode == "t24-code":
            return Scores(tuple(v for item in self._items() for v in as_published(self.scores, item)))
        return Scores.undefined(self.scores, reason) if reason else self._score(case)

    def _items(self) -> list[str]:
        p = self.parameters
        return [f"{segmentation} top-{k}" for segmentation in p.segmentations for k in p.top]

    def _score(self, case: MapCase) -> Programme[Scores]:
        values: list[Score] = []
        curves: list[Curve] = []
        for segmentation in self.parameters.segmentations:
            labels = yield from segmentation_of(case.picture, segmentation, case.artefacts, case.streams)
            if int(labels.max()) >= CELLS[segmentation]:
                reason = f"{segmentation} cut the picture into {int(labels.max()) + 1} pieces, too many to attack"
                values += [
                    v for k in self.parameters.top for v in undefined(self.scores, f"{segmentation} top-{k}", reason)
                ]
                continue
            singles = (yield from self._singles(case, labels)) if self.parameters.ceiling else []
            around = _Around(labels, tuple(singles))
            for k in self.parameters.top:
                item = f"{segmentation} top-{k}"
                found = yield from self._item(case, item, around, k)
                values += found.values
                curves += found.curves
        return Scores(tuple(values), tuple(curves))

    def _item(self, case: MapCase, item: str, around: _Around, k: int) -> Programme[Scores]:
        """One number of segments of one segmentation."""
        assert case.explanation.map is not None
        order = ranked_segments(case.explanation.map, around.labels)
        if k >= len(order):
            return Scores(tuple(undefined(self.scores, item, too_few(len(order), k))))
        region = region_of(around.labels, order[:k])
        own = yield from judged(case, region, self.parameters)
        if isinstance(own, str):
            return Scores(tuple(undefined(self.scores, item, own)))
        random = yield from random_outcomes(case, around.labels, region, self.parameters)
        values = [*ranked_values(item, own.outcome, random, NO_RANDOM)]
        values += yield from published(case, item, region, own)
        values += yield from self._ceiling(case, item, around, k)
        if self.parameters.stability:
            values += yield from self._stability(case, item, own, last=k == max(self.parameters.top))
        return Scores(tuple(values), (flipped_curve(item, own.outcome, self.parameters.bound),))

    def _singles(self, case: MapCase, labels: Tensor) -> Programme[list[Outcome | None]]:
        """Every segment attacked by itself; None where there was no signal."""
        found: list[Outcome | None] = []
        for segment in range(int(labels.max()) + 1):
            own = yield from judged(case, labels == segment, self.parameters)
            found.append(None if isinstance(own, str) else own.outcome)
        return found

    def _ceiling(self, case: MapCase, item: str, around: _Around, k: int) -> Programme[list[Score]]:
        names = ("ceiling-drop", "ceiling-flip")
        if not around.singles:
            return [Score(name=n, item=item, status="undefined", reason=NO_CEILING) for n in names]
        drops = torch.tensor([o.drop if o else float("-inf") for o in around.singles], dtype=torch.float64)
        best = torch.argsort(drops, descending=True, stable=True)[:k]
        own = yield from judged(case, region_of(around.labels, best), self.parameters)
        if isinstance(own, str):
            return [Score(name=n, item=item, status="undefined", reason=own) for n in names]
        found = (own.outcome.drop, float(own.outcome.flipped))
        return [Score(name=n, item=item, value=v) for n, v in zip(names, found, strict=True)]

    def _settings_digest(self) -> str:
        return digest(self.parameters.model_dump(mode="json"))[:16]

    def _stability(self, case: MapCase, item: str, own: Judged, last: bool) -> Programme[list[Score]]:
        if not last:
            return [Score(name="stability", item=item, status="not_applicable", reason="asked of the largest region")]
        near = own.attack.picture(case.picture.image, own.product, "near")
        view = View(
            f"little attacked {item} {region_digest(own.attack.region)[:16]} {self._settings_digest()}",
            lambda image, mask, landmarks: (near, mask, landmarks),
        )
        other: Explanation = yield from case.explain(view=view)
        return [_correlation(item, case.explanation.map, other)]

    def passes(self, query: PassQuery) -> Passes:
        """At most: an attack of every region, shared where several maps choose the same."""
        p = self.parameters
        each = len(p.top) * (1 + p.draws + p.ceiling)
        regions = sum(each + p.ceiling * CELLS[name] for name in p.segmentations)
        one = p.most_passes()
        readings = Passes(forward=len(p.top) * len(p.segmentations), exact=False)
        maps = query.map.times(len(p.segmentations)) if p.stability else Passes()
        return one.times(regions) + readings + maps


def flipped_curve(item: str, own: Outcome, bound: float) -> Curve:
    """Whether the verdict had turned, over the bound: a step at :attr:`Outcome.bound`."""
    x = [bound * i / CURVE_POINTS for i in range(CURVE_POINTS + 1)]
    return Curve(name="flipped", item=item, x=x, y=[float(own.flipped and own.bound <= b) for b in x])


def _correlation(item: str, first: Tensor | None, second: Explanation) -> Score:
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
