"""From names, files and presets to the components that a run is made of."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from importlib.resources import files
from typing import Any

from xaibench.api import (
    PROJECT,
    Detector,
    ExplainerRecord,
    Location,
    MetricRecord,
    NothingToEvaluate,
    PlanError,
    Runtime,
    UsageError,
    XaibenchError,
    check_target_rule,
    parameter_class,
    parse_spec,
)
from xaibench.data.survey import Known, survey
from xaibench.detector.batch_size import compute_batch
from xaibench.discovery import components, paths
from xaibench.discovery.code_identity import component_identity
from xaibench.discovery.components import HELD, Use, open_component
from xaibench.discovery.paths import open_models
from xaibench.discovery.registry import Registered, Registry
from xaibench.plan.accompanying import Overrides, accompanying
from xaibench.plan.parts import (
    PlannedArtefact,
    PlannedDataset,
    PlannedExplainer,
    PlannedMember,
    PlannedMetric,
    PlannedModel,
)
from xaibench.plan.settings import Settings
from xaibench.plan.tasks import DetectorRef
from xaibench.store import artefact_rows


def read_preset(name: str) -> dict[str, Any]:
    return tomllib.loads(files("xaibench.plan").joinpath("presets.toml").read_text(encoding="utf-8"))[name]  # type: ignore[no-any-return]


def preset_members(preset: str, key: str) -> list[str]:
    """What a preset names explicitly for ``model``, ``dataset``, ``explainer`` or ``metric``."""
    return list(read_preset(preset).get(key, ()))


def choose_executor(registry: Registry, settings: Settings, overrides: Overrides) -> Use:
    """The executor with its parameters. ``jobs`` above 1 is its parameter of that name.

    Raises :class:`UsageError` for ``jobs`` above 1 where it has no such parameter.
    """
    registered = registry.find("executor", parse_spec(settings.executor)[0])
    values = overrides.get(("executor", registered.record.name), {})
    if settings.jobs > 1:
        if "jobs" not in parameter_class(registered.load()).model_fields:
            raise UsageError(
                f"--jobs {settings.jobs}: executor '{registered.record.name}' has no parameter 'jobs'",
                f"leave --jobs out; 'xaibench info {registered.record.name}' shows the parameters that it has",
            )
        values = {"jobs": settings.jobs, **values}
    return open_component("executor", settings.executor, values, registry=registry)


def names_foreign(settings: Settings, registry: Registry) -> bool:
    """Whether the settings name a component of a third party that is to run in a process of its own, as far as the
    names tell."""
    if not settings.isolation or (settings.out or "").startswith("memory://"):
        return False
    chosen = {"model": settings.model, "dataset": settings.dataset, "explainer": settings.explainer,
              "metric": settings.metric}  # fmt: skip
    owners = set()
    for kind, specs in chosen.items():
        for spec in specs:
            with suppress(XaibenchError):  # a path, or a wrong name, which the plan refuses
                owners.add(registry.find(kind, parse_spec(spec)[0]).origin.distribution)  # type: ignore[arg-type]
    return HELD not in owners and bool(owners - {PROJECT})


def survey_dataset(
    use: Use, settings: Settings, limit: int | None, strangers: bool, known: Mapping[str, Known]
) -> PlannedDataset:
    """The samples of a dataset, or the part of them that the settings name. ``known`` samples are not decoded."""
    found = survey(
        use.instance, use.display_name, seed=settings.seed, split=settings.split, methods=settings.method, limit=limit,
        strangers=strangers, known=known,
    )  # fmt: skip
    i, n = settings.part_of
    samples = found.samples[i - 1 :: n]
    if not samples:
        raise NothingToEvaluate(f"part {i}/{n} of {len(found.samples)} samples is empty", "give fewer parts")
    ids = {s.id for s in samples}
    shown = {s.pair for s in samples} | {found.strangers.get(s.id) for s in samples}
    auxiliary = {i: s for i, s in found.by_id().items() if i in shown and i not in ids}
    return PlannedDataset(
        name=use.display_name, use=use, survey=replace(found, samples=samples, auxiliary=auxiliary), part=(i, n),
        whole=len(found.samples),
    )  # fmt: skip


def name_models(registry: Registry, texts: Sequence[str]) -> list[str]:
    """The name in tables of every model file or folder, empty for a component: its own, with that of the folder it
    lies in before it (``cyborg-best``) where another one is called the same."""
    paths = [_model_path(registry, text) for text in texts]
    names = [(p.resolve().name if p.is_dir() else p.stem) if p else "" for p in paths]
    return [
        f"{p.resolve().parent.name}-{name}" if p and names.count(name) > 1 else name
        for p, name in zip(paths, names, strict=True)
    ]


def _model_path(registry: Registry, text: str) -> Location | None:
    """The file or folder that a model is read from, None where it is named as a component."""
    if not paths.is_path(registry, "model", text):
        return None
    path, _ = paths.model_path(text)
    return path if path.exists() else None


def choose_model(
    registry: Registry,
    text: str,
    name: str,
    settings: Settings,
    runtime: Runtime,
    opened: dict[DetectorRef, Detector],
) -> PlannedModel:
    uses = open_models(text, overrides=settings.parameter, registry=registry)
    name = name or uses[0][1].name
    members = []
    for member, use in uses:
        for inner in use.instance.members():
            detector = use.open(inner, runtime)
            facts = detector.facts
            check_target_rule(settings.target, facts)
            ref = DetectorRef(model=name, member=member or inner, ref=use.ref, inner=inner, digest=facts.digest)
            opened[ref] = detector
            batch = compute_batch(detector, settings.batch_size)
            component, record = component_identity(use.registered), use.registered.record
            members.append(PlannedMember(ref=ref, facts=facts, batch_size=batch, component=component, record=record))
    path = _model_path(registry, text)
    return PlannedModel(
        name=name, members=tuple(members), scored=len(members) if settings.members == "all" else 1,
        trained=paths.runs_recorded(path) if path and path.is_dir() else 0,
    )  # fmt: skip


def choose_explainers(
    registry: Registry,
    settings: Settings,
    preset: Mapping[str, Any],
    overrides: Overrides,
) -> tuple[PlannedExplainer, ...]:
    named = {u.name: u for u in _chosen(registry, "explainer", settings.explainer, settings, preset, overrides)}
    beside = _controls(registry, list(named.values()), overrides) if settings.controls else ()
    uses = named | {u.name: u for u in beside if u.name not in named}
    return tuple(_explainer(registry, u, settings.repeats, name in named) for name, u in uses.items())


def _chosen(
    registry: Registry,
    kind: Any,
    named: Sequence[str],
    settings: Settings,
    preset: Mapping[str, Any],
    overrides: Overrides,
) -> Iterable[Use]:
    """What was named, or the preset's members with its budgets. A parameter given apart gives way to one in a spec that
    was named, and overrules the preset's."""
    budgets = preset.get("budgets", {}).get(kind, {})
    for spec in named or preset.get(kind) or _members(registry, kind, settings.preset, preset):
        name, values = parse_spec(spec)
        registered = registry.find(kind, name)
        if not named:
            values = {**budgets.get(registered.record.name, {}), **values}
        more = overrides.get((kind, registered.record.name), {})
        yield components.make(registered, {**more, **values} if named else {**values, **more})


