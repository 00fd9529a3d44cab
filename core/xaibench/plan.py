"""The plan: every (detector, dataset, explainer, metric) cell, what cannot run and why, and what the rest costs."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from xaibench import components, targets
from xaibench.components import Use
from xaibench.contracts import Detector, Facts, Passes, PassQuery, Runtime, Sample, ScoreSpec
from xaibench.errors import PlanError, UsageError
from xaibench.parameters import parameter_class, parse_spec
from xaibench.plugin import PROJECT, ExplainerRecord, MetricRecord
from xaibench.probes import compute_batch
from xaibench.registry import Registered, Registry
from xaibench.settings import Settings
from xaibench.survey import Survey, slices, survey
from xaibench.tasks import DetectorRef, Shard

_DETECTOR_NEEDS = ("gradients", "activations")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedMember:
    """One opened detector: ``ref`` finds it again in any process; ``batch_size`` is its compute batch."""

    ref: DetectorRef
    facts: Facts
    batch_size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedModel:
    """A detector or a family. ``scored`` counts the first members that sample metrics run on."""

    name: str
    members: tuple[PlannedMember, ...]
    scored: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedDataset:
    """A dataset with its samples in order; ``shards`` are the slices the work is cut into."""

    name: str
    use: Use
    survey: Survey
    shards: tuple[tuple[int, int], ...]

    def shard(self, start: int, stop: int) -> Shard:
        chosen = self.survey.samples[start:stop]
        inside = {s.id for s in chosen}
        known = self.survey.by_id()
        pairs = [known[s.pair] for s in chosen if s.pair and s.pair in known and s.pair not in inside]
        return Shard(
            dataset=self.name, ref=self.use.ref, start=start, stop=stop, samples=chosen,
            auxiliary=tuple(dict.fromkeys(pairs)),
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedExplainer:
    """An explainer; ``repeats`` is 1 unless it draws at random; ``depends`` names explainers whose maps it asks for."""

    use: Use
    record: ExplainerRecord
    draws: int
    repeats: int
    needs: frozenset[str]
    depends: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.use.name


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedMetric:
    """A metric and the scores it declares."""

    use: Use
    record: MetricRecord
    scores: tuple[ScoreSpec, ...]

    @property
    def name(self) -> str:
        return self.use.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One metric of one explainer on one dataset for one detector (``member`` empty: the family).

    ``metric`` None is the drawing of the maps themselves. ``reason`` says why the cell cannot run; ``passes`` is what
    it costs by itself, the maps counted in their own cell.
    """

    model: str
    member: str
    dataset: str
    explainer: str
    metric: str | None
    reason: str
    passes: Passes


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything a run will do. ``detectors`` are the opened ones, for use in this process."""

    settings: Settings
    runtime: Runtime
    models: tuple[PlannedModel, ...]
    datasets: tuple[PlannedDataset, ...]
    explainers: tuple[PlannedExplainer, ...]
    metrics: tuple[PlannedMetric, ...]
    cells: tuple[Cell, ...]
    notes: tuple[str, ...]
    detectors: Mapping[DetectorRef, Detector] = field(repr=False, compare=False)

    def explainer(self, name: str) -> PlannedExplainer:
        return next(e for e in self.explainers if e.name == name)

    @property
    def predictions(self) -> Passes:
        """Clean predictions of every member that maps are drawn for."""
        members = {(c.model, c.member) for c in self.cells if c.metric is None}
        return Passes(forward=len(members) * sum(len(d.survey.samples) for d in self.datasets))

    @property
    def passes(self) -> Passes:
        """What the whole plan costs."""
        return sum((c.passes for c in self.cells if not c.reason), self.predictions)


def make_plan(
    settings: Settings,
    registry: Registry,
    *,
    cuts: Mapping[str, Sequence[int]] | None = None,
    on_step: Callable[[str], None] | None = None,
) -> Plan:
    """Resolve every name, open every model, survey every dataset, and lay out the cells.

    ``cuts`` are earlier limits by dataset, at which shards stay cut. Raises :class:`XaibenchError` with the way to
    mend it for whatever cannot run as a whole; what cannot run in part becomes a cell with a reason.
    """
    say = on_step or (lambda _: None)
    _check_requires(settings.requires)
    preset = _preset(settings.preset)
    overrides = components.parse_overrides(settings.parameter)
    runtime = make_runtime(settings)
    limit = settings.limit or preset.get("limit")
    say("reading datasets")
    datasets = tuple(
        _dataset(registry, text, overrides, settings, limit, (cuts or {}))
        for text in settings.dataset or preset["dataset"]
    )
    say("opening models")
    explainers = _explainers(registry, settings, preset, overrides)
    metrics = _metrics(registry, settings, preset, overrides)
    detectors: dict[DetectorRef, Detector] = {}
    models = tuple(
        _model(registry, text, overrides, settings, runtime, detectors) for text in settings.model or preset["model"]
    )
    _check_unique("model", [m.name for m in models])
    _check_unique("dataset", [d.name for d in datasets])
    _check_overrides(overrides, models, datasets, explainers, metrics, registry)
    cells = tuple(_cells(models, datasets, explainers, metrics))
    notes = tuple(_notes(settings, preset, models, datasets))
    return Plan(settings=settings, runtime=runtime, models=models, datasets=datasets, explainers=explainers,
                metrics=metrics, cells=cells, notes=notes, detectors=detectors)  # fmt: skip


# ---- what a run is made of ------------------------------------------------------------------------------------------


def _preset(name: str) -> dict[str, Any]:
    return tomllib.loads(files("xaibench").joinpath("presets.toml").read_text(encoding="utf-8"))[name]  # type: ignore[no-any-return]


def preset_members(preset: str, key: str) -> list[str]:
    """What a preset names explicitly for ``model``, ``dataset``, ``explainer`` or ``metric``."""
    return list(_preset(preset).get(key, ()))


def make_runtime(settings: Settings) -> Runtime:
    """Device, precision and thread count as they will be, nothing left automatic."""
    device = settings.device
    if device == "auto" or device.startswith("cuda"):
        import torch

        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        elif not torch.cuda.is_available():
            raise PlanError(
                "device 'cuda' was asked for and torch finds none", "use --device cpu, or see xaibench doctor"
            )
    elif device != "cpu":
        raise UsageError(f"device '{device}' is not known", "use cpu, cuda, cuda:N or auto")
    return Runtime(device=device, precision=settings.precision, threads=settings.threads or os.cpu_count() or 1)


def _dataset(
    registry: Registry,
    text: str,
    overrides: Mapping[tuple[str, str], dict[str, object]],
    settings: Settings,
    limit: int | None,
    cuts: Mapping[str, Sequence[int]],
) -> PlannedDataset:
    use = components.dataset(registry, text, {})
    more = overrides.get(("dataset", use.registered.record.name), {})
    if more:
        use = components.dataset(registry, text, more)
    path = Path(text.partition(":")[0]).expanduser()
    name = path.resolve().name if components.is_path(registry, "dataset", text) else use.name
    found = survey(use.instance, name, seed=settings.seed, split=settings.split, methods=settings.method, limit=limit)
    shards = tuple(slices(len(found.samples), settings.shard_size, cuts.get(name, ())))
    return PlannedDataset(name=name, use=use, survey=found, shards=shards)


def _model(
    registry: Registry,
    text: str,
    overrides: Mapping[tuple[str, str], dict[str, object]],
    settings: Settings,
    runtime: Runtime,
    opened: dict[DetectorRef, Detector],
) -> PlannedModel:
    uses = components.models(registry, text, {})
    more = overrides.get(("model", uses[0][1].registered.record.name), {})
    if more:
        uses = components.models(registry, text, more)
    path = Path(text if Path(text).exists() else text.partition(":")[0]).expanduser()
    from_file = path.exists() and components.is_path(registry, "model", text)
    name = (path.resolve().name if path.is_dir() else path.stem) if from_file else uses[0][1].name
    members = []
    for member, use in uses:
        for inner in use.instance.members():
            detector = use.instance.open(inner, runtime)
            facts = detector.facts
            targets.check_rule(settings.target, facts)
            ref = DetectorRef(model=name, member=member or inner, ref=use.ref, inner=inner, digest=facts.digest)
            opened[ref] = detector
            members.append(PlannedMember(ref=ref, facts=facts, batch_size=compute_batch(facts, settings.batch_size)))
    return PlannedModel(name=name, members=tuple(members), scored=len(members) if settings.members == "all" else 1)


def _explainers(
    registry: Registry,
    settings: Settings,
    preset: Mapping[str, Any],
    overrides: Mapping[tuple[str, str], dict[str, object]],
) -> tuple[PlannedExplainer, ...]:
    uses = {u.name: u for u in _chosen(registry, "explainer", settings.explainer, settings, preset, overrides)}
    if settings.controls:
        uses |= {u.name: u for u in _controls(registry, list(uses.values()), overrides)}
    planned = [_explainer(registry, u, settings.repeats) for u in uses.values()]
    return tuple(planned)


def _chosen(
    registry: Registry,
    kind: Any,
    named: Sequence[str],
    settings: Settings,
    preset: Mapping[str, Any],
    overrides: Mapping[tuple[str, str], dict[str, object]],
) -> Iterable[Use]:
    """What was named, or the preset's members. A parameter given apart gives way to one in a spec that was named, and
    overrules the preset's."""
    for spec in named or preset.get(kind) or _members(registry, kind, settings.preset):
        name, values = parse_spec(spec)
        registered = registry.find(kind, name)
        more = overrides.get((kind, registered.record.name), {})
        yield components.make(registered, {**more, **values} if named else {**values, **more})


