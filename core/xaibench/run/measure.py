"""One metric on the maps of one explainer, sample by sample."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
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
from xaibench.plan.tasks import CellPart, CellResult, ExplainTask, ScoreUnit
from xaibench.run.cell_results import columns_of, failure_reason, result_of
from xaibench.run.pass_bounds import PassBounds
from xaibench.run.score_rows import ScoreRows, blank_scores
from xaibench.run.watching import Watched, run_component
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
    """Maps of one explainer, in the order of samples and draws. ``error`` is the first exception."""

    explainer: Use
    maps: tuple[SampleMap, ...]
    passes: Passes
    seconds: float
    error: BaseException | None

    def of(self, part: CellPart) -> list[SampleMap]:
        """The maps of the samples that are due in a cell."""
        due = set(part.due)
        return [m for m in self.maps if m.sample.id in due]


def measure(bench: Bench, task: ExplainTask, maps: MapSet, score: ScoreUnit, metric: Use) -> CellResult:
    """Score every map. Where there is no map, every score gets the status and reason of the explanation."""
    start = time.perf_counter()
    due = maps.of(score.part)
    specs = {s.name: s for s in metric.instance.scores}
    outcomes = run_metric(bench, maps.explainer, due, metric, task.probabilities)
    shared = columns_of(task.setup.run, score.part)
    rows = ScoreRows(specs.values())
    statuses: dict[str, list[str]] = {s: [] for s in score.part.due}
    failures: list[str] = []
    for i, m in enumerate(due):
        scores = scores_of_map(specs, m, outcomes.get(i))
        rows.add({**shared, **_map_columns(task, m, bench.detector.facts)}, scores)
        failures += [s.reason for s in scores.values if s.status == "failed"][:1]
        statuses[m.sample.id] += sorted({s.status for s in scores.values})
    return result_of(
        score.part,
        rows.tables(),
        statuses,
        detector=bench.detector,
        error=next((o.error for o in outcomes.values() if o.error), None),
        reason=failure_reason(failures, len(due), "cases"),
        seconds=time.perf_counter() - start,
        passes=sum((o.passes for o in outcomes.values()), Passes()),
    )


Probabilities = Callable[[str], tuple[float, ...] | None]
"""Class probabilities of a sample on its clean picture, None where the prediction failed."""


def run_metric(
    bench: Bench, explainer: Use, maps: Sequence[SampleMap], metric: Use, probabilities: Probabilities
) -> dict[int, Done[Scores]]:
    """The validated outcome of a metric by the place of a map in ``maps``; those without a map are left out."""
    programmes = {
        i: partial(_score, bench, probabilities, explainer, m, metric)
        for i, m in enumerate(maps)
        if m.explanation.status == "ok"
    }
    specs = {s.name: s for s in metric.instance.scores}
    bounds = PassBounds(bench, explainer)
    watched = Watched(
        metric.name,
        foreign=bench.is_foreign(metric) or bench.is_foreign(explainer),
        sample_of=lambda i: maps[i].sample.id,
        bound_of=lambda i: bounds.of_score(metric, maps[i].sample),
    )
    outcomes = run_component(bench, programmes.items(), watched)
    return {i: validate_scores(specs, done) for i, done in outcomes.items()}


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


def map_case(bench: Bench, probabilities: Probabilities, explainer: Use, m: SampleMap, metric: Use) -> MapCase:
    """The case that a metric receives of one map."""
    import torch

    clean = torch.tensor(probabilities(m.sample.id), dtype=torch.float32)
    picture = bench.picture(m.sample.id)
    return bench.case(metric, explainer, m.explanation, picture, m.target, m.draw, clean)


def _score(bench: Bench, probabilities: Probabilities, explainer: Use, m: SampleMap, metric: Use) -> Any:
    return metric.instance.score(map_case(bench, probabilities, explainer, m, metric))


def scores_of_map(specs: dict[str, ScoreSpec], m: SampleMap, done: Done[Scores] | None) -> Scores:
    """The scores of a map; where there is none, every score with the status and reason of the explanation."""
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