def _members(registry: Registry, kind: Any, name: str, preset: Mapping[str, Any]) -> list[str]:
    """Built-in components of a preset that need no further word; third parties' never join by themselves.

    They are those whose record names the preset, and for ``full`` all that it does not leave out.
    """
    left_out = preset.get("left-out", {}).get(kind, ())
    found = []
    for c in registry.of_kind(kind):
        apart = isinstance(c.record, ExplainerRecord) and (c.record.control or c.record.reference)
        joins = c.record.name not in left_out if name == "full" else name in c.record.presets
        if c.origin.built_in and not apart and joins and _complete(c):
            found.append(c.name)
    return found


def _complete(component: Registered) -> bool:
    """Whether a component can be made without being given a parameter."""
    fields = parameter_class(component.load()).model_fields
    return not any(f.is_required() and k not in component.record.parameters for k, f in fields.items())


def _controls(registry: Registry, explained: Sequence[Use], overrides: Overrides) -> Iterable[Use]:
    """The built-in controls; one with a parameter ``of`` is run once for every explainer that is no control."""
    for c in registry.of_kind("explainer"):
        if not (c.origin.built_in and isinstance(c.record, ExplainerRecord) and c.record.control):
            continue
        more = overrides.get(("explainer", c.record.name), {})
        if "of" not in parameter_class(c.load()).model_fields:
            yield components.make(c, more)
            continue
        for use in explained:
            record = use.registered.record
            if isinstance(record, ExplainerRecord) and not record.control:
                yield components.make(c, {**more, "of": _short(use)})


