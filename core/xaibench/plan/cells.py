"""The cells of a plan: what can run, why the rest cannot, and the passes of each."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cache
from numbers import Integral
from typing import Any

from xaibench.api import (
    DETECTOR_NEEDS,
    Facts,
    Passes,
    PassQuery,
    PluginError,
    Sample,
    as_exception,
    describe_error,
)
from xaibench.data.survey import Survey
from xaibench.discovery.components import Use
from xaibench.plan.accompanying import without_idle
from xaibench.plan.parts import (
    ArtefactCell,
    Cell,
    PlannedDataset,
    PlannedExplainer,
    PlannedMember,
    PlannedMetric,
    PlannedModel,
)


class BrokenComponent(Exception):
    """A component could not say what a plan asks of it. Its cells have failed, and the others are planned."""


def lay_out(
    models: Sequence[PlannedModel],
    datasets: Sequence[PlannedDataset],
    explainers: Sequence[PlannedExplainer],
    metrics: Sequence[PlannedMetric],
) -> Iterable[Cell]:
    """The cells of all detectors, datasets, explainers and metrics.

    A metric that is there because it accompanies others runs on a detector and dataset where one of these runs.
    An inverse that the user did not name stands only beside metrics that hold a score against controls
    (:func:`_stands_beside`). Other cells of it are no part of the plan.
    """
    return without_idle(list(_lay_out(models, datasets, explainers, metrics)), metrics)


def _lay_out(
    models: Sequence[PlannedModel],
    datasets: Sequence[PlannedDataset],
    explainers: Sequence[PlannedExplainer],
    metrics: Sequence[PlannedMetric],
) -> Iterable[Cell]:
    families = [m for m in metrics if m.record.scope == "family"]
    singles = [m for m in metrics if m.record.scope in ("sample", "detector")]
    for model in models:
        for dataset in datasets:
            for metric in (m for m in metrics if m.record.scope == "model"):
                yield from (_model_cell(model, member, dataset, metric) for member in model.members[: model.scored])
            for explainer in explainers:
                of_family = [m for m in families if _stands_beside(explainer, m)]
                of_member = [m for m in singles if _stands_beside(explainer, m)]
                if _is_unnamed_inverse(explainer) and not of_family and not of_member:
                    continue
                # Metrics of a family need the maps of all members, also of those that are not scored themselves.
                explained = len(model.members) if of_family and len(model.members) > 1 else model.scored
                for index, member in enumerate(model.members[:explained]):
                    metrics_here = of_member if index < model.scored else []
                    yield from _member_cells(model, member, dataset, explainer, metrics_here, explainers, datasets)
                for metric in of_family:
                    yield _family_cell(model, dataset, explainer, metric, datasets)


def _stands_beside(explainer: PlannedExplainer, metric: PlannedMetric) -> bool:
    """Whether a metric runs on an explainer: on an unnamed inverse only where a score is held against controls."""
    return not _is_unnamed_inverse(explainer) or any(s.ranks_evidence for s in metric.scores)


def _is_unnamed_inverse(explainer: PlannedExplainer) -> bool:
    """Whether this is a control made of another explainer's map that the user did not name."""
    return explainer.record.control and bool(explainer.depend_uses) and not explainer.named


def lay_out_artefacts(
    cells: Sequence[Cell],
    models: Sequence[PlannedModel],
    datasets: Sequence[PlannedDataset],
    explainers: Sequence[PlannedExplainer],
) -> Iterable[ArtefactCell]:
    """The stored artefacts that the maps of these cells need, each once for a detector and dataset."""
    facts = {(m.name, x.ref.member): x.facts for m in models for x in m.members}
    samples = {d.name: d.survey.samples for d in datasets}
    artefacts = {e.name: e.artefacts for e in explainers}
    keys = set()
    for cell in cells:
        for planned in artefacts[cell.explainer] if cell.metric is None and not cell.reason else ():
            key = (cell.model, cell.member, cell.dataset, planned.name)
            if key not in keys:
                keys.add(key)
                known = facts[cell.model, cell.member]
                queries = (PassQuery(sample=s, facts=known) for s in samples[cell.dataset])
                try:
                    passes = _sum(_passes(planned.asker.name, planned.artefact, q) for q in queries)
                except BrokenComponent as error:
                    raise PluginError(str(error), f"leave {cell.explainer} out") from error
                yield ArtefactCell(
                    model=cell.model, member=cell.member, dataset=cell.dataset, artefact=planned.name, passes=passes
                )


