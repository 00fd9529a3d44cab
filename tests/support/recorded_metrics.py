"""What every metric gives on planted detectors, pictures and maps, and what it declares, so that a change is seen.

A record, no proof: exact values, parity with other libraries and the invariants of the kit are tests of their own.
Planted detectors compute in float64, so that the last digits of other machines do not reach the record. Each metric is
taken with its defaults and the budgets of the conformance tests, and once with every other value of its choices. A
change that is meant raises the version of the score and renews the record, whose difference is then read::

    python -m tests.support.recorded_metrics
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import torch
from tests.plugins.xaibench_testing.conformance.test_registered import BUDGETS
from torch import Tensor

from xaibench import hold_component
from xaibench.api import DETECTOR_NEEDS, SAMPLE_NEEDS, Done, ExplainRequest, MetricRecord, Scores, parameter_class
from xaibench.discovery.components import Use
from xaibench_metrics.plugin import xaibench_metrics
from xaibench_testing.checks.metrics import random_map
from xaibench_testing.checks.model_metrics import model_world
from xaibench_testing.harness import Member, drawn_by, score, score_model, score_set
from xaibench_testing.planted import FAKE
from xaibench_testing.worlds import World, planted_evidence, planted_world

RECORD = Path(__file__).parent / "data" / "recorded_metrics.json"
EVERYTHING = DETECTOR_NEEDS | SAMPLE_NEEDS
DIGITS = 5


def mixed_map(request: ExplainRequest) -> Tensor:
    """Evidence, noise of both signs, and ties."""
    noise = random_map(request) - 0.4
    return torch.where(noise.abs() < 0.1, 0.0, noise) + 0.3 * planted_evidence(request.picture)


MIXED = drawn_by(mixed_map, "mixed", stochastic=True)


def load(record: MetricRecord) -> type[Any]:
    module, _, name = record.target.partition(":")
    return getattr(__import__(module, fromlist=[name]), name)  # type: ignore[no-any-return]


def variants(record: MetricRecord) -> Iterator[tuple[str, Use]]:
    """The metric as it is, and with every other value of each of its choices; a combination that is refused is left
    out."""
    target, budget = load(record), dict(BUDGETS.get(("metric", record.name), {}))
    parameters = parameter_class(target)
    base = {**record.parameters, **budget}
    changes: list[dict[str, Any]] = [{}]
    for name, field in parameters.model_fields.items():
        changes += [{name: v} for v in choices(field.annotation) if v != base.get(name, field.default)]
    for change in changes:
        try:
            values = parameters.model_validate(base | change)
            text = ",".join(f"{k}={v}" for k, v in change.items())
            yield f"{record.name}:{text}".rstrip(":"), hold_component(record, target(values), version="1")
        except ValueError:
            continue


def choices(annotation: Any) -> tuple[Any, ...]:
    if annotation is bool:
        return (True, False)
    return get_args(annotation) if get_origin(annotation) is Literal else ()


def scored(record: MetricRecord, use: Use, world: World, models: World) -> Mapping[str, Any]:
    """The scores of one metric: by picture, or of all at once."""
    if record.scope == "model":
        return {"": rows(score_model(use, models.detector, models.pictures))}
    if record.scope == "sample":
        found = score(use, MIXED, world.detector, world.pictures, FAKE)
        return {p.sample.id: rows(done) for p, done in zip(world.pictures, found, strict=True)}
    world = planted_world(EVERYTHING, pairs=2)
    detectors = world.family if record.scope == "family" else dict(list(world.family.items())[:1])
    members = {name: Member(d, world.pictures, FAKE) for name, d in detectors.items()}
    reference = {name: Member(d, world.reference, FAKE) for name, d in detectors.items()}
    return {"": rows(score_set(use, MIXED, members, reference=reference if "reference" in record.needs else None))}


def rows(done: Done[Scores]) -> list[Any]:
    """``[score, item, value or status]`` and the mean of each curve."""
    if done.error is not None or done.value is None:
        return [type(done.error).__name__]
    values = [[s.name, s.item, rounded(s.value) if s.value is not None else s.status] for s in done.value.values]
    curves = [[c.name, c.item, rounded(sum(c.y) / len(c.y)), len(c.y)] for c in done.value.curves]
    return [*values, *curves, [done.passes.forward, done.passes.backward]]


def rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}") if abs(value) > 1e-9 else 0.0


def declared(record: MetricRecord, use: Use) -> Mapping[str, Any]:
    """The scores of a metric and the schema of its parameters."""
    schema = parameter_class(load(record)).model_json_schema()
    scores = [dataclasses.asdict(s) for s in use.instance.scores]
    return {"scores": without_texts(scores), "parameters": without_texts(schema.get("properties", {}))}


def without_texts(thing: Any) -> Any:
    if isinstance(thing, Mapping):
        return {k: without_texts(v) for k, v in thing.items() if k not in ("description", "title", "why_not")}
    return [without_texts(v) for v in thing] if isinstance(thing, list | tuple) else thing


def figures() -> dict[str, Any]:
    """What every built-in metric declares and gives."""
    torch.set_num_threads(1)
    world, models = planted_world(EVERYTHING, pairs=1), model_world(EVERYTHING)
    found: dict[str, Any] = {}
    for record in xaibench_metrics():
        for name, use in variants(record):
            found.setdefault(f"{record.name}, declared", declared(record, use))
            found[name] = scored(record, use, world, models)
    return json.loads(json.dumps(found, default=str))  # type: ignore[no-any-return]


if __name__ == "__main__":
    lines = (f"{json.dumps(k)}: {json.dumps(v, separators=(',', ':'))}" for k, v in figures().items())
    RECORD.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