def _members(registry: Registry, kind: Any, preset: str) -> list[str]:
    """Built-in components of a preset that need no further word; third parties' never join by themselves."""
    found = []
    for c in registry.of_kind(kind):
        control = isinstance(c.record, ExplainerRecord) and c.record.control
        if c.origin.built_in and not control and (preset == "full" or preset in c.record.presets) and _complete(c):
            found.append(c.name)
    return found


def _complete(component: Registered) -> bool:
    """Whether a component can be made without being given a parameter."""
    fields = parameter_class(component.load()).model_fields
    return not any(f.is_required() and k not in component.record.parameters for k, f in fields.items())


def _controls(
    registry: Registry, explained: Sequence[Use], overrides: Mapping[tuple[str, str], dict[str, object]]
) -> Iterable[Use]:
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


def _explainer(registry: Registry, use: Use, repeats: int) -> PlannedExplainer:
    record = use.registered.record
    assert isinstance(record, ExplainerRecord)
    specs: tuple[str, ...] = tuple(getattr(use.instance, "depends", ()))
    depends = [components.use(registry, "explainer", spec) for spec in specs]
    records = [d.registered.record for d in depends]
    stochastic = record.stochastic or any(isinstance(r, ExplainerRecord) and r.stochastic for r in records)
    needs = record.needs | frozenset(getattr(use.instance, "needs", ()))
    for r in records:
        assert isinstance(r, ExplainerRecord)
        needs |= r.needs
    return PlannedExplainer(
        use=use, record=record, draws=int(getattr(use.instance, "draws", 1)), repeats=repeats if stochastic else 1,
        needs=needs, depends=tuple(d.name for d in depends),
    )  # fmt: skip