def _member_cells(
    model: PlannedModel,
    member: PlannedMember,
    dataset: PlannedDataset,
    explainer: PlannedExplainer,
    metrics: Sequence[PlannedMetric],
    explainers: Sequence[PlannedExplainer],
    datasets: Sequence[PlannedDataset],
) -> Iterable[Cell]:
    facts = member.facts
    maps_a_sample = explainer.draws * explainer.repeats
    reason, broken = why_not(explainer.needs, facts, dataset), False
    with_map, cost = list[PassQuery](), Passes()
    try:
        if not reason:
            with_map, cost = _maps_cost(explainer, dataset, facts, {e.name for e in explainers})
    except BrokenComponent as error:
        reason, broken = str(error), True
    key = {"model": model.name, "member": member.ref.member, "dataset": dataset.name, "explainer": explainer.name}
    yield Cell(**key, metric=None, reason=reason, passes=cost, broken=broken)
    always = bool(getattr(explainer.use.instance, "always_explains", False))
    counted: dict[str, set[str]] = {}
    asked = cache(lambda: _about_maps(explainer, with_map))  # made once for all metrics, and not for none
    for metric in metrics:
        why = reason or _why_no_set(metric, explainer, facts, dataset, datasets)
        if not why and metric.record.scope == "detector":
            why = "" if with_map else "no sample has a map"
        passes, fault = Passes(), broken
        try:
            why = why or _refusal_by(metric, asked())
            passes = _metric_cost(metric, [] if why else asked(), counted).times(maps_a_sample)
            if metric.record.scope == "detector" and not why:  # its maps are drawn again where they were not kept
                passes += _redrawing_cost(metric, explainer, facts, dataset, datasets)
            elif passes.forward and not always:  # a map that is undefined is not scored
                passes = Passes(passes.forward, passes.backward, exact=False)
        except BrokenComponent as error:
            why, fault = str(error), True
        yield Cell(**key, metric=metric.name, reason=why, passes=passes, broken=fault)


def _maps_cost(
    explainer: PlannedExplainer, dataset: PlannedDataset, facts: Facts, planned: Collection[str]
) -> tuple[list[PassQuery], Passes]:
    """The samples that get maps of an explainer, each as what is asked about it, and the passes of all maps."""
    queries = _with_map(explainer, dataset, facts)
    cost = _cost(explainer.use, queries)
    for other in explainer.depend_uses:
        if other.name not in planned:  # its maps are drawn for this explainer
            extra = _cost(other, queries)
            cost += Passes(extra.forward, extra.backward, exact=False)
    return queries, cost.times(explainer.draws * explainer.repeats)


def _model_cell(model: PlannedModel, member: PlannedMember, dataset: PlannedDataset, metric: PlannedMetric) -> Cell:
    reason = why_not(metric.needs, member.facts, dataset)
    passes, broken = Passes(), False
    try:
        passes = Passes() if reason else _set_cost(metric.use, dataset.survey.samples, member.facts)
    except BrokenComponent as error:
        reason, broken = str(error), True
    return Cell(
        model=model.name,
        member=member.ref.member,
        dataset=dataset.name,
        explainer="",
        metric=metric.name,
        reason=reason,
        passes=passes,
        broken=broken,
    )


def _family_cell(
    model: PlannedModel,
    dataset: PlannedDataset,
    explainer: PlannedExplainer,
    metric: PlannedMetric,
    datasets: Sequence[PlannedDataset],
) -> Cell:
    samples, facts = dataset.survey.samples, model.members[0].facts
    reason = why_not(explainer.needs, facts, dataset) or _why_no_set(metric, explainer, facts, dataset, datasets)
    if not reason and len(model.members) < 2:
        reason = f"needs a family of training runs; {model.name} is one detector"
    passes, broken = Passes(), False
    try:
        queries = [] if reason else _about_maps(explainer, _queries(samples, facts))
        reason = reason or _refusal_by(metric, queries)
        if not reason:
            passes = _cost(metric.use, queries).times(explainer.draws * explainer.repeats)
            passes += _redrawing_cost(metric, explainer, facts, dataset, datasets)
            passes = passes.times(len(model.members))
    except BrokenComponent as error:
        reason, broken = str(error), True
    return Cell(
        model=model.name,
        member="",
        dataset=dataset.name,
        explainer=explainer.name,
        metric=metric.name,
        reason=reason,
        passes=Passes(passes.forward, passes.backward, not passes.forward),
        broken=broken,
    )


