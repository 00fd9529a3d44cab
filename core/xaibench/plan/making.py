"""Making a plan. What cannot run as a whole is refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from xaibench.api import FAMILY_RECORD, Detector, PlanError, UsageError
from xaibench.data.doubts import doubt_lines
from xaibench.discovery import components
from xaibench.discovery.components import Use
from xaibench.discovery.paths import open_dataset
from xaibench.discovery.process_state import undone
from xaibench.discovery.registry import Registry
from xaibench.discovery.secrets import collected_literals, take_parameters
from xaibench.plan.accompanying import Overrides
from xaibench.plan.cells import lay_out, lay_out_artefacts
from xaibench.plan.choice import (
    choose_executor,
    choose_explainers,
    choose_metrics,
    choose_model,
    name_models,
    read_preset,
    survey_dataset,
)
from xaibench.plan.detector_cells import lay_out_detectors
from xaibench.plan.engines import choose_engines
from xaibench.plan.identity import folder_of, identity_of
from xaibench.plan.known_samples import known_samples
from xaibench.plan.parts import (
    Plan,
    PlannedDataset,
    PlannedExplainer,
    PlannedMetric,
    PlannedModel,
    planned_members,
)
from xaibench.plan.runtime import make_runtime
from xaibench.plan.settings import Settings, without_secrets
from xaibench.plan.tasks import DetectorRef
from xaibench.plan.verifying import verify


def make_plan(settings: Settings, registry: Registry) -> Plan:
    """Resolve every name, open every model, survey every dataset, and lay out the cells.

    The settings of the plan hold no secret: values that were given literally are in the environment afterwards. Raises
    :class:`XaibenchError` for what cannot run as a whole. What cannot run in part becomes a cell with a reason.
    """
    with collected_literals() as literals:
        take_parameters(settings.parameter, registry)
        plan = _make(settings, registry)
    return replace(plan, settings=without_secrets(plan.settings, literals)) if literals else plan


def _make(settings: Settings, registry: Registry) -> Plan:
    _check_requires(settings.requires)
    preset = read_preset(settings.preset)
    overrides = components.parse_overrides(settings.parameter)
    executor = choose_executor(registry, settings, overrides)
    runtime = make_runtime(settings.device, precision=settings.precision, threads=settings.threads)
    limit = settings.limit or preset.get("limit")
    metrics = choose_metrics(registry, settings, preset, overrides)
    needs_maps = bool(settings.explainer) or any(m.record.scope != "model" for m in metrics)
    explainers = choose_explainers(registry, settings, preset, overrides) if needs_maps else ()
    strangers = any("stranger" in needs for needs in (*(e.needs for e in explainers), *(m.needs for m in metrics)))
    sources = [
        open_dataset(text, overrides=settings.parameter, registry=registry)
        for text in settings.dataset or preset["dataset"]
    ]
    detectors: dict[DetectorRef, Detector] = {}
    model_texts = settings.model or preset["model"]
    models = tuple(
        choose_model(registry, text, name, settings, runtime, detectors)
        for text, name in zip(model_texts, name_models(registry, model_texts), strict=True)
    )
    identity = identity_of(settings, runtime, models, explainers, metrics)
    out = folder_of(settings, identity, sources)
    datasets = tuple(survey_dataset(s, settings, limit, strangers, known_samples(out, s)) for s in sources)
    _check_unique("model", [m.name for m in models])
    _check_unique("dataset", [d.name for d in datasets])
    _check_overrides(overrides, models, datasets, explainers, metrics, executor, registry)
    models = verify(models, datasets, detectors)
    engines = choose_engines(settings, runtime, out, models, datasets, detectors)
    models, identity = engines.models, {**identity, **engines.identity}
    uses = [e.use for e in explainers] + [m.use for m in metrics]
    foreign = any(not use.registered.built_in for use in uses)
    with undone("passes() or refuses() of a component", built_in=not foreign):
        cells = tuple(lay_out(models, datasets, explainers, metrics))
    return Plan(
        out=out,
        identity=identity,
        settings=settings,
        runtime=runtime,
        models=models,
        datasets=datasets,
        explainers=explainers,
        metrics=metrics,
        cells=cells,
        artefact_cells=tuple(lay_out_artefacts(cells, models, datasets, explainers)),
        detector_cells=tuple(lay_out_detectors(planned_members(models, cells), datasets, detectors)),
        notes=(*_notes(settings, preset, models, datasets), *engines.notes),
        detectors=detectors,
    )


def _check_requires(requires: Sequence[str]) -> None:
    from packaging.requirements import InvalidRequirement, Requirement

    from xaibench.store.provenance import version_of

    for text in requires:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            raise UsageError(
                f"'{text}' in requires is no requirement", "write for example 'xaibench-acme>=1.2'"
            ) from None
        version = version_of(requirement.name)
        if version is None or not requirement.specifier.contains(version, prereleases=True):
            raise PlanError(f"the run requires {text}; {version or 'nothing'} is installed", f"pip install '{text}'")


def _check_unique(kind: str, names: Sequence[str]) -> None:
    duplicate = next((n for n in names if list(names).count(n) > 1), None)
    if duplicate:
        raise UsageError(f"two {kind}s are called '{duplicate}'", "rename one of the files or folders")


def _check_overrides(
    overrides: Overrides,
    models: Sequence[PlannedModel],
    datasets: Sequence[PlannedDataset],
    explainers: Sequence[PlannedExplainer],
    metrics: Sequence[PlannedMetric],
    executor: Use,
    registry: Registry,
) -> None:
    """Raise :class:`UsageError` for a parameter of a component that is not part of the run."""
    used = {("dataset", d.use.registered.record.name) for d in datasets}
    used.add(("executor", executor.registered.record.name))
    used |= {("explainer", e.record.name) for e in explainers} | {("metric", m.record.name) for m in metrics}
    used |= {("model", registry.find("model", m.ref.ref.name).record.name) for p in models for m in p.members}
    for kind, name in overrides:
        if (kind, name) not in used:
            registry.find(kind, name)  # type: ignore[arg-type]
            raise UsageError(f"parameter for {kind} '{name}', which is not part of this run", f"add --{kind} {name}")


def _notes(
    settings: Settings, preset: Mapping[str, Any], models: Sequence[PlannedModel], datasets: Sequence[PlannedDataset]
) -> Iterable[str]:
    for model in models:
        facts = model.members[0].facts
        notes = dict.fromkeys(note for member in model.members for note in member.facts.notes)
        yield from (f"{model.name}: {note}" for note in notes)
        if len(model.members) > 1 and model.scored == 1:
            yield f"{model.name}: sample metrics run on member {model.members[0].ref.member} (--members all for all)"
        if len(model.members) < model.trained:
            yield (
                f"{model.name}: {len(model.members)} of the {model.trained} runs that its {FAMILY_RECORD}"
                " tells of; the same xaibench train goes on with the others"
            )
        limit = facts.batch.fixed or facts.batch.maximum
        if limit == model.members[0].batch_size != settings.batch_size:
            yield f"{model.name}: compute batch {model.members[0].batch_size}, as the model allows"
    for dataset in datasets:
        survey = dataset.survey
        if dataset.whole < survey.available:
            by = "" if settings.limit else f" (preset {settings.preset}; --limit N for more)"
            yield f"{dataset.name}: the first {dataset.whole} of {survey.available} samples{by}"
        if settings.part:
            yield f"{dataset.name}: part {settings.part}, {len(survey.samples)} of {dataset.whole} samples"
        if survey.problems:
            yield f"{dataset.name}: {len(survey.problems)} files left out"
        yield from (f"  {p.file}: {p.reason}" for p in survey.problems[:10])
        if len(survey.problems) > 10:
            yield f"  ... and {len(survey.problems) - 10} more (in the runs table)"
        yield from doubt_lines(dataset.name, survey.doubts, len(survey.samples))
        if any(s.cross_group for s in survey.samples):
            yield f"{dataset.name}: people and donors are crossed factors; intervals take both into account"