def _metrics(
    registry: Registry,
    settings: Settings,
    preset: Mapping[str, Any],
    overrides: Mapping[tuple[str, str], dict[str, object]],
) -> tuple[PlannedMetric, ...]:
    uses = {u.name: u for u in _chosen(registry, "metric", settings.metric, settings, preset, overrides)}
    planned = []
    for use in uses.values():
        record = use.registered.record
        assert isinstance(record, MetricRecord)
        planned.append(PlannedMetric(use=use, record=record, scores=tuple(use.instance.scores)))
    return tuple(planned)


# ---- cells ----------------------------------------------------------------------------------------------------------


def _cells(
    models: Sequence[PlannedModel],
    datasets: Sequence[PlannedDataset],
    explainers: Sequence[PlannedExplainer],
    metrics: Sequence[PlannedMetric],
) -> Iterable[Cell]:
    families = [m for m in metrics if m.record.scope == "family"]
    singles = [m for m in metrics if m.record.scope != "family"]
    for model in models:
        for dataset in datasets:
            for explainer in explainers:
                drawn = len(model.members) if families and len(model.members) > 1 else model.scored
                for index, member in enumerate(model.members[:drawn]):
                    own = singles if index < model.scored else []
                    yield from _member_cells(model, member, dataset, explainer, own, explainers)
                for metric in families:
                    yield _family_cell(model, dataset, explainer, metric)


