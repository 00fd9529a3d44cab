"""The salience measures on planted families: two conditions whose order is known, and whether a measure sees it.

========================  ==========================================  ==========================================
question                  should score better                         than
========================  ==========================================  ==========================================
focus                     evidence in one part                        the same in six parts
following                 a detector that searches the whole picture  one that reads a fixed place
noise                     one that reads coarse brightness            one that reads fine texture
runs                      runs that share their evidence              runs that each read another part
degradation               the map of the evidence                     the same map elsewhere
degradation-fill          the same, where a blur is evidence itself
========================  ==========================================  ==========================================
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
import torch
from torch import Tensor

from xaibench.api import Done, ExplainRequest, Scores, Streams, describe_error
from xaibench_audit.budgets import metric_use
from xaibench_audit.detectors import EvidenceDetector, Part, calibrated
from xaibench_audit.evidence import CORNER, Evidence, Planted, evidence, plant
from xaibench_audit.maps import shifted
from xaibench_audit.pictures import AuditPictures, Change, Manipulation
from xaibench_audit.ranking import slack_of
from xaibench_audit.responses import Brightness, Checker, Contrast, Response
from xaibench_audit.scoring import FAKE, Measure
from xaibench_statistics import Difference, Values, exact_mean, paired_difference
from xaibench_testing import Member, Patch, drawn_by, make_bench, pictures_of, score, score_set

if TYPE_CHECKING:
    from xaibench import Registry, Use

DRAWN = ("gradcam", "saliency")
EVIDENCE_MAP = "evidence"
MEMBERS, PLACES = 3, 6
_PUBLISHED = "-explain2me"
_ALPHA: Final = 0.05

QUESTIONS: Mapping[str, tuple[str, ...]] = {
    "focus": ("entropy-histogram", "entropy-spatial"),
    "following": ("geometric-following", f"geometric-following{_PUBLISHED}"),
    "noise": ("noise-response", f"noise-response{_PUBLISHED}"),
    "runs": ("run-stability", f"run-stability{_PUBLISHED}"),
    "degradation": ("guided-degradation", f"guided-degradation{_PUBLISHED}"),
    "degradation-fill": ("guided-degradation", f"guided-degradation{_PUBLISHED}"),
}
"""The built-in metrics that each question is for."""

_SMALL = tuple(Patch(row, column, 8, 8) for row in (6, 34) for column in (6, 28, 50))
_LARGE = Patch(8, 12, 32, 40)


@dataclass(frozen=True, slots=True)
class Found:
    """What came of one score: the means of both conditions and their paired difference, in the score's own units.

    ``reason`` says why there is none. ``right`` is True where the interval of the difference lies on the side where it
    should, False where on the other, None where it holds 0 and where the difference is no more than
    :data:`~xaibench_audit.ranking.RESOLUTION` of the score's range. A difference that is the same on all pictures has
    no interval; there the test by sign flips decides at 5 %.
    """

    question: str
    explainer: str
    measure: Measure
    first: float | None
    second: float | None
    difference: Difference | None
    reason: str = ""
    failed: str = ""
    """What the metric raised on some picture or family, if it did."""

    @property
    def right(self) -> bool | None:
        found = self.difference
        if found is None or found.value is None:
            return None
        if abs(found.value) <= slack_of(np.array([self.first, self.second]), self.measure.width):
            return None
        told = found.low is not None and found.high is not None and not found.low <= 0 <= found.high
        if told or (found.low is None and found.p is not None and found.p < _ALPHA):
            return (found.value > 0) == (self.measure.better == "higher")
        return None

    @property
    def text(self) -> str:
        if self.difference is None:
            return f"undefined: {self.reason}"
        if self.difference.low is None and self.difference.p is None:
            return f"undefined: {self.difference.note}"
        return {True: "separates", False: "the wrong way round", None: "cannot tell"}[self.right]


@dataclass(frozen=True, slots=True)
class Asked:
    """One question as a task: by name, so that it can be handed to another process."""

    question: str
    metric: str
    pairs: int
    seed: int


Condition: TypeAlias = "tuple[Planted, Use]"


@dataclass(slots=True)
class Side:
    """One condition's values by measure and picture, and the last reason why a score had none; ``failed``
    is what the metric raised, if it did."""

    values: dict[Measure, dict[str, float]] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    failed: str = ""

    def take(self, metric: Use, key: str, done: Done[Scores]) -> None:
        """The scores of one picture or family; items of a score are averaged."""
        if done.value is None:
            self.failed = describe_error(done.error) if done.error else "no scores"
        for spec in metric.instance.scores:
            if not spec.primary or spec.better == "none":
                continue
            if done.value is None:
                self.reasons[spec.name] = f"fails: {self.failed}"
                continue
            mine = [v for v in done.value.values if v.name == spec.name]
            values = [v.value for v in mine if v.value is not None]
            if values:
                measure = Measure.of(metric, spec)
                self.values.setdefault(measure, {})[key] = sum(values) / len(values)
            else:
                self.reasons[spec.name] = next((v.reason for v in mine if v.reason), "no value")


def answer(asked: Asked, registry: Registry) -> tuple[Found, ...]:
    """Both conditions of a question, scored by one metric."""
    from xaibench import open_component

    metric = metric_use(registry, asked.metric)
    found: list[Found] = []
    for explainer, first, second in _conditions(asked, registry):
        scored = [_scored(metric, condition, asked, registry) for condition in (first, second)]
        found += _compared(asked.question, explainer, metric, *scored)
    if asked.question == "runs":
        for explainer in DRAWN:
            use = open_component("explainer", explainer, registry=registry)
            scored = [_families(metric, use, asked, shared, registry) for shared in (True, False)]
            found += _compared(asked.question, explainer, metric, *scored)
    return tuple(found)


# ---- conditions -----------------------------------------------------------------------------------------------------


def _conditions(asked: Asked, registry: Registry) -> Iterator[tuple[str, Condition, Condition]]:
    """By the explainer's name, the two conditions of a question; none for ``runs``, whose cases are families."""
    from xaibench import open_component

    drawn = [(name, open_component("explainer", name, registry=registry)) for name in DRAWN]
    truth = drawn_by(evidence_map, EVIDENCE_MAP)
    if asked.question == "focus":
        one, six = _contrasts(asked, _SMALL[:1]), _contrasts(asked, _SMALL)
        yield from ((n, (one, u), (six, u)) for n, u in (("gradcam", drawn[0][1]), (EVIDENCE_MAP, truth)))
    elif asked.question == "following":
        searching, fixed = _one(asked, "contrast", CORNER, Checker()), _one(asked, "contrast", CORNER, Contrast(CORNER))
        yield from ((n, (searching, u), (fixed, u)) for n, u in drawn)
    elif asked.question == "noise":
        coarse = _one(asked, "brightness", _LARGE, Brightness(_LARGE, 9))
        fine = _one(asked, "contrast", _LARGE, Checker())
        yield from ((n, (coarse, u), (fine, u)) for n, u in drawn)
    elif asked.question.startswith("degradation"):
        kind = "off-centre" if asked.question == "degradation" else "missing-texture"
        planted = plant(evidence(kind), asked.pairs, asked.seed)
        elsewhere = drawn_by(lambda request: shifted(evidence_map(request)), "elsewhere")
        yield EVIDENCE_MAP, (planted, truth), (planted, elsewhere)


