"""Records of a run: ``run.toml``, the rows of ``runs``, ``components`` and ``units``, and what may not change."""

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
from xaibench.plan.parts import Cell, Plan, PlannedMember
from xaibench.plan.tasks import UnitResult
from xaibench.plan.units import shard_digest, stranger_digest
from xaibench.store.provenance import provenance, runtime_identity, version_of
from xaibench.store.schema import COMPONENTS, RUNS, UNITS


def folder_identity(plan: Plan) -> dict[str, Any]:
    """What the results in a folder depend on, as a flat table. A later plan may add keys to it but change none."""
    s = plan.settings
    identity: dict[str, Any] = {
        "key scheme": KEY_SCHEME,
        "seed": s.seed,
        "target": s.target,
        "shard size": s.shard_size,
        **runtime_identity(plan.runtime),
    }
    for model in plan.models:
        for m in model.members:
            key = f"model {model.name} {m.ref.member}"
            identity[key] = f"{m.ref.digest} batch {m.batch_size} code {digest(m.component)}"
    identity |= {f"explainer {e.name}": digest(use_identity(e.use)) for e in plan.explainers}
    identity |= {f"metric {m.name}": digest(use_identity(m.use)) for m in plan.metrics}
    for d in plan.datasets:
        identity |= {f"data {d.name} {a}-{b}": shard_digest(d, a, b) for a, b in d.shards}
        if d.survey.strangers:
            identity |= {f"strangers {d.name} {a}-{b}": stranger_digest(d, a, b) for a, b in d.shards}
    return identity


def contradiction(record: Mapping[str, Any], identity: Mapping[str, Any], plan: Plan) -> str:
    """What the plan changes of a folder's record, in words; empty where it only adds to it."""
    old = record.get("identity", {})
    for key in old:
        if key in identity and old[key] != identity[key]:
            is_short = all(len(str(value)) <= 40 for value in (old[key], identity[key]))
            return f"{key} was {old[key]}, now {identity[key]}" if is_short else f"{key} is not the same as it was"
    for dataset in plan.datasets:
        count = record.get("samples", {}).get(dataset.name, 0)
        if len(dataset.survey.samples) < count:
            return f"it evaluated {count} samples of {dataset.name}, this plan {len(dataset.survey.samples)}"
    return ""


def run_toml(plan: Plan, identity: Mapping[str, Any], record: Mapping[str, Any], units: Sequence[str]) -> str:
    """The text of ``run.toml``: the settings, as a run file, and the record that a resumed run is checked against."""
    counts = {d.name: len(d.survey.samples) for d in plan.datasets}
    cuts = {name: sorted({*record.get("cuts", {}).get(name, []), n}) for name, n in counts.items()}
    new_record = {
        "xaibench": version_of(PROJECT),
        "cuts": {**record.get("cuts", {}), **cuts},
        "samples": {**record.get("samples", {}), **counts},
        "units": list(units),
        "identity": {**record.get("identity", {}), **identity},
    }
    return "# Written by xaibench; `xaibench eval` on this file does the same run.\n" + tomli_w.dumps(
        {**_run_file(plan), "record": new_record}
    )


def _run_file(plan: Plan) -> dict[str, Any]:
    """The settings as a run file, with the names of all components in full."""
    s = plan.settings
    values = {k.replace("_", "-"): v for k, v in s.model_dump(mode="json").items() if v not in (None, [], {})}
    # The names of explainers and metrics hold their parameters. Those of controls that were not named stay apart.
    controls = tuple(f"explainer.{e.record.name}." for e in plan.explainers if not e.named)
    return values | {
        "model": [s.model[i] if s.model else m.name for i, m in enumerate(plan.models)],
        "dataset": [s.dataset[i] if s.dataset else d.name for i, d in enumerate(plan.datasets)],
        "explainer": [e.name for e in plan.explainers if e.named],
        "metric": [m.name for m in plan.metrics],
        "parameter": {
            k: v
            for k, v in s.parameter.items()
            if not k.startswith(("explainer.", "metric.")) or k.startswith(controls)
        },
    }