def _member_cells(
    model: PlannedModel,
    member: PlannedMember,
    dataset: PlannedDataset,
    explainer: PlannedExplainer,
    metrics: Sequence[PlannedMetric],
    explainers: Sequence[PlannedExplainer],
) -> Iterable[Cell]:
    samples, facts = dataset.survey.samples, member.facts
    reason = why_not(explainer.needs, facts, samples)
    per_map = {s.id: _refusal(explainer, s, facts) for s in samples}
    maps = [s for s in samples if not per_map[s.id]] if not reason else []
    times = explainer.draws * explainer.repeats
    cost = _cost(explainer.use.instance, maps, facts).times(times)
    names = {e.name for e in explainers}
    for other in explainer.depends:
        if other not in names:  # not planned itself, so drawn on behalf of this one
            cost += Passes(exact=False)
    key = {"model": model.name, "member": member.ref.member, "dataset": dataset.name, "explainer": explainer.name}
    yield Cell(**key, metric=None, reason=reason, passes=cost)
    always = bool(getattr(explainer.use.instance, "always_explains", False))
    for metric in metrics:
        why = reason or why_not(metric.record.needs, facts, samples)
        if not why and metric.record.scope == "detector":
            why = "" if maps else "no sample has a map"
        query = [] if why else maps
        passes = _cost(metric.use.instance, query, facts).times(times)
        if passes.forward and not always:  # a map that turns out undefined is not scored
            passes = Passes(passes.forward, passes.backward, exact=False)
        yield Cell(**key, metric=metric.name, reason=why, passes=passes)


def _family_cell(
    model: PlannedModel, dataset: PlannedDataset, explainer: PlannedExplainer, metric: PlannedMetric
) -> Cell:
    samples, facts = dataset.survey.samples, model.members[0].facts
    reason = why_not(explainer.needs, facts, samples) or why_not(metric.record.needs - {"family"}, facts, samples)
    if not reason and len(model.members) < 2:
        reason = f"needs a family of training runs; {model.name} is one detector"
    passes = Passes() if reason else _cost(metric.use.instance, samples, facts).times(len(model.members))
    return Cell(model=model.name, member="", dataset=dataset.name, explainer=explainer.name, metric=metric.name,
                reason=reason, passes=Passes(passes.forward, passes.backward, not passes.forward))  # fmt: skip


def why_not(needs: Iterable[str], facts: Facts, samples: Sequence[Sample]) -> str:
    """Why a component with these needs cannot run; empty when it can."""
    for need in sorted(needs):
        if need in _DETECTOR_NEEDS and need not in facts.gives:
            return f"needs {need}: {facts.limits.get(need, f'{facts.name} gives none')}"
        if need == "mask" and not any(s.has_mask for s in samples):
            return "needs masks: no sample has one"
        if need == "pair" and not any(s.pair for s in samples if s.label == "fake"):
            return "needs real counterparts: no fake has one"
        if need == "landmarks" and not any(s.has_landmarks for s in samples):
            return "needs landmarks: no sample has them"
    return ""