def _short(use: Use) -> str:
    """The spec by which a component is found again; built-ins without their distribution."""
    return use.name.removeprefix(f"{PROJECT}/")


def _asked(registry: Registry, use: Use) -> tuple[Use, ...]:
    """The explainers whose maps one asks for, nearest first, those that they ask for in turn included."""
    found: dict[str, Use] = {}
    waiting = [use]
    while waiting:
        specs = tuple(getattr(waiting.pop(0).instance, "depends", ()))
        more = [u for u in (open_component("explainer", s, registry=registry) for s in specs) if u.name not in found]
        found |= {u.name: u for u in more}
        waiting += more
    if use.name in found:
        raise PlanError(f"explainer '{use.name}' asks for its own map", "name another explainer in its parameters")
    return tuple(found.values())


def _explainer(registry: Registry, use: Use, repeats: int, named: bool) -> PlannedExplainer:
    record = use.registered.record
    assert isinstance(record, ExplainerRecord)
    depends = _asked(registry, use)
    records = [d.registered.record for d in depends]
    stochastic = any(u.trait("stochastic") for u in (use, *depends))
    needs = record.needs | frozenset(getattr(use.instance, "needs", ()))
    for d, r in zip(depends, records, strict=True):
        assert isinstance(r, ExplainerRecord)
        needs |= r.needs | frozenset(getattr(d.instance, "needs", ()))
    return PlannedExplainer(
        use=use, record=record, draws=int(getattr(use.instance, "draws", 1)), repeats=repeats if stochastic else 1,
        needs=needs, depend_uses=depends, artefacts=tuple(_stored((use, *depends))), named=named,
    )  # fmt: skip


def _stored(uses: Iterable[Use]) -> Iterable[PlannedArtefact]:
    """The stored artefacts that components ask for."""
    for use in uses:
        for index, artefact in enumerate(getattr(use.instance, "artefacts", ())):
            if artefact.stored:
                yield PlannedArtefact(name=artefact_rows.name_of(artefact), asker=use, index=index, artefact=artefact)


def choose_metrics(
    registry: Registry,
    settings: Settings,
    preset: Mapping[str, Any],
    overrides: Overrides,
) -> tuple[PlannedMetric, ...]:
    """What was named, or the preset's, and what accompanies these."""
    named = {u.name: u for u in _chosen(registry, "metric", settings.metric, settings, preset, overrides)}
    beside = {name: accompanying(registry, use, list(named.values()), overrides) for name, use in named.items()}
    added = {u.name: u for uses in beside.values() for u in uses if u.name not in named} if settings.controls else {}
    names = {name: tuple(dict.fromkeys(u.name for u in uses)) for name, uses in beside.items()}
    return tuple(_metric(u, names.get(name, ()), name in named) for name, u in (named | added).items())


def _metric(use: Use, accompanied_by: tuple[str, ...], named: bool) -> PlannedMetric:
    record = use.registered.record
    assert isinstance(record, MetricRecord)
    return PlannedMetric(
        use=use, record=record, scores=tuple(use.instance.scores), accompanied_by=accompanied_by, named=named
    )  # fmt: skip