def _why_no_set(
    metric: PlannedMetric,
    explainer: PlannedExplainer,
    facts: Facts,
    dataset: PlannedDataset,
    datasets: Sequence[PlannedDataset],
) -> str:
    """Why a metric cannot run on an explainer's maps; empty where it can.

    The maps of the first dataset are included where the metric needs ``reference``.
    """
    reason = why_not(metric.needs - {"family"}, facts, dataset, datasets)
    if reason or "reference" not in metric.needs:
        return reason
    absent = why_not(explainer.needs, facts, datasets[0])
    return f"no maps of the first dataset: {absent}" if absent else ""


def _redrawing_cost(
    metric: PlannedMetric,
    explainer: PlannedExplainer,
    facts: Facts,
    dataset: PlannedDataset,
    datasets: Sequence[PlannedDataset],
) -> Passes:
    """An upper bound of the passes for drawing the maps of a whole set again, where they were not kept.

    The maps that the explainer uses are drawn again with them.
    """
    cost = Passes(exact=False)
    for source in (dataset, *(datasets[:1] if "reference" in metric.needs else ())):
        queries = _with_map(explainer, source, facts)
        cost += _sum(_cost(u, queries) for u in (explainer.use, *explainer.depend_uses))
    return cost.times(explainer.draws * explainer.repeats)


def why_not(
    needs: Iterable[str], facts: Facts, dataset: PlannedDataset, datasets: Sequence[PlannedDataset] = ()
) -> str:
    """Why a component with these needs cannot run on a dataset of a run; empty where it can."""
    first = len(datasets) < 2 or dataset is datasets[0]
    reference = "a dataset before this one: the first --dataset is what others are compared with"
    return unmet(needs, facts, dataset.survey, reference if first else "")


def unmet(needs: Iterable[str], facts: Facts, survey: Survey, reference: str = "") -> str:
    """Why a component with these needs cannot run on a detector and some samples; empty where it can.

    ``reference`` says what is missing where maps of other samples are needed; empty where nothing is.
    """
    samples = survey.samples
    lacks = {
        "mask": "" if any(s.has_mask or s.mask_doubt for s in samples) else "masks: no sample has one",
        "pair": "" if any(s.pair or s.pair_doubt for s in samples) else "real counterparts: no fake has one",
        "landmarks": "" if any(s.has_landmarks for s in samples) else "landmarks: no sample has them",
        "stranger": "" if survey.strangers else "masks of other people: no masked fake has a stranger",
        "reference": reference,
    }
    return lacking(needs, facts) or next((f"needs {lacks[n]}" for n in sorted(needs) if lacks.get(n)), "")


def lacking(needs: Iterable[str], facts: Facts) -> str:
    """The first of these needs that a detector does not give, and why; empty where it gives all."""
    missing = sorted(n for n in needs if n in DETECTOR_NEEDS and n not in facts.gives)
    return f"needs {missing[0]}: {facts.limits.get(missing[0], f'{facts.name} gives none')}" if missing else ""


def _with_map(explainer: PlannedExplainer, dataset: PlannedDataset, facts: Facts) -> list[PassQuery]:
    """What is asked about each sample that an explainer does not refuse before the run (``refuses``, optional)."""
    queries, refuses = _queries(dataset.survey.samples, facts), getattr(explainer.use.instance, "refuses", None)
    return queries if refuses is None else [q for q in queries if not _ask(explainer.name, "refuses", refuses, q, str)]


def _refusal_by(metric: PlannedMetric, queries: Iterable[PassQuery]) -> str:
    """Why a metric has no value on any of these samples (``refuses``, optional); empty where it may have one."""
    refuses = getattr(metric.use.instance, "refuses", None)
    if refuses is None:
        return ""
    reason = ""
    for query in queries:
        reason = _ask(metric.name, "refuses", refuses, query, str)
        if not reason:
            return ""
    return reason


