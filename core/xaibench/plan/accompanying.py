"""Metrics that accompany others: what says whether a measure means anything on a detector runs beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from xaibench.api import PluginError, parse_spec
from xaibench.discovery import components
from xaibench.discovery.components import Use
from xaibench.discovery.registry import Registry
from xaibench.plan.parts import Cell, PlannedMetric

Overrides: TypeAlias = Mapping[tuple[str, str], dict[str, object]]


def accompanying(registry: Registry, use: Use, named: Sequence[Use], overrides: Overrides) -> list[Use]:
    """The metrics that accompany one (:class:`xaibench.api.Metric`).

    A named metric that differs in no parameter of a spec stands for it. Raises :class:`UnknownComponent` and
    :class:`UsageError` for a spec that names no metric, and :class:`PluginError` for what is no tuple of specs.
    """
    accompanied_by = getattr(use.instance, "accompanied_by", None)
    specs = accompanied_by() if accompanied_by else ()
    if not isinstance(specs, tuple):
        raise PluginError(
            f"metric '{use.name}': accompanied_by() returned {type(specs).__name__}, not a tuple of names",
            f"this is a fault of {use.registered.origin.distribution} {use.registered.origin.version}",
        )
    uses = []
    for spec in specs:
        name, values = parse_spec(spec)
        registered = registry.find("metric", name)
        alike = (u for u in named if u.registered.name == registered.name and _with(u, values).name == u.name)
        more = overrides.get(("metric", registered.record.name), {})
        uses.append(next(alike, None) or components.make(registered, {**more, **values}))
    return uses


def _with(use: Use, values: Mapping[str, object]) -> Use:
    """The component with the same parameters but these."""
    return components.make(use.registered, {**dict(use.parameters), **values})


def without_idle(cells: Sequence[Cell], metrics: Sequence[PlannedMetric]) -> list[Cell]:
    """The cells without those of metrics that only accompany others, where none of the others can run."""
    by_name = {m.name: m for m in metrics}
    wanted = {
        (cell.model, cell.member, cell.dataset, name)
        for cell in cells
        if cell.metric and not cell.reason
        for name in by_name[cell.metric].accompanied_by
    }
    return [
        cell
        for cell in cells
        if not cell.metric
        or by_name[cell.metric].named
        or (cell.model, cell.member, cell.dataset, cell.metric) in wanted
    ]
