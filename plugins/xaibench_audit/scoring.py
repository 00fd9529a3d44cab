"""One measure on all maps of one planted evidence: the values by map and picture, and what they cost."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from xaibench.api import DETECTOR_NEEDS, Better, Done, MetricRecord, Passes, Scores, ScoreSpec, describe_error
from xaibench_audit.evidence import Planted
from xaibench_audit.maps import Candidate, correlation
from xaibench_testing import explain, score

if TYPE_CHECKING:
    from xaibench import Bench, Use

FAKE = 1
GIVEN = frozenset(("gradients", "activations", "mask", "pair"))


@dataclass(frozen=True, slots=True, order=True)
class Measure:
    """One score of a metric, by the item where it has several. ``better`` is its direction, ``width`` its declared
    highest value less the lowest; ``claims`` whether it is declared to rank the evidence."""

    metric: str
    score: str
    item: str = ""
    better: Better = "higher"
    primary: bool = True
    claims: bool = True
    width: float = math.inf

    @staticmethod
    def of(use: Use, spec: ScoreSpec, item: str = "") -> Measure:
        """The measure that a metric's score is."""
        return Measure(use.name, spec.name, item, spec.better, spec.primary, spec.ranks_evidence, spec.high - spec.low)

    @property
    def name(self) -> str:
        """``metric``, ``metric/score`` where they differ, and the item; the metric without its parameters."""
        bare = self.metric.removeprefix("xaibench/").partition(":")[0]
        whole = bare if self.score == bare.rpartition("/")[2] else f"{bare}/{self.score}"
        return f"{whole} [{self.item}]" if self.item else whole


@dataclass(slots=True)
class Measured:
    """Values by map and sample; a missing one has a reason in ``reasons``. ``failed``: what the metric raised."""

    measure: Measure
    values: dict[str, dict[str, float]] = field(default_factory=dict)
    reasons: Counter[str] = field(default_factory=Counter)
    failed: str = ""


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one metric on one evidence: maps scored, passes and seconds of all of them."""

    metric: str
    maps: int
    passes: Passes
    seconds: float


def why_not(use: Use) -> str:
    """Why a metric cannot be asked to rank planted maps; empty where it can."""
    record = use.registered.record
    assert isinstance(record, MetricRecord)
    needs = record.needs | getattr(use.instance, "needs", frozenset())
    if record.scope != "sample":
        return f"it is of scope {record.scope}, and a planted map has one picture"
    lacking = sorted(needs - GIVEN)
    if lacking:
        return (
            f"needs {lacking[0]}: the planted {'detectors' if lacking[0] in DETECTOR_NEEDS else 'pictures'} have none"
        )
    if all(s.better == "none" for s in use.instance.scores):
        return "none of its scores has a direction"
    return ""


def score_maps(use: Use, asked: Sequence[Candidate], planted: Planted, bench: Bench) -> tuple[list[Measured], Cost]:
    """Score every candidate's maps of the fakes for the class *fake*, exactly as a run does."""
    began = time.perf_counter()
    found: dict[Measure, Measured] = {}
    passes = Passes()
    for one in asked:
        done = score(use, one.use, bench.detector, planted.fakes, FAKE, bench=bench)
        passes = sum((d.passes for d in done), passes)
        for picture, outcome in zip(planted.fakes, done, strict=True):
            _take(found, use, one.name, picture.sample.id, outcome)
    cost = Cost(use.name, len(asked) * len(planted.fakes), passes, time.perf_counter() - began)
    return sorted(_joined(found), key=lambda m: m.measure), cost


def _take(found: dict[Measure, Measured], use: Use, name: str, sample: str, done: Done[Scores]) -> None:
    specs = {s.name: s for s in use.instance.scores if s.better != "none"}
    if done.value is None:
        failure = describe_error(done.error) if done.error else "no scores"
        for spec in specs.values():
            measured = _of(found, Measure.of(use, spec))
            measured.reasons[failure] += 1
            measured.failed = failure
        return
    for value in done.value.values:
        spec = specs.get(value.name)
        if spec is not None:
            measured = _of(found, Measure.of(use, spec, value.item))
            if value.status == "ok" and value.value is not None:
                measured.values.setdefault(name, {})[sample] = value.value
            else:
                measured.reasons[value.reason] += 1


def _joined(found: Mapping[Measure, Measured]) -> list[Measured]:
    """A map without any value has no items either: where a score has items, its reasons are put to each of them."""
    of_items = {(m.metric, m.score) for m in found if m.item}
    for measure, measured in found.items():
        if measure.item and (bare := replace(measure, item="")) in found:
            measured.reasons.update(found[bare].reasons)
            measured.failed = measured.failed or found[bare].failed
    return [x for m, x in found.items() if m.item or x.values or (m.metric, m.score) not in of_items]


def _of(found: dict[Measure, Measured], measure: Measure) -> Measured:
    return found.setdefault(measure, Measured(measure))


def correlations(asked: Sequence[Candidate], planted: Planted, bench: Bench) -> dict[str, dict[str, float]]:
    """Correlation of every candidate's map with the true evidence, by map and sample: the known order.

    A map that an explainer could not draw has none.
    """
    found: dict[str, dict[str, float]] = {}
    for one in asked:
        maps = explain(one.use, bench.detector, planted.fakes, FAKE, bench=bench)
        found[one.name] = {
            picture.sample.id: correlation(done.value.map, planted.truth[picture.sample.id])
            for picture, done in zip(planted.fakes, maps, strict=True)
            if done.value is not None and done.value.map is not None
        }
    return found
