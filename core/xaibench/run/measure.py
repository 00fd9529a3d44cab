"""Score units: one metric on the maps of one explainer, sample by sample."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from xaibench.api import (
    Done,
    Explanation,
    Facts,
    MapCase,
    Passes,
    Sample,
    Scores,
    ScoreSpec,
    check_scores,
    describe_error,
    predicted_class,
)
from xaibench.discovery.components import Use
from xaibench.plan.tasks import ExplainTask, ExplainUnit, ScoreUnit, UnitResult
from xaibench.run.score_rows import ScoreRows, blank_scores
from xaibench.run.unit_results import address_of, local_result
from xaibench.run.workbench import Bench
from xaibench.store.sample_columns import sample_columns


@dataclass(frozen=True, slots=True)
class SampleMap:
    """One map of one sample, or the reason why there is none. ``target`` is -1 where no class could be chosen."""

    sample: Sample
    target: int
    draw: int
    explanation: Explanation
    passes: Passes


@dataclass(frozen=True, slots=True)
class MapSet:
    """The maps of one explain unit, in the order of samples and draws. ``error`` is the first exception."""

    unit: ExplainUnit
    explainer: Use
    maps: tuple[SampleMap, ...]
    passes: Passes
    seconds: float
    error: BaseException | None


def measure(bench: Bench, task: ExplainTask, maps: MapSet, score: ScoreUnit, metric: Use) -> UnitResult:
    """Score every map. Where there is no map, every score gets the status and reason of the explanation."""
    start = time.perf_counter()
    programmes = {
        i: partial(_score, bench, task, maps.explainer, m, metric)
        for i, m in enumerate(maps.maps)
        if m.explanation.status == "ok"
    }
    specs = {s.name: s for s in metric.instance.scores}
    outcomes = {i: validate_scores(specs, done) for i, done in bench.engine().run(programmes.items())}
    address = address_of(task, maps.unit.name, score.name)
    rows = ScoreRows(specs.values())
    failures: list[str] = []
    for i, m in enumerate(maps.maps):
        scores = _scores_of_map(specs, m, outcomes.get(i))
        rows.add({**address.columns(score.key), **_map_columns(task, m, bench.detector.facts)}, scores)
        failures += [s.reason for s in scores.values if s.status == "failed"][:1]
    return local_result(
        score.key,
        "score",
        address,
        bench.detector,
        next((o.error for o in outcomes.values() if o.error), None),
        f"{len(failures)} of {len(maps.maps)} cases failed: {most_frequent(failures)}" if failures else "",
        seconds=time.perf_counter() - start,
        passes=sum((o.passes for o in outcomes.values()), Passes()),
        tables=rows.tables(),
    )


def most_frequent(reasons: Iterable[str]) -> str:
    """The most frequent reason; the first of several."""
    return Counter(reasons).most_common(1)[0][0]


def validate_scores(specs: dict[str, ScoreSpec], done: Done[Scores]) -> Done[Scores]:
    """The outcome of a metric. Scores that break the contract become its error."""
    try:
        return done if done.error is not None else replace(done, value=check_scores(done.value, specs.values()))
    except Exception as error:
        return Done(None, error, done.passes)


def scores_of(specs: dict[str, ScoreSpec], done: Done[Scores]) -> Scores:
    """The scores of a validated outcome, or every score failed with the reason."""
    if done.error is None and done.value is not None:
        return done.value
    reason = describe_error(done.error) if done.error else "no scores came back"
    return blank_scores(specs.values(), "failed", reason)


def map_case(bench: Bench, task: ExplainTask, explainer: Use, m: SampleMap, metric: Use) -> MapCase:
    """The case that a metric receives of one map."""
    import torch

    clean = torch.tensor(task.probabilities(m.sample.id), dtype=torch.float32)
    picture = bench.picture(m.sample.id)
    return bench.case(metric, explainer, m.explanation, picture, m.target, m.draw, clean)


def _score(bench: Bench, task: ExplainTask, explainer: Use, m: SampleMap, metric: Use) -> Any:
    return metric.instance.score(map_case(bench, task, explainer, m, metric))


def _scores_of_map(specs: dict[str, ScoreSpec], m: SampleMap, done: Done[Scores] | None) -> Scores:
    if done is None:
        return blank_scores(specs.values(), m.explanation.status, m.explanation.reason or "no map")
    return scores_of(specs, done)


def _map_columns(task: ExplainTask, m: SampleMap, facts: Facts) -> dict[str, Any]:
    probabilities = task.probabilities(m.sample.id)
    return sample_columns(m.sample) | {
        "repeat": m.draw,
        "prediction": facts.classes[predicted_class(probabilities, facts)] if probabilities else None,
        "target": facts.classes[m.target] if m.target >= 0 else None,
        "scope": "sample",
        "seed": task.setup.seed,
    }
