"""Keys of the units of a plan, and the tasks of those that are not done."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

from xaibench.api import digest
from xaibench.discovery.code_identity import component_identity, unit_key, use_identity
from xaibench.plan.parts import (
    Cell,
    Plan,
    PlannedArtefact,
    PlannedDataset,
    PlannedExplainer,
    PlannedMember,
    PlannedMetric,
)
from xaibench.plan.runtime import torch_threads
from xaibench.plan.tasks import (
    ArtefactTask,
    ExplainTask,
    ExplainUnit,
    ModelTask,
    PredictTask,
    ScoreUnit,
    SetTask,
    Setup,
)
from xaibench.store.provenance import runtime_identity

Clean = Mapping[str, tuple[float, ...] | None]
"""Class probabilities by sample id, None where the prediction failed."""
ReadClean = Callable[[PlannedMember, PlannedDataset], Clean]
Files = Callable[[str, str], Path | None]
"""The file with the rows of (table, unit key), None where there is none."""


@dataclass(frozen=True)
class Units:
    """The units of a plan. ``setup`` is part of every task; ``keep`` says whether maps are kept."""

    plan: Plan
    setup: Setup
    keep: bool

    # ---- keys ----

    @cached_property
    def _uses(self) -> dict[str, str]:
        explainers = {e.name: digest(use_identity(e.use)) for e in self.plan.explainers}
        for e in self.plan.explainers:
            if e.depend_uses:  # its maps depend on those of other explainers, planned or not
                explainers[e.name] = digest([explainers[e.name], [use_identity(u) for u in e.depend_uses]])
        return explainers | {m.name: digest(use_identity(m.use)) for m in self.plan.metrics}

    @cached_property
    def _shards(self) -> dict[tuple[str, int, int], str]:
        return {(d.name, a, b): shard_digest(d, a, b) for d in self.plan.datasets for a, b in d.shards}

    @cached_property
    def _strangers(self) -> dict[tuple[str, int, int], str]:
        return {(d.name, a, b): stranger_digest(d, a, b) for d in self.plan.datasets for a, b in d.shards}

    def predict_key(self, member: PlannedMember, dataset: PlannedDataset, start: int, stop: int) -> str:
        return unit_key(
            {
                "kind": "predict",
                "model": member.ref.model,
                "member": member.ref.member,
                "digest": member.ref.digest,
                "batch": member.batch_size,
                "runtime": runtime_identity(self.plan.runtime),
                "torch_threads": torch_threads(self.plan.runtime, member.facts),
                "shard": self._shards[dataset.name, start, stop],
                "component": member.component,
            }
        )

    def artefact_key(self, predict: str, artefact: PlannedArtefact) -> str:
        code = component_identity(artefact.asker.registered)
        return unit_key(
            {
                "kind": "artefact",
                "on": predict,
                "artefact": artefact.name,
                "seed": self.plan.settings.seed,
                "distribution": code["distribution"],
                "code": code.get("code"),
            }
        )

    def explain_key(
        self,
        member: PlannedMember,
        dataset: PlannedDataset,
        start: int,
        stop: int,
        explainer: PlannedExplainer,
        repeat: int,
    ) -> str:
        return unit_key(
            {
                "kind": "explain",
                "on": self.predict_key(member, dataset, start, stop),
                "explainer": self._uses[explainer.name],
                "repeat": repeat,
                "seed": self.plan.settings.seed,
                "target": self.plan.settings.target,
                **self._further_data(explainer.needs, dataset, start, stop),
            }
        )

    def score_key(self, explain: str, metric: PlannedMetric, dataset: PlannedDataset, start: int, stop: int) -> str:
        further = self._further_data(metric.needs, dataset, start, stop)
        return unit_key({"kind": "score", "on": explain, "metric": self._uses[metric.name], **further})

    def set_key(self, on: Sequence[str], metric: PlannedMetric, datasets: Sequence[PlannedDataset]) -> str:
        further = [self._further_data(metric.needs, d, a, b) for d in datasets for a, b in d.shards]
        beside = {"beside": further} if any(further) else {}
        return unit_key({"kind": "set-score", "on": list(on), "metric": self._uses[metric.name], **beside})

    def _further_data(self, needs: Iterable[str], dataset: PlannedDataset, start: int, stop: int) -> dict[str, str]:
        """Data outside a slice that change the numbers of a component with these needs."""
        return {"strangers": self._strangers[dataset.name, start, stop]} if "stranger" in needs else {}

    # ---- tasks ----

    def members(self) -> Iterator[PlannedMember]:
        """Members that are explained, or measured without maps, in order."""
        planned = {(c.model, c.member) for c in self.plan.cells if c.metric is None or not c.explainer}
        for model in self.plan.models:
            yield from (m for m in model.members if (model.name, m.ref.member) in planned)

    def predict_tasks(self, done: set[str]) -> Iterator[PredictTask]:
        for member in self.members():
            for dataset in self.plan.datasets:
                for start, stop in dataset.shards:
                    key = self.predict_key(member, dataset, start, stop)
                    if key not in done:
                        yield PredictTask(
                            setup=self._setup(member), detector=member.ref, shard=dataset.shard(start, stop), key=key
                        )

    def artefact_tasks(self, done: set[str]) -> Iterator[ArtefactTask]:
        members = {(m.ref.model, m.ref.member): m for m in self.members()}
        datasets = {d.name: d for d in self.plan.datasets}
        artefacts = {a.name: a for e in reversed(self.plan.explainers) for a in e.artefacts}
        for cell in self.plan.artefact_cells:
            member, dataset = members[cell.model, cell.member], datasets[cell.dataset]
            artefact = artefacts[cell.artefact]
            for start, stop in dataset.shards:
                key = self.artefact_key(self.predict_key(member, dataset, start, stop), artefact)
                if key not in done:
                    yield ArtefactTask(
                        setup=self._setup(member),
                        detector=member.ref,
                        shard=dataset.shard(start, stop),
                        key=key,
                        name=artefact.name,
                        asker=artefact.asker.ref,
                        index=artefact.index,
                    )

    def _artefact_files(
        self,
        member: PlannedMember,
        dataset: PlannedDataset,
        start: int,
        stop: int,
        group: Sequence[PlannedExplainer],
        files: Files,
    ) -> tuple[str, ...]:
        predict = self.predict_key(member, dataset, start, stop)
        keys = dict.fromkeys(self.artefact_key(predict, a) for e in group for a in e.artefacts)
        return tuple(str(file) for key in keys if (file := files("artefacts", key)))

    def explain_tasks(self, done: set[str], clean: ReadClean, files: Files) -> Iterator[ExplainTask]:
        """Tasks for what is not done. Explainers that use each other's maps share a task, those that are used first."""
        for member in self.members():
            for dataset in self.plan.datasets:
                probabilities = clean(member, dataset)
                for start, stop in dataset.shards:
                    shard = dataset.shard(start, stop)
                    for repeat, group in self._groups():
                        units = [self._unit(member, dataset, start, stop, e, repeat, done, files) for e in group]
                        if any(u.commit or u.scores for u in units if u):
                            yield ExplainTask(
                                setup=self._setup(member),
                                detector=member.ref,
                                shard=shard,
                                clean=tuple(probabilities[s.id] for s in shard.samples),
                                units=tuple(u for u in units if u),
                                artefacts=self._artefact_files(member, dataset, start, stop, group, files),
                            )

    def set_tasks(self, done: set[str], clean: ReadClean, files: Files) -> Iterator[SetTask]:
        """One task for every metric of scope detector or family on one explainer's maps."""
        for cell in self.plan.cells:
            metric = next((m for m in self.plan.metrics if m.name == cell.metric), None)
            if metric is None or metric.record.scope in ("sample", "model") or cell.reason:
                continue
            explainer = self.plan.explainer(cell.explainer)
            dataset = next(d for d in self.plan.datasets if d.name == cell.dataset)
            model = next(m for m in self.plan.models if m.name == cell.model)
            members = [m for m in model.members if cell.member in ("", m.ref.member)]
            datasets = [dataset, *(self.plan.datasets[:1] if "reference" in metric.needs else ())]
            for repeat in range(explainer.repeats):
                key = self.set_key(
                    [
                        self.explain_key(m, d, start, stop, explainer, repeat)
                        for d in datasets
                        for m in members
                        for start, stop in d.shards
                    ],
                    metric,
                    datasets,
                )
                if key not in done:
                    parts, *reference = (
                        tuple(self._map_tasks(m, d, explainer, repeat, clean(m, d), files) for m in members)
                        for d in datasets
                    )
                    yield SetTask(
                        setup=self._setup(members[0]),
                        parts=parts,
                        scope=metric.record.scope,
                        score=ScoreUnit(key=key, name=metric.name, ref=metric.use.ref),
                        explainer=explainer.name,
                        repeat=repeat,
                        reference=reference[0] if reference else (),
                    )

    def model_tasks(self, done: set[str], clean: ReadClean) -> Iterator[ModelTask]:
        """One task for every metric of scope model on one detector and dataset."""
        metrics = {m.name: m for m in self.plan.metrics}
        members = {(m.ref.model, m.ref.member): m for m in self.members()}
        datasets = {d.name: d for d in self.plan.datasets}
        for cell in self.plan.cells:
            if cell.explainer or cell.reason:
                continue
            metric, dataset = metrics[cell.metric or ""], datasets[cell.dataset]
            member = members[cell.model, cell.member]
            predict_keys = [self.predict_key(member, dataset, a, b) for a, b in dataset.shards]
            key = self.set_key([*predict_keys, str(self.plan.settings.seed)], metric, [dataset])
            if key not in done:
                probabilities = clean(member, dataset)
                shards = tuple(dataset.shard(a, b) for a, b in dataset.shards)
                yield ModelTask(
                    setup=self._setup(member),
                    detector=member.ref,
                    shards=shards,
                    clean=tuple(tuple(probabilities[s.id] for s in shard.samples) for shard in shards),
                    score=ScoreUnit(key=key, name=metric.name, ref=metric.use.ref),
                )

    def keys(self) -> set[str]:
        """Keys of all units of the plan, except those of whole sets."""
        predict_keys = {task.key for task in self.predict_tasks(set())}
        artefact_keys = {task.key for task in self.artefact_tasks(set())}
        units = [unit for task in self.explain_tasks(set(), _no_clean, _no_file) for unit in task.units]
        return predict_keys | artefact_keys | {key for u in units for key in (u.key, *(s.key for s in u.scores))}

    @cached_property
    def set_keys(self) -> set[str]:
        """Keys of the units of whole sets."""
        set_keys = {task.score.key for task in self.set_tasks(set(), _no_clean, _no_file)}
        return set_keys | {task.score.key for task in self.model_tasks(set(), _no_clean)}

    def not_applicable(self) -> Iterator[tuple[str, Cell]]:
        """Cells that cannot run. Each is a unit of its own, so that a later plan can replace it alone."""
        for cell in self.plan.cells:
            if cell.reason and cell.metric is not None:
                yield unit_key({"kind": "not-applicable", "cells": [asdict(cell)]}), cell

    # ---- parts ----

    def _setup(self, member: PlannedMember) -> Setup:
        return replace(self.setup, batch_size=member.batch_size)

    def _groups(self) -> Iterator[tuple[int, list[PlannedExplainer]]]:
        """(repeat, explainers that use each other's maps, those that are used first)."""
        planned = {e.name: e for e in self.plan.explainers}
        roots = {name: _root(planned, name) for name in planned}
        for name, explainer in planned.items():
            if roots[name] == name:
                group = [explainer, *(e for e in planned.values() if roots[e.name] == name and e.name != name)]
                for repeat in range(max(e.repeats for e in group)):
                    yield repeat, [e for e in group if repeat < e.repeats]

    def _unit(
        self,
        member: PlannedMember,
        dataset: PlannedDataset,
        start: int,
        stop: int,
        explainer: PlannedExplainer,
        repeat: int,
        done: set[str],
        files: Files,
    ) -> ExplainUnit | None:
        cells = {c.metric: c for c in self._cells[member.ref.model, member.ref.member, dataset.name, explainer.name]}
        if None not in cells or cells[None].reason:
            return None
        key = self.explain_key(member, dataset, start, stop, explainer, repeat)
        stored = files("maps", key) if key in done else None
        metrics = [m for m in self.plan.metrics if m.record.scope == "sample" and m.name in cells]
        scores = tuple(
            ScoreUnit(key=score_key, name=m.name, ref=m.use.ref)
            for m in metrics
            if not cells[m.name].reason and (score_key := self.score_key(key, m, dataset, start, stop)) not in done
        )
        return ExplainUnit(
            key=key,
            name=explainer.name,
            ref=explainer.use.ref,
            repeat=repeat,
            commit=key not in done or (self.plan.settings.maps == "keep" and stored is None),
            keep=self.keep,
            stored=str(stored) if stored else None,
            scores=scores,
        )

    def _map_tasks(
        self,
        member: PlannedMember,
        dataset: PlannedDataset,
        explainer: PlannedExplainer,
        repeat: int,
        clean: Clean,
        files: Files,
    ) -> tuple[ExplainTask, ...]:
        """Tasks that give the maps of one member, shard by shard."""
        tasks = []
        for start, stop in dataset.shards:
            key = self.explain_key(member, dataset, start, stop, explainer, repeat)
            stored = files("maps", key)
            unit = ExplainUnit(
                key=key,
                name=explainer.name,
                ref=explainer.use.ref,
                repeat=repeat,
                commit=False,
                keep=False,
                stored=str(stored) if stored else None,
                scores=(),
            )
            shard = dataset.shard(start, stop)
            task = ExplainTask(
                setup=self._setup(member),
                detector=member.ref,
                shard=shard,
                clean=tuple(clean[s.id] for s in shard.samples),
                units=(unit,),
                artefacts=self._artefact_files(member, dataset, start, stop, [explainer], files),
            )
            tasks.append(task)
        return tuple(tasks)

    @cached_property
    def _cells(self) -> Mapping[tuple[str, str, str, str], list[Cell]]:
        cells = defaultdict[tuple[str, str, str, str], list[Cell]](list)
        for cell in self.plan.cells:
            cells[cell.model, cell.member, cell.dataset, cell.explainer].append(cell)
        return cells


def _root(planned: Mapping[str, PlannedExplainer], name: str) -> str:
    """The planned explainer at the end of the chain of dependencies."""
    chain = {name}
    while (dependency := next((d for d in planned[name].depends if d in planned), name)) not in chain:
        chain.add(dependency)
        name = dependency
    return name


def _no_clean(member: PlannedMember, dataset: PlannedDataset) -> Clean:
    """No predictions: keys do not depend on them."""
    return defaultdict(lambda: None)


def _no_file(table: str, key: str) -> None:
    return None


def shard_digest(dataset: PlannedDataset, start: int, stop: int) -> str:
    """Digest of a slice: its samples with all their fields, their pictures and the pictures of their counterparts."""
    digests = dataset.survey.digests
    samples = [[asdict(s), digests[s.id], digests.get(s.pair or "", "")] for s in dataset.survey.samples[start:stop]]
    return digest([dataset.name, samples])


def stranger_digest(dataset: PlannedDataset, start: int, stop: int) -> str:
    """Digest of the strangers of a slice's samples, for components that need ``stranger``."""
    strangers = dataset.shard(start, stop).strangers
    return digest([[sample, stranger, dataset.survey.digests[stranger]] for sample, stranger in strangers])