def evidence_map(request: ExplainRequest) -> Tensor:
    """The true evidence of the picture under the view asked for, against its counterpart under the same view."""
    real = request.picture.counterpart()
    assert real is not None
    assert isinstance(request.detector, EvidenceDetector)
    return request.detector.evidence(request.picture.image, real.image).clamp(min=0)


def _one(asked: Asked, change: Change, place: Patch, response: Response) -> Planted:
    kind = Evidence(asked.question, ((1.0, response, Manipulation(change, place)),), "", 1.0)
    return plant(kind, asked.pairs, asked.seed)


def _contrasts(asked: Asked, places: Sequence[Patch]) -> Planted:
    each = tuple((1 / len(places), Contrast(p), Manipulation("contrast", p)) for p in places)
    return plant(Evidence(f"{asked.question}-{len(places)}", each, "", 1.0), asked.pairs, asked.seed)


# ---- scores ---------------------------------------------------------------------------------------------------------


def _scored(metric: Use, condition: Condition, asked: Asked, registry: Registry) -> Side:
    """The scores of every picture under one condition."""
    planted, use = condition
    bench = make_bench(planted.detector, seed=asked.seed, batch_size=64, registry=registry)
    side = Side()
    done = score(metric, use, planted.detector, planted.fakes, FAKE, bench=bench)
    for picture, outcome in zip(planted.fakes, done, strict=True):
        side.take(metric, picture.sample.id, outcome)
    return side


def _families(metric: Use, use: Use, asked: Asked, shared: bool, registry: Registry) -> Side:
    """The scores of families of :data:`MEMBERS` runs; the replicate, here under the name of a picture, is a family.

    All fakes hold the pattern in six places. The runs of a family read one and the same place, each with a threshold of
    its own, or a place each, by the seeded draw of the family.
    """
    count = max(4, asked.pairs // 3)
    pictures = AuditPictures(count, tuple(Manipulation("contrast", p) for p in _SMALL), seed=asked.seed)
    side = Side()
    for family in range(asked.pairs):
        draw = Streams.of(asked.seed, 0, "audit families", str(family)).torch("places")
        places = torch.randperm(PLACES, generator=draw).tolist()[:MEMBERS]
        chosen = [places[0]] * MEMBERS if shared else places
        members = {f"run-{i}": _member(pictures, p, i) for i, p in enumerate(chosen)}
        done = score_set(metric, use, members, seed=asked.seed, batch_size=64, registry=registry)
        side.take(metric, f"family-{family:02d}", done)
    return side


def _member(pictures: AuditPictures, place: int, number: int) -> Member:
    settled = calibrated(f"audit-run-{number}", [Part(Contrast(_SMALL[place]), 1.0)], pictures).parts[0]
    part = Part(settled.response, 1.0, settled.middle * (1 + number / 100), settled.half)
    detector = EvidenceDetector(f"audit-run-{number}", [part], pictures.size)
    fakes = [s for s in pictures.samples() if s.label == "fake"]
    return Member(detector, pictures_of(pictures, detector, fakes), FAKE)


def _compared(question: str, explainer: str, metric: Use, first: Side, second: Side) -> Iterator[Found]:
    """The means of the pictures, or families, that have a score under both conditions, and their difference."""
    failed = first.failed or second.failed
    for spec in metric.instance.scores:
        if not spec.primary or spec.better == "none":
            continue
        measure = Measure.of(metric, spec)
        empty = [side for side in (first, second) if not side.values.get(measure)]
        if empty:
            reason = empty[0].reasons.get(spec.name, "no value")
            yield Found(question, explainer, measure, None, None, None, reason, failed)
            continue
        of_first, of_second = first.values[measure], second.values[measure]
        common = sorted(of_first.keys() & of_second.keys())
        if not common:
            yield Found(question, explainer, measure, None, None, None, "no picture has a score of both", failed)
            continue
        a, b = (Values.of(common, [v[s] for s in common]) for v in (of_first, of_second))
        paired = paired_difference(a, b)
        yield Found(question, explainer, measure, exact_mean(a.values), exact_mean(b.values), paired, failed=failed)
