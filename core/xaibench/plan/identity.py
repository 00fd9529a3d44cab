"""What the results of a run depend on besides its pictures, in words that tell two plans apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from xaibench.api import Runtime, digest
from xaibench.discovery.code_identity import KEY_SCHEME, use_identity
from xaibench.discovery.components import Use
from xaibench.plan.parts import PlannedExplainer, PlannedMetric, PlannedModel
from xaibench.plan.settings import Settings
from xaibench.store.provenance import runtime_identity
from xaibench.store.relation import Address


def identity_of(
    settings: Settings,
    runtime: Runtime,
    models: Iterable[PlannedModel],
    explainers: Iterable[PlannedExplainer],
    metrics: Iterable[PlannedMetric],
) -> dict[str, Any]:
    """A flat table. A later plan of the same folder may add keys to it but change none."""
    identity: dict[str, Any] = {
        "key scheme": KEY_SCHEME,
        "seed": settings.seed,
        "target": settings.target,
        **runtime_identity(runtime),
    }
    for model in models:
        for m in model.members:
            key = f"model {model.name} {m.ref.member}"
            identity[key] = f"{m.ref.digest} batch {m.batch_size} code {digest(m.component)}"
    identity |= {f"explainer {e.name}": digest(use_identity(e.use)) for e in explainers}
    return identity | {f"metric {m.name}": digest(use_identity(m.use)) for m in metrics}


def folder_of(settings: Settings, identity: Mapping[str, Any], datasets: Iterable[Use]) -> str:
    """The folder of a run: that of ``out``, or one for everything that the plan names, whatever its ``limit``."""
    if settings.out:
        return settings.out
    data = [[u.ref.name, u.ref.parameters] for u in datasets]
    named = [identity, data, settings.repeats, settings.split, sorted(settings.method), settings.part]
    if settings.engine != "torch":
        named.append(settings.engine)
    return str(Path("xaibench-runs") / digest(named)[:12])


def contradicts(changed: Iterable[str], address: Address) -> bool:
    """Whether a row that a plan does not ask for may depend on what the plan changes.

    A change of an explainer touches the rows of all explainers, since they may use each other's maps.
    """
    for key in changed:
        kind, _, name = key.partition(" ")
        touched = {
            "explainer": bool(address.explainer),
            "metric": address.metric == name,
            "model": name.startswith(f"{address.model} {address.member}"),
            "data": address.dataset == name,
        }
        if touched.get(kind, True):
            return True
    return False
