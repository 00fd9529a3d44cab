"""Whether the maps of a finished run are those that a detector and an explainer draw here and now."""

from __future__ import annotations

from typing import Any, NamedTuple

from xaibench.api import Facts, UsageError, canonical_json
from xaibench.discovery.code_identity import use_identity
from xaibench.discovery.components import Use
from xaibench.store.open_run import Run


class RunMaps(NamedTuple):
    """Where a run keeps the maps of one explainer on one detector."""

    explainer: str
    model: str
    member: str


def maps_in_run(run: Run, facts: Facts, use: Use, target: str) -> RunMaps:
    """The maps of a run that this detector and this explainer, with these parameters, drew by the same rule of targets.

    Detectors are compared by their digests, which cover weights and card; explainers by name, parameters, version of
    definition and distribution, and digest of code or content: what enters the keys of their cells. Raises
    :class:`UsageError` where one differs.
    """
    rows = {(r["kind"], r["name"]): r for r in run.to_arrow("components").to_pylist()}  # the last word counts
    models = {name: r for (kind, name), r in rows.items() if kind == "model"}
    names = [name for name, r in models.items() if r["digest"] == facts.digest]
    if not names:
        what = f"the run evaluated another detector: {', '.join(models)}"
        raise UsageError(what, "give the same file with the same card to --model, or a run on this one")
    _refuse_other_explainer(rows.get(("explainer", use.name)), use, rows)
    rule = str(run.settings.get("target", "predicted"))
    if rule != target:
        raise UsageError(f"the run explained the class '{rule}', not '{target}'", f"give --target {rule}")
    predictions = run.to_arrow("predictions", ["model", "member"])
    pairs = set(zip(*(predictions[c].to_pylist() for c in ("model", "member")), strict=True))
    model, member = next(p for p in sorted(pairs) if f"{p[0]} {p[1]}".strip() == names[0])
    return RunMaps(use.name, model, member)


def _refuse_other_explainer(row: dict[str, Any] | None, use: Use, rows: dict[tuple[str, str], Any]) -> None:
    if row is None:
        known = ", ".join(name for kind, name in rows if kind == "explainer")
        raise UsageError(f"the run has no maps of {use.name} with these parameters", f"its explainers: {known}")
    identity, registered = use_identity(use), use.registered
    here = {
        "distribution": registered.origin.distribution,
        "version": registered.origin.version,
        "component_version": registered.record.version,
        "parameters": canonical_json(identity["parameters"]),
        "digest": identity.get("content") or identity.get("code"),
    }
    for name, value in here.items():
        if row[name] != value:
            what = f"{use.name} of the run has another {name.replace('_', ' ')}: {row[name]}, here {value}"
            raise UsageError(what, "evaluate again with what is installed here")