def _ask(name: str, method: str, call: Callable[[Any], Any], query: object, kind: Any) -> Any:
    """What a method of a component says. Raises :class:`BrokenComponent` where it raises, or says something else."""
    try:
        said = call(query)
    except BaseException as raised:
        raise BrokenComponent(f"{name}: {method}() raised {describe_error(as_exception(raised))}") from raised
    if not isinstance(said, kind):
        expected = getattr(kind, "__name__", kind)
        raise BrokenComponent(f"{name}: {method}() returned {type(said).__name__}, not {expected}")
    return said


def _passes(name: str, component: Any, query: PassQuery) -> Passes:
    """The passes that a component or an artefact declares."""
    return _counts(name, "passes", component.passes, query)


def _counts(name: str, method: str, call: Callable[[Any], Any], query: object) -> Passes:
    said = _ask(name, method, call, query, Passes)
    counts: tuple[Any, Any] = (said.forward, said.backward)
    if not all(isinstance(n, Integral) and int(n) >= 0 for n in counts):
        raise BrokenComponent(f"{name}: {method}() returned {said!r}: give counts")
    return Passes(int(said.forward), int(said.backward), bool(said.exact))


def _sum(counts: Iterable[Passes]) -> Passes:
    """Their sum; ``sum`` would make an object of each step, of which a large plan has hundreds of thousands."""
    forward, backward, exact = 0, 0, True
    for one in counts:
        forward, backward, exact = forward + one.forward, backward + one.backward, exact and one.exact
    return Passes(forward, backward, exact)


def _metric_cost(metric: PlannedMetric, queries: Iterable[PassQuery], counted: dict[str, set[str]]) -> Passes:
    """Passes of a metric on one map of each sample, without what metrics before it do for it.

    ``counted`` holds, for each name of shared work, the ids of the samples whose passes are counted; this metric's are
    added. Metrics of a set run in tasks of their own and share nothing.
    """
    shared_of = getattr(metric.use.instance, "shared", None)
    if shared_of is None or metric.record.scope != "sample":
        return _cost(metric.use, queries)
    total = Passes()
    for query in queries:
        total += _passes(metric.name, metric.use.instance, query)
        for name, passes in _ask(metric.name, "shared", shared_of, query, Mapping).items():
            ids = counted.setdefault(name, set())
            if query.sample.id in ids:
                total -= passes
            ids.add(query.sample.id)
    return total


def _cost(use: Use, queries: Iterable[PassQuery]) -> Passes:
    """Passes of a component on some samples."""
    return _sum(_passes(use.name, use.instance, q) for q in queries)


def _set_cost(use: Use, samples: Iterable[Sample], facts: Facts) -> Passes:
    """Passes of a metric of a detector itself on all samples (``passes_of_set``, optional)."""
    of_set, queries = getattr(use.instance, "passes_of_set", None), _queries(samples, facts)
    return _cost(use, queries) if of_set is None else _counts(use.name, "passes_of_set", of_set, queries)


def _queries(samples: Iterable[Sample], facts: Facts) -> list[PassQuery]:
    """What is asked about each sample."""
    return [PassQuery(sample=s, facts=facts) for s in samples]


def _about_maps(explainer: PlannedExplainer, queries: Sequence[PassQuery]) -> list[PassQuery]:
    """What a metric is asked about each sample whose maps of an explainer it scores."""
    few_ties = bool(getattr(explainer.use.instance, "few_ties", False))
    size = _native_size(explainer, queries[0].facts) if queries else None
    return [
        PassQuery(sample=q.sample, facts=q.facts, map=_one_map(explainer, q), few_ties=few_ties, native_size=size)
        for q in queries
    ]


def _native_size(explainer: PlannedExplainer, facts: Facts) -> tuple[int, int] | None:
    """Size of an explainer's maps before upsampling (``native_size``, optional)."""
    native_size = getattr(explainer.use.instance, "native_size", None)
    if native_size is None:
        return None
    size: tuple[int, int] | None = _ask(explainer.name, "native_size", native_size, facts, tuple | None)
    return size


def _one_map(explainer: PlannedExplainer, query: PassQuery) -> Passes:
    """Passes of one map of a new picture, with the maps and artefacts that the explainer uses."""
    own = _passes(explainer.use.name, explainer.use.instance, query)
    if not explainer.depend_uses and not explainer.artefacts:
        return own
    maps = (_passes(u.name, u.instance, query) for u in explainer.depend_uses)
    artefacts = (_passes(a.asker.name, a.artefact, query) for a in explainer.artefacts)
    return _sum((own, *maps, *artefacts))
