"""What a run writes about itself: ``run.toml``, the ``runs`` and ``components`` tables, and what may not change."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import tomli_w

from xaibench.api import PROJECT, canonical_json, digest
from xaibench.discovery.code_identity import KEY_SCHEME, use_identity
from xaibench.discovery.components import Use
from xaibench.plan.parts import Plan
from xaibench.plan.units import shard_digest, stranger_digest
from xaibench.store.provenance import provenance, runtime_identity, version_of
from xaibench.store.schema import COMPONENTS, RUNS


def folder_identity(plan: Plan) -> dict[str, Any]:
    """What a folder's results hang on, as a flat table; a plan may add keys to it, never change one."""
    s = plan.settings
    found: dict[str, Any] = {"key scheme": KEY_SCHEME, "seed": s.seed, "target": s.target, "shard size": s.shard_size}
    found |= runtime_identity(plan.runtime)
    for model in plan.models:
        for m in model.members:
            found[f"model {model.name} {m.ref.member}"] = (
                f"{m.ref.digest} batch {m.batch_size} code {digest(m.component)}"
            )
    found |= {f"explainer {e.name}": digest(use_identity(e.use)) for e in plan.explainers}
    found |= {f"metric {m.name}": digest(use_identity(m.use)) for m in plan.metrics}
    for dataset in plan.datasets:
        found |= {f"data {dataset.name} {a}-{b}": shard_digest(dataset, a, b) for a, b in dataset.shards}
        if dataset.survey.strangers:
            found |= {f"strangers {dataset.name} {a}-{b}": stranger_digest(dataset, a, b) for a, b in dataset.shards}
    return found


def refuse_changes(record: Mapping[str, Any], identity: Mapping[str, Any], plan: Plan) -> str:
    """What of a folder's record the plan contradicts, in words; empty when it only adds to it."""
    old = record.get("identity", {})
    for key in old:
        if key in identity and old[key] != identity[key]:
            short = {len(str(v)) > 40 for v in (old[key], identity[key])} == {False}
            return f"{key} was {old[key]}, now {identity[key]}" if short else f"{key} is not the same as it was"
    for dataset in plan.datasets:
        before = record.get("samples", {}).get(dataset.name, 0)
        if len(dataset.survey.samples) < before:
            return f"it evaluated {before} samples of {dataset.name}, this plan {len(dataset.survey.samples)}"
    return ""


def run_toml(plan: Plan, identity: Mapping[str, Any], record: Mapping[str, Any], units: Sequence[str]) -> str:
    """The text of ``run.toml``: the settings, as a run file, and the record that a resumed run is checked against."""
    settings = {
        k.replace("_", "-"): v for k, v in plan.settings.model_dump(mode="json").items() if v not in (None, [], {})
    }
    settings |= {
        "model": [plan.settings.model[i] if plan.settings.model else m.name for i, m in enumerate(plan.models)],
        "dataset": [plan.settings.dataset[i] if plan.settings.dataset else d.name for i, d in enumerate(plan.datasets)],
        "explainer": [e.name for e in plan.explainers if e.named],
        "metric": [m.name for m in plan.metrics],
    }
    # the names above hold the parameters of what was named; those of controls that join by themselves stay
    kept_apart = {f"explainer.{e.record.name}." for e in plan.explainers if not e.named}
    settings["parameter"] = {
        k: v
        for k, v in plan.settings.parameter.items()
        if not k.startswith(("explainer.", "metric.")) or k.startswith(tuple(kept_apart))
    }
    cuts = {d.name: sorted({*record.get("cuts", {}).get(d.name, []), len(d.survey.samples)}) for d in plan.datasets}
    counts = {d.name: len(d.survey.samples) for d in plan.datasets}
    kept = {
        "xaibench": version_of(PROJECT),
        "cuts": {**record.get("cuts", {}), **cuts},
        "samples": {**record.get("samples", {}), **counts},
        "units": list(units),
        "identity": {**record.get("identity", {}), **identity},
    }
    return "# Written by xaibench; `xaibench eval` on this file does the same run.\n" + tomli_w.dumps(
        {**settings, "record": kept}
    )


def run_row(plan: Plan, run: str, command: Sequence[str]) -> pa.Table:
    """The row of ``runs``: plan and provenance as JSON."""
    cells = [
        {"model": c.model, "member": c.member, "dataset": c.dataset, "explainer": c.explainer, "metric": c.metric,
         "reason": c.reason, "forward": c.passes.forward, "backward": c.passes.backward, "exact": c.passes.exact}
        for c in plan.cells
    ]  # fmt: skip
    problems = {d.name: [[p.file, p.reason] for p in d.survey.problems] for d in plan.datasets}
    samples = {d.name: len(d.survey.samples) for d in plan.datasets}
    artefacts = [asdict(c) for c in plan.artefact_cells]
    text = canonical_json({
        "settings": plan.settings.model_dump(mode="json"), "cells": cells, "artefacts": artefacts,
        "problems": problems, "notes": list(plan.notes), "samples": samples,
    })  # fmt: skip
    row = {"run": run, "started": datetime.now(UTC), "command": " ".join(command), "seed": plan.settings.seed,
           "plan": text, "plan_digest": digest(text), "provenance": canonical_json(provenance())}  # fmt: skip
    return pa.Table.from_pylist([row], schema=RUNS)


def component_rows(plan: Plan, run: str) -> pa.Table:
    """The rows of ``components``: versions, parameters and digests of everything that took part."""
    rows = list(_component_rows(plan))
    return pa.Table.from_pylist([{"run": run, **row} for row in rows], schema=COMPONENTS)


def _component_rows(plan: Plan) -> Iterator[dict[str, Any]]:
    for model in plan.models:
        for m in model.members:
            f, ref = m.facts, m.ref
            details: dict[str, Any] = {
                **f.details, "classes": list(f.classes), "threshold": f.threshold, "input_size": list(f.input_size),
                "resize": asdict(f.resize), "target_layer": f.target_layer, "notes": list(f.notes),
                "limits": dict(f.limits),
            }  # fmt: skip
            yield {
                "kind": "model", "name": f"{model.name} {ref.member}".strip(), "version": "", "component_version": 0,
                "distribution": ref.ref.name.partition("/")[0], "parameters": ref.ref.parameters,
                "digest": ref.digest, "details": canonical_json(details),
            }  # fmt: skip
    for dataset in plan.datasets:
        yield _component_row("dataset", dataset.name, dataset.use, {
            "component": dataset.use.registered.name, "masks": "binarised at half of each mask's own maximum",
        })  # fmt: skip
    for explainer in plan.explainers:
        r = explainer.record
        details = {
            "control": r.control, "reference": r.reference, "signed": explainer.use.trait("signed"),
            "class_specific": r.class_specific, "model_independent": explainer.use.trait("model_independent"),
        }  # fmt: skip
        yield _component_row("explainer", explainer.name, explainer.use, details)
    for metric in plan.metrics:
        scores = [asdict(s) for s in metric.scores]
        details = {"family": metric.record.family, "scope": metric.record.scope, "scores": scores}
        yield _component_row("metric", metric.name, metric.use, details)


def _component_row(kind: str, name: str, use: Use, details: Mapping[str, Any]) -> dict[str, Any]:
    identity = use_identity(use)
    return {
        "kind": kind, "name": name, "distribution": use.registered.origin.distribution,
        "version": use.registered.origin.version, "component_version": use.registered.record.version,
        "parameters": canonical_json(identity["parameters"]), "digest": identity.get("content") or identity.get("code"),
        "details": json.dumps({"source": use.registered.record.source, **details}),
    }  # fmt: skip
