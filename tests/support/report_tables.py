"""The tables of a small run made by hand, for tests of the report."""

import datetime

import numpy as np
import pyarrow as pa

from xaibench.store.schema import COMPONENTS, CURVES, MAPS, PREDICTIONS, RUNS, SCORES, UNITS
from xaibench_report.run_values import RunTables

METRIC = "xaibench/deletion"

N = 12


def where(**changes):
    return {"run": "r", "unit": "u", "model": "xaibench/demo", "member": "0", "dataset": "xaibench/faces"} | changes


def sample(i):
    return {"sample": f"s{i:02d}", "group": f"g{i}", "cross_group": None, "label": "fake" if i % 2 else "real",
            "method": "swap" if i % 2 else None}  # fmt: skip


def run_tables(shift=0.0, explainers=("xaibench/gradcam", "xaibench/random"), n=N, definition=1, **changes):
    base = where(**changes)
    scores = [
        {**base, **sample(i), "prediction": "fake", "explainer": e, "target": "fake", "metric": METRIC, "score": "auc",
         "item": "", "scope": "sample", "definition": definition, "value": 0.1 * k + shift + 0.01 * i,
         "better": "lower", "status": "ok", "reason": None, "seed": 0, "repeat": 0}
        for k, e in enumerate(explainers) for i in range(n)
    ]  # fmt: skip
    predictions = [
        {**base, **sample(i), "probabilities": [0.5, 0.5], "classes": ["real", "fake"], "p_fake": 0.3 + 0.4 * (i % 2),
         "prediction": "fake", "verdict": "fake", "correct": True, "status": "ok", "reason": None}
        for i in range(n)
    ]  # fmt: skip
    curves = [
        {**base, **sample(i), "explainer": e, "metric": METRIC, "curve": "deletion", "item": "", "repeat": 0,
         "point": p, "x": p / 4, "y": 1 - p / 4}
        for e in explainers for i in range(n) for p in range(5)
    ]  # fmt: skip
    ramp = np.linspace(-1, 1, 64).reshape(8, 8).astype("<f2").tobytes()
    maps = [
        {**base, "sample": f"s{i:02d}", "view": "", "explainer": e, "target": "fake", "repeat": 0, "height": 8,
         "width": 8, "scale": 2.0, "map": ramp, "native_height": None, "native_width": None, "native_scale": None,
         "native_map": None, "segment_weights": None, "forward": 1, "backward": 0, "status": "ok", "reason": None}
        for e in explainers for i in range(n)
    ]  # fmt: skip
    unit = {"run": "r", "unit": "u", "kind": "explain", "model": base["model"], "member": "0",
            "dataset": base["dataset"], "explainer": "acme/bad", "metric": None, "start": 0, "stop": 8,
            "status": "failed", "reason": "ValueError", "attempts": 1, "seconds": 1.5, "forward": 3, "backward": 0,
            "peak_memory": 0, "device": "cpu", "error": "ValueError: <script>alert(1)</script>",
            "trace": None}  # fmt: skip
    run = {"run": "r", "started": datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC), "command": "xaibench eval",
           "seed": 7, "plan": '{"preset": "quick"}', "plan_digest": "abc", "provenance": "{}"}  # fmt: skip
    component = {"run": "r", "kind": "explainer", "name": "xaibench/gradcam", "distribution": "xaibench",
                 "version": "0.1.0", "component_version": 1, "parameters": "{}", "digest": None,
                 "details": None}  # fmt: skip
    table = pa.Table.from_pylist
    return RunTables(
        scores=table(scores, SCORES), predictions=table(predictions, PREDICTIONS), units=table([unit], UNITS),
        curves=table(curves, CURVES), maps=table(maps, MAPS), runs=table([run], RUNS),
        components=table([component], COMPONENTS),
    )  # fmt: skip