def _refusal(explainer: PlannedExplainer, sample: Sample, facts: Facts) -> str:
    """Why an explainer will draw no map of a sample, as far as it can tell beforehand (optional ``refuses(query)``)."""
    refuses = getattr(explainer.use.instance, "refuses", None)
    return refuses(PassQuery(sample=sample, facts=facts)) if refuses else ""


def _cost(component: Any, samples: Iterable[Sample], facts: Facts) -> Passes:
    return sum((component.passes(PassQuery(sample=s, facts=facts)) for s in samples), Passes())


# ---- checks and notes -----------------------------------------------------------------------------------------------


def _check_requires(requires: Sequence[str]) -> None:
    from packaging.requirements import InvalidRequirement, Requirement

    from xaibench.store.provenance import version_of

    for text in requires:
        try:
            wanted = Requirement(text)
        except InvalidRequirement:
            raise UsageError(
                f"'{text}' in requires is no requirement", "write for example 'xaibench-acme>=1.2'"
            ) from None
        have = version_of(wanted.name)
        if have is None or not wanted.specifier.contains(have, prereleases=True):
            raise PlanError(f"the run requires {text}; {have or 'nothing'} is installed", f"pip install '{text}'")


def _check_unique(kind: str, names: Sequence[str]) -> None:
    twice = next((n for n in names if list(names).count(n) > 1), None)
    if twice:
        raise UsageError(f"two {kind}s are called '{twice}'", "rename one of the files or folders")


def _check_overrides(
    overrides: Mapping[tuple[str, str], dict[str, object]],
    models: Sequence[PlannedModel],
    datasets: Sequence[PlannedDataset],
    explainers: Sequence[PlannedExplainer],
    metrics: Sequence[PlannedMetric],
    registry: Registry,
) -> None:
    """A parameter for a component that is not in the run is a mistake, not a wish to be ignored."""
    used = {("dataset", d.use.registered.record.name) for d in datasets}
    used |= {("explainer", e.record.name) for e in explainers} | {("metric", m.record.name) for m in metrics}
    used |= {("model", registry.find("model", m.ref.ref.name).record.name) for p in models for m in p.members}
    for kind, name in overrides:
        if (kind, name) not in used and kind != "executor":
            registry.find(kind, name)  # type: ignore[arg-type]
            raise UsageError(f"parameter for {kind} '{name}', which is not part of this run", f"add --{kind} {name}")


def _notes(
    settings: Settings,
    preset: Mapping[str, Any],
    models: Sequence[PlannedModel],
    datasets: Sequence[PlannedDataset],
) -> Iterable[str]:
    for model in models:
        facts = model.members[0].facts
        yield from (f"{model.name}: {note}" for note in facts.notes)
        if len(model.members) > 1 and model.scored == 1:
            yield f"{model.name}: sample metrics run on member {model.members[0].ref.member} (--members all for all)"
        if model.members[0].batch_size != settings.batch_size:
            yield f"{model.name}: compute batch {model.members[0].batch_size}, as the model allows"
    for dataset in datasets:
        found = dataset.survey
        if len(found.samples) < found.available:
            by = "" if settings.limit else f" (preset {settings.preset}; --limit N for more)"
            yield f"{dataset.name}: the first {len(found.samples)} of {found.available} samples{by}"
        if found.problems:
            yield f"{dataset.name}: {len(found.problems)} files left out"
        yield from (f"  {p.file}: {p.reason}" for p in found.problems[:10])
        if len(found.problems) > 10:
            yield f"  ... and {len(found.problems) - 10} more (in the runs table)"
        if any(s.cross_group for s in found.samples):
            yield f"{dataset.name}: people and donors are crossed factors; intervals use the two-way bootstrap"
