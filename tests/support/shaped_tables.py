"""The tables of a run made by hand, for tests of tables of any shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from xaibench.api import ScoreSpec
from xaibench.store.schema import COMMITS, COMPONENTS, CURVES, PREDICTIONS, SAMPLES, SCORES
from xaibench_report.values.run_values import RunTables, ScoreInfo

MASS, DELETION, ATTACK = "xaibench/relevance-mass", "xaibench/deletion:steps=10", "xaibench/segment-attack"
CAM, RISE, RANDOM = "xaibench/gradcam", "xaibench/rise", "xaibench/random"
INFO = ScoreInfo(
    controls=frozenset((RANDOM,)),
    families={MASS: "localisation", DELETION: "faithfulness", ATTACK: "attack"},
    specs={
        (MASS, "relevance-mass"): ScoreSpec(name="relevance-mass", better="higher", low=0, high=1),
        (DELETION, "deletion"): ScoreSpec(name="deletion", better="lower", low=0, high=1, untouched="start"),
        (ATTACK, "accuracy"): ScoreSpec(
            name="accuracy", better="lower", low=0, high=1, per_item=True, ranked=False, why_not="saturates",
            item_form="{segmentation} top-{k}", is_accuracy=True,
        ),
    },
)  # fmt: skip
WHERE = {
    "run": "r",
    "unit": "u",
    "cell": "c",
    "model": "xaibench/demo",
    "member": "demo-0",
    "dataset": "xaibench/faces",
}
Row = dict[str, Any]


def sample(method: str, i: int) -> Row:
    """One picture of a manipulation, or a real one where ``method`` is ``real``; a group of its own."""
    real = method == "real"
    return {
        "sample": f"{method}-{i:02d}", "group": f"{method}-{i:02d}", "cross_group": None,
        "label": "real" if real else "fake", "method": None if real else method,
    }  # fmt: skip


def score(explainer: str, method: str, i: int, value: float | None, **changes: Any) -> Row:
    """One row of ``scores``, relevance mass unless said otherwise; undefined without a value."""
    status = {} if value is not None else {"status": "undefined", "reason": "real pictures have no mask"}
    row = {
        **WHERE, **sample(method, i), "prediction": "fake", "explainer": explainer, "target": "fake", "metric": MASS,
        "score": "relevance-mass", "item": "", "scope": "sample", "definition": 1, "better": "higher", "status": "ok",
        "value": value, "reason": None, "seed": 0, "repeat": 0,
    }  # fmt: skip
    return row | status | changes


def attacked(explainer: str, method: str, i: int, value: float, item: str) -> Row:
    """One row of the attack's accuracy."""
    return score(explainer, method, i, value, metric=ATTACK, score="accuracy", item=item, better="lower")


def rows(explainer: str, by_method: Mapping[str, Sequence[float | None]], **changes: Any) -> list[Row]:
    """One sample a value."""
    return [score(explainer, m, i, v, **changes) for m, values in by_method.items() for i, v in enumerate(values)]


def tables(
    scores: Sequence[Row], called_fake: Mapping[str, Sequence[bool]] | None = None, **columns: Mapping[str, Any]
) -> RunTables:
    """``called_fake``: predictions by method; ``columns``: further columns of ``samples``, value by sample."""
    ids = {r["sample"]: {k: r[k] for k in sample("real", 0)} for r in scores if r["sample"]}
    more = {m: [sample(m, i) for i in range(len(found))] for m, found in (called_fake or {}).items()}
    ids |= {s["sample"]: s for found in more.values() for s in found}
    fixed = {"digest": "", "stranger_digest": "", "picture": "", "pixel_digest": ""}
    held = [
        {"dataset": WHERE["dataset"], "order": i, **fixed, **row, **{n: v.get(s) for n, v in columns.items()}}
        for i, (s, row) in enumerate(ids.items())
    ]
    fields = [pa.field(n, pa.array([v for v in found.values() if v is not None]).type) for n, found in columns.items()]
    given = [
        _prediction(s, called)
        for m, found in (called_fake or {}).items()
        for s, called in zip(more[m], found, strict=True)
    ]
    return RunTables(
        scores=pa.Table.from_pylist(list(scores), SCORES),
        predictions=pa.Table.from_pylist(given, PREDICTIONS),
        commits=pa.Table.from_pylist([], COMMITS),
        curves=pa.Table.from_pylist([], CURVES),
        components=pa.Table.from_pylist([], COMPONENTS),
        samples=pa.Table.from_pylist(held, pa.schema([*SAMPLES, *fields])),
    )


def _prediction(of: Row, called: bool) -> Row:
    return {
        **WHERE, **of, "probabilities": [0.2, 0.8], "classes": ["real", "fake"], "p_fake": 0.8, "log_odds": 1.4,
        "prediction": "fake", "verdict": "fake" if called else "real", "correct": called == (of["label"] == "fake"),
        "status": "ok", "reason": None,
    }  # fmt: skip


def with_rows(held: RunTables, **more: Sequence[Row]) -> RunTables:
    """The tables with the rows of further ones, by name."""
    schemas = {"commits": COMMITS, "curves": CURVES, "components": COMPONENTS}
    return replace(held, **{n: pa.Table.from_pylist(list(found), schemas[n]) for n, found in more.items()})


def ramp(centre: float, n: int) -> list[float]:
    return (centre + np.linspace(-0.1, 0.1, n)).tolist()


UNEQUAL = [
    *rows(CAM, {"swap": ramp(0.8, 12), "warp": ramp(0.2, 24)}),
    *rows(RISE, {"swap": ramp(0.4, 12), "warp": ramp(0.4, 24)}),
]


ITEMS = [
    attacked(e, m, i, float((i + k) % 4 > 0), f"slic-50 top-{k}")
    for e in (CAM, RISE) for m in ("swap", "warp") for k in (1, 2, 10) for i in range(12)
]  # fmt: skip
