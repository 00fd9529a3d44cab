"""Records of a run: its run file, the rows of ``runs`` and ``components``, and what may not change."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from xaibench.api import ComponentRecord, canonical_json
from xaibench.discovery.code_identity import fills_of, use_identity
from xaibench.discovery.components import Use
from xaibench.plan.parts import Cell, Plan, PlannedMember
from xaibench.store.planning import changes_of
from xaibench.store.relation import Relation
from xaibench.store.schema import COMPONENTS
from xaibench.store.snapshot import Snapshot
from xaibench.store.table_paths import shorten_json, shorten_values


def contradictions(plan: Plan, earlier: Snapshot) -> dict[str, str]:
    """What a plan changes of the run in a folder: by key of the identity, or ``data DATASET``, in words."""
    found = changes_of(earlier.plan["identity"], plan.identity)
    names = ("dataset", "sample", "digest", "stranger", "stranger_digest")
    columns = (earlier.samples[n].to_pylist() for n in names)
    before = {(dataset, sample): rest for dataset, sample, *rest in zip(*columns, strict=True)}
    for dataset in plan.datasets:
        for sample, (own, with_stranger) in dataset.sample_digests.items():
            old_own, old_stranger, old_with_stranger = before.get((dataset.name, sample), ("", None, ""))
            compared = dataset.survey.strangers.get(sample) and old_stranger
            what = "" if (old_own or own) == own else f"sample {sample}"
            if not what and compared and old_with_stranger != with_stranger:
                what = f"the stranger of sample {sample}"
            if what:
                found[f"data {dataset.name}"] = f"{what} of {dataset.name} is not the same as it was"
                break
    return found


def run_file_of(plan: Plan) -> dict[str, Any]:
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


def paths_of(plan: Plan) -> dict[str, str]:
    """What the shortened paths in the records of a plan stand for, but for the folder of the run itself."""
    paths = dict[str, str]()
    shorten_values({key: value for key, value in run_file_of(plan).items() if key != "out"}, paths)
    for row in _component_rows(plan):
        shorten_json(row["parameters"], paths)
    return paths


def plan_text(plan: Plan, relation: Relation) -> str:
    """The plan as ``runs`` holds it, JSON."""
    return canonical_json(
        {
            "settings": shorten_values(plan.settings.model_dump(mode="json")),
            "run_file": shorten_values(run_file_of(plan)),
            "identity": dict(plan.identity),
            "relation": [cell.to_json() for cell in relation.cells],
            "cells": [_cell_json(c) for c in plan.cells],
            "detectors": [asdict(c) for c in plan.detector_cells],
            "artefacts": [asdict(c) for c in plan.artefact_cells],
            "problems": shorten_values(
                {d.name: [[p.file, p.reason] for p in d.survey.problems] for d in plan.datasets}
            ),
            "notes": shorten_values(plan.notes),
            "samples": {d.name: len(d.survey.samples) for d in plan.datasets},
        }
    )


def _cell_json(cell: Cell) -> dict[str, Any]:
    """A cell with its passes as columns of their own."""
    columns = asdict(cell)
    passes = columns.pop("passes")
    return {**columns, **passes}


def component_rows(plan: Plan, run: str) -> pa.Table:
    """The rows of ``components``: versions, parameters and digests of everything that takes part."""
    rows = list(_component_rows(plan))
    rows = [r | {name: shorten_json(r[name]) for name in ("parameters", "details")} for r in rows]
    return pa.Table.from_pylist([{"run": run, **row} for row in rows], schema=COMPONENTS)


def _component_rows(plan: Plan) -> Iterator[dict[str, Any]]:
    for model in plan.models:
        yield from (_member_row(model.name, member) for member in model.members)
    for dataset in plan.datasets:
        masks = "binarised at half of each mask's own maximum; those in doubt are left out"
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
            "draws": explainer.draws,
            "repeats": explainer.repeats,
        }
        yield _component_row("explainer", explainer.name, explainer.use, details)
    for metric in plan.metrics:
        scores = [asdict(s) for s in metric.scores]
        details = {
            "family": metric.record.family,
            "scope": metric.record.scope,
            "scores": scores,
            "accompanied_by": metric.accompanied_by,
        }
        yield _component_row("metric", metric.name, metric.use, details)


def _member_row(model: str, member: PlannedMember) -> dict[str, Any]:
    facts, ref = member.facts, member.ref
    names = ("classes", "threshold", "precision", "stochastic", "remote", "input_size", "target_layer", "notes")
    details = {**facts.details, **{name: getattr(facts, name) for name in names}}
    details |= {"resize": asdict(facts.resize), "limits": dict(facts.limits), **_source(member.record)}
    return {
        "kind": "model",
        "name": recorded_member(model, ref.member),
        "version": "",
        "component_version": 0,
        "distribution": ref.ref.name.partition("/")[0],
        "parameters": ref.ref.parameters,
        "digest": ref.digest,
        "details": canonical_json(details),
    }


def recorded_member(model: str, member: str) -> str:
    """The name of a member of a model in ``components``."""
    return f"{model} {member}".strip()


def recorded_identity(use: Use) -> dict[str, Any]:
    """What ``components`` tells of the code and the parameters of a component, paths shortened."""
    identity = _identity(use)
    return identity | {"parameters": shorten_json(identity["parameters"])}


def _identity(use: Use) -> dict[str, Any]:
    registered, identity = use.registered, use_identity(use)
    return {
        "distribution": registered.origin.distribution,
        "version": registered.origin.version,
        "component_version": registered.record.version,
        "parameters": canonical_json(identity["parameters"]),
        "digest": identity.get("content") or identity.get("code"),
    }


def _component_row(kind: str, name: str, use: Use, details: Mapping[str, Any]) -> dict[str, Any]:
    registered = use.registered
    return {
        "kind": kind,
        "name": name,
        **_identity(use),
        "details": json.dumps({**_source(registered.record, *(c.record for c in fills_of(use).values())), **details}),
    }


def _source(record: ComponentRecord, *fills: ComponentRecord) -> dict[str, Any]:
    """Where a component comes from, as text and as references, those of the fills that it uses after its own."""
    references = dict.fromkeys(reference for r in (record, *fills) for reference in r.references)
    return {"source": record.source, "note": record.note, "references": [r.to_dict() for r in references]}
