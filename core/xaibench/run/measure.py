"""Score units: one metric on the maps of one explainer, sample by sample."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pyarrow as pa

from xaibench.api import (
    Curve,
    Done,
    Explanation,
    Facts,
    MapCase,
    Passes,
    Sample,
    Score,
    Scores,
    ScoreSpec,
    check_scores,
    describe_error,
    predicted_class,
    trace_of,
)
from xaibench.discovery.components import Use
from xaibench.plan.tasks import ExplainTask, ExplainUnit, ScoreUnit, UnitResult
from xaibench.run.memory import peak_memory
from xaibench.run.workbench import Bench
from xaibench.store.sample_columns import sample_columns
from xaibench.store.schema import CURVES, SCORES


@dataclass(frozen=True, slots=True)
class MapOf:
    """One map (or the reason why there is none) of one sample. ``target`` -1: no class could be chosen."""

    sample: Sample
    target: int
    draw: int
    explanation: Explanation
    passes: Passes


@dataclass(frozen=True, slots=True)
class Drawn:
    """The maps of one explain unit, in the order of samples and draws."""

    unit: ExplainUnit
    use: Use
    maps: tuple[MapOf, ...]
    passes: Passes
    seconds: float
    error: BaseException | None


def measure(bench: Bench, task: ExplainTask, drawn: Drawn, score: ScoreUnit, metric: Use) -> UnitResult:
    """Score every map that is there; a map that is not there gives its reason to every score."""
    began = time.perf_counter()
    unit, explainer, maps = drawn.unit, drawn.use, drawn.maps
    cases = {
        i: partial(_score_one, bench, task, explainer, m, metric)
        for i, m in enumerate(maps)
        if m.explanation.status == "ok"
    }
    found: dict[int, Done[Scores]] = dict(bench.engine().run(cases.items()))
    specs = {s.name: s for s in metric.instance.scores}
    judged = {i: checked_done(specs, done) for i, done in found.items()}
    outcomes = [_outcome(specs, m, judged.get(i)) for i, m in enumerate(maps)]
    keys = {"run": task.setup.run, "unit": score.key, "model": task.detector.model, "member": task.detector.member,
            "dataset": task.shard.dataset, "explainer": unit.name, "metric": score.name}  # fmt: skip
    errors = [d.error for d in judged.values() if d.error]
    tables = _tables(keys, bench.detector.facts, task, maps, outcomes, specs)
    failed = [why for o in outcomes if (why := next((s.reason for s in o.values if s.status == "failed"), None))]
    return UnitResult(
        key=score.key, kind="score", model=task.detector.model, member=task.detector.member,
        dataset=task.shard.dataset, explainer=unit.name, metric=score.name, start=task.shard.start,
        stop=task.shard.stop, status="failed" if failed else "ok",
        reason=f"{len(failed)} of {len(maps)} cases failed: {commonest(failed)}" if failed else "",
        error=describe_error(errors[0]) if errors else "", trace=trace_of(errors[0]) if errors else "",
        seconds=time.perf_counter() - began, passes=sum((f.passes for f in found.values()), Passes()),
        device=str(bench.detector.device), peak_memory=peak_memory(), tables=tables,
    )  # fmt: skip


def commonest(reasons: Iterable[str]) -> str:
    """The reason that is given most often; of several, the first."""
    return Counter(reasons).most_common(1)[0][0]


def checked_done(specs: dict[str, ScoreSpec], done: Done[Scores]) -> Done[Scores]:
    """What a metric came to; scores that break the contract are its error."""
    try:
        return done if done.error is not None else replace(done, value=check_scores(done.value, specs.values()))
    except Exception as error:
        return Done(None, error, done.passes)


def or_failed(specs: dict[str, ScoreSpec], done: Done[Scores]) -> Scores:
    """The scores of :func:`checked_done`, or every score failed with the reason."""
    if done.error is None and done.value is not None:
        return done.value
    why = describe_error(done.error) if done.error else "no scores came back"
    return Scores(blank_scores(specs.values(), "failed", why))


def _score_one(bench: Bench, task: ExplainTask, explainer: Use, m: MapOf, metric: Use) -> Any:
    return metric.instance.score(case_of(bench, task, explainer, m, metric))


def case_of(bench: Bench, task: ExplainTask, explainer: Use, m: MapOf, metric: Use) -> MapCase:
    import torch

    index = next(i for i, s in enumerate(task.shard.samples) if s.id == m.sample.id)
    clean = torch.tensor(task.clean[index], dtype=torch.float32)
    picture = bench.picture(m.sample.id)
    return bench.case(metric, explainer, m.explanation, picture, m.target, m.draw, clean)


def _outcome(specs: dict[str, ScoreSpec], m: MapOf, done: Done[Scores] | None) -> Scores:
    if done is None:
        why = m.explanation.reason or "no map"
        return Scores(blank_scores(specs.values(), m.explanation.status, why))
    return or_failed(specs, done)


# ---- rows -----------------------------------------------------------------------------------------------------------


def _tables(
    keys: dict[str, Any],
    facts: Facts,
    task: ExplainTask,
    maps: Sequence[MapOf],
    outcomes: Sequence[Scores],
    specs: dict[str, ScoreSpec],
) -> dict[str, pa.Table]:
    clean = dict(zip((s.id for s in task.shard.samples), task.clean, strict=True))
    rows: list[dict[str, Any]] = []
    points: list[dict[str, Any]] = []
    for m, outcome in zip(maps, outcomes, strict=True):
        probabilities = clean[m.sample.id]
        of_map = keys | sample_columns(m.sample) | {"repeat": m.draw}
        context = of_map | {
            "prediction": facts.classes[predicted_class(probabilities, facts)] if probabilities else None,
            "target": facts.classes[m.target] if m.target >= 0 else None,
            "scope": "sample",
            "seed": task.setup.seed,
        }
        rows += [context | score_columns(s, specs[s.name]) for s in outcome.values]
        points += [of_map | p for c in outcome.curves for p in curve_columns(c)]
    tables = {"scores": pa.Table.from_pylist(rows, schema=SCORES)}
    return tables | ({"curves": pa.Table.from_pylist(points, schema=CURVES)} if points else {})


def score_columns(score: Score, spec: ScoreSpec) -> dict[str, Any]:
    """The columns of one value."""
    return {"score": score.name, "item": score.item, "definition": spec.version,
            "value": None if score.value is None else float(score.value),
            "better": spec.better, "status": score.status, "reason": score.reason or None}  # fmt: skip


def curve_columns(curve: Curve) -> Iterator[dict[str, Any]]:
    """One row a point."""
    for i, (x, y) in enumerate(zip(curve.x, curve.y, strict=True)):
        yield {"curve": curve.name, "item": curve.item, "point": i, "x": float(x), "y": float(y)}


def blank_scores(specs: Iterable[ScoreSpec], status: Any, reason: str) -> tuple[Score, ...]:
    """Every score with one status and reason."""
    return tuple(Score(name=s.name, status=status, reason=reason) for s in specs)