def run_row(plan: Plan, run: str, command: Sequence[str]) -> pa.Table:
    """The row of ``runs``: plan and provenance as JSON."""
    text = canonical_json(
        {
            "settings": plan.settings.model_dump(mode="json"),
            "cells": [_cell_json(c) for c in plan.cells],
            "artefacts": [asdict(c) for c in plan.artefact_cells],
            "problems": {d.name: [[p.file, p.reason] for p in d.survey.problems] for d in plan.datasets},
            "notes": list(plan.notes),
            "samples": {d.name: len(d.survey.samples) for d in plan.datasets},
        }
    )
    row = {
        "run": run,
        "started": datetime.now(UTC),
        "command": " ".join(command),
        "seed": plan.settings.seed,
        "plan": text,
        "plan_digest": digest(text),
        "provenance": canonical_json(provenance()),
    }
    return pa.Table.from_pylist([row], schema=RUNS)


def _cell_json(cell: Cell) -> dict[str, Any]:
    """A cell with its passes as columns of their own."""
    columns = asdict(cell)
    passes = columns.pop("passes")
    return {**columns, **passes}


def unit_row(result: UnitResult, attempts: int) -> pa.Table:
    """The row of ``units``."""
    same = ("kind", "status", "seconds", "peak_memory", "device")
    texts = ("reason", "error", "trace")
    row = {
        **result.address.columns(result.key),
        **asdict(result.passes),
        **{name: getattr(result, name) for name in same},
        **{name: getattr(result, name) or None for name in texts},
        "attempts": attempts,
    }
    return pa.Table.from_pylist([row], schema=UNITS)


def component_rows(plan: Plan, run: str) -> pa.Table:
    """The rows of ``components``: versions, parameters and digests of everything that takes part."""
    rows = list(_component_rows(plan))
    return pa.Table.from_pylist([{"run": run, **row} for row in rows], schema=COMPONENTS)


def _component_rows(plan: Plan) -> Iterator[dict[str, Any]]:
    for model in plan.models:
        yield from (_member_row(model.name, member) for member in model.members)
    for dataset in plan.datasets:
        masks = "binarised at half of each mask's own maximum"
        details: dict[str, Any] = {"component": dataset.use.registered.name, "masks": masks}
        yield _component_row("dataset", dataset.name, dataset.use, details)
    for explainer in plan.explainers:
        r = explainer.record
        details = {
            "control": r.control,
            "reference": r.reference,
            "signed": explainer.use.trait("signed"),
            "class_specific": r.class_specific,
            "model_independent": explainer.use.trait("model_independent"),
        }
        yield _component_row("explainer", explainer.name, explainer.use, details)
    for metric in plan.metrics:
        scores = [asdict(s) for s in metric.scores]
        details = {"family": metric.record.family, "scope": metric.record.scope, "scores": scores}
        yield _component_row("metric", metric.name, metric.use, details)


def _member_row(model: str, member: PlannedMember) -> dict[str, Any]:
    facts, ref = member.facts, member.ref
    names = ("classes", "threshold", "input_size", "target_layer", "notes")
    details = {**facts.details, **{name: getattr(facts, name) for name in names}}
    details |= {"resize": asdict(facts.resize), "limits": dict(facts.limits)}
    return {
        "kind": "model",
        "name": f"{model} {ref.member}".strip(),
        "version": "",
        "component_version": 0,
        "distribution": ref.ref.name.partition("/")[0],
        "parameters": ref.ref.parameters,
        "digest": ref.digest,
        "details": canonical_json(details),
    }


def _component_row(kind: str, name: str, use: Use, details: Mapping[str, Any]) -> dict[str, Any]:
    registered, identity = use.registered, use_identity(use)
    return {
        "kind": kind,
        "name": name,
        "distribution": registered.origin.distribution,
        "version": registered.origin.version,
        "component_version": registered.record.version,
        "parameters": canonical_json(identity["parameters"]),
        "digest": identity.get("content") or identity.get("code"),
        "details": json.dumps({"source": registered.record.source, **details}),
    }
