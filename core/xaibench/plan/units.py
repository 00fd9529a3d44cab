"""From the plan and what is done to the tasks that are left, with the key of every unit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

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
Files = Callable[[str, str], Path | None]
"""(table, unit key) to the file that holds the unit's rows, None where there is none."""


@dataclass(frozen=True)
class Units:
    """The units of a plan. ``setup`` goes into every task; ``keep`` says whether maps are kept."""

    plan: Plan
    setup: Setup
    keep: bool

    # ---- keys ----

    @cached_property
    def _uses(self) -> dict[str, str]:
        explainers = {e.name: digest(use_identity(e.use)) for e in self.plan.explainers}
        for e in self.plan.explainers:  # the maps it asks for are its numbers too, planned or not
            if e.depend_uses:
                explainers[e.name] = digest([explainers[e.name], [use_identity(u) for u in e.depend_uses]])
        return explainers | {m.name: digest(use_identity(m.use)) for m in self.plan.metrics}

    @cached_property
    def _shards(self) -> dict[tuple[str, int, int], str]:
        return {(d.name, a, b): shard_digest(d, a, b) for d in self.plan.datasets for a, b in d.shards}

    @cached_property
    def _strangers(self) -> dict[tuple[str, int, int], str]:
        return {(d.name, a, b): stranger_digest(d, a, b) for d in self.plan.datasets for a, b in d.shards}

    def predict_key(self, member: PlannedMember, dataset: PlannedDataset, start: int, stop: int) -> str:
        return unit_key({
            "kind": "predict", "model": member.ref.model, "member": member.ref.member, "digest": member.ref.digest,
            "batch": member.batch_size, "runtime": runtime_identity(self.plan.runtime),
            "shard": self._shards[dataset.name, start, stop], "component": member.component,
        })  # fmt: skip

    def artefact_key(self, predict: str, artefact: PlannedArtefact) -> str:
        code = component_identity(artefact.asker.registered)
        return unit_key({
            "kind": "artefact", "on": predict, "artefact": artefact.name, "seed": self.plan.settings.seed,
            "distribution": code["distribution"], "code": code.get("code"),
        })  # fmt: skip

    def explain_key(
        self, member: PlannedMember, dataset: PlannedDataset, start: int, stop: int, explainer: PlannedExplainer,
        repeat: int,
    ) -> str:  # fmt: skip
        return unit_key({
            "kind": "explain", "on": self.predict_key(member, dataset, start, stop),
            "explainer": self._uses[explainer.name], "repeat": repeat, "seed": self.plan.settings.seed,
            "target": self.plan.settings.target, **self._shown_beside(explainer.needs, dataset, start, stop),
        })  # fmt: skip

    def score_key(self, explain: str, metric: PlannedMetric, dataset: PlannedDataset, start: int, stop: int) -> str:
        beside = self._shown_beside(metric.needs, dataset, start, stop)
        return unit_key({"kind": "score", "on": explain, "metric": self._uses[metric.name], **beside})

    def set_key(self, on: Sequence[str], metric: PlannedMetric, datasets: Sequence[PlannedDataset]) -> str:
        beside = [self._shown_beside(metric.needs, d, a, b) for d in datasets for a, b in d.shards]
        shown = {"beside": beside} if any(beside) else {}
        return unit_key({"kind": "set-score", "on": list(on), "metric": self._uses[metric.name], **shown})

    def _shown_beside(self, needs: Iterable[str], dataset: PlannedDataset, start: int, stop: int) -> dict[str, str]:
        """What of the data beside a slice's own changes the numbers of a component with these needs."""
        return {"strangers": self._strangers[dataset.name, start, stop]} if "stranger" in needs else {}

    def absent_key(self, cells: Sequence[Cell]) -> str:
        return unit_key({"kind": "not-applicable", "cells": [asdict(c) for c in cells]})

    # ---- tasks ----

    def members(self) -> Iterator[PlannedMember]:
        """Members that maps are drawn for, or that are measured without any, in order."""
        wanted = {(c.model, c.member) for c in self.plan.cells if c.metric is None or not c.explainer}
        for model in self.plan.models:
            yield from (m for m in model.members if (model.name, m.ref.member) in wanted)

    def predict_tasks(self, done: set[str]) -> Iterator[PredictTask]:
        for member in self.members():
            for dataset in self.plan.datasets:
                for start, stop in dataset.shards:
                    key = self.predict_key(member, dataset, start, stop)
                    if key not in done:
                        yield PredictTask(
                            setup=self._setup(member), detector=member.ref, shard=dataset.shard(start, stop), key=key
                        )

    def predict_keys(self) -> Iterator[str]:
        for member in self.members():
            for dataset in self.plan.datasets:
                yield from (self.predict_key(member, dataset, a, b) for a, b in dataset.shards)

    def artefact_tasks(self, done: set[str]) -> Iterator[ArtefactTask]:
        members = {(m.ref.model, m.ref.member): m for m in self.members()}
        datasets = {d.name: d for d in self.plan.datasets}
        for cell in self.plan.artefact_cells:
            member, dataset = members[cell.model, cell.member], datasets[cell.dataset]
            artefact = self.plan.artefacts[cell.artefact]
            for start, stop in dataset.shards:
                key = self.artefact_key(self.predict_key(member, dataset, start, stop), artefact)
                if key not in done:
                    yield ArtefactTask(
                        setup=self._setup(member), detector=member.ref, shard=dataset.shard(start, stop), key=key,
                        name=artefact.name, asker=artefact.asker.ref, index=artefact.index,
                    )  # fmt: skip

    def _artefact_files(
        self, member: PlannedMember, dataset: PlannedDataset, start: int, stop: int,
        group: Sequence[PlannedExplainer], files: Files,
    ) -> tuple[str, ...]:  # fmt: skip
        predict = self.predict_key(member, dataset, start, stop)
        keys = dict.fromkeys(self.artefact_key(predict, a) for e in group for a in e.artefacts)
        return tuple(str(file) for key in keys if (file := files("artefacts", key)))

    def explain_tasks(
        self,
        done: set[str],
        clean: Callable[[PlannedMember, PlannedDataset], Clean],
        files: Files,
    ) -> Iterator[ExplainTask]:
        """Tasks for what is not done. Explainers that ask for each other's maps share a task, the asked one first."""
        for member in self.members():
            for dataset in self.plan.datasets:
                known = clean(member, dataset)
                for start, stop in dataset.shards:
                    shard = dataset.shard(start, stop)
                    for repeat, group in self._groups():
                        units = [self._unit(member, dataset, start, stop, e, repeat, done, files) for e in group]
                        if any(u.commit or u.scores for u in units if u):
                            yield ExplainTask(
                                setup=self._setup(member), detector=member.ref, shard=shard,
                                clean=tuple(known[s.id] for s in shard.samples),
                                units=tuple(u for u in units if u),
                                artefacts=self._artefact_files(member, dataset, start, stop, group, files),
                            )  # fmt: skip

    def set_tasks(
        self,
        done: set[str],
        clean: Callable[[PlannedMember, PlannedDataset], Clean],
        files: Files,
    ) -> Iterator[SetTask]:
        """One task for every metric of scope detector or family on one explainer's maps."""
        for cell in self.plan.cells:
            metric = next((m for m in self.plan.metrics if m.name == cell.metric), None)
            if metric is None or metric.record.scope in ("sample", "model") or cell.reason:
                continue
            explainer = self.plan.explainer(cell.explainer)
            dataset = next(d for d in self.plan.datasets if d.name == cell.dataset)
            model = next(m for m in self.plan.models if m.name == cell.model)
            members = [m for m in model.members if cell.member in ("", m.ref.member)]
            both = [dataset, *(self.plan.datasets[:1] if "reference" in metric.needs else ())]
            for repeat in range(explainer.repeats):
                keys = [self.explain_key(m, d, a, b, explainer, repeat)
                        for d in both for m in members for a, b in d.shards]  # fmt: skip
                key = self.set_key(keys, metric, both)
                if key not in done:
                    parts, *reference = (
                        tuple(tuple(self._whole_task(m, d, a, b, explainer, repeat, clean(m, d), files)
                                    for a, b in d.shards) for m in members) for d in both
                    )  # fmt: skip
                    yield SetTask(setup=self._setup(members[0]), parts=parts, scope=metric.record.scope,
                                  score=ScoreUnit(key=key, name=metric.name, ref=metric.use.ref),
                                  explainer=explainer.name, repeat=repeat,
                                  reference=reference[0] if reference else ())  # fmt: skip

    def model_tasks(
        self, done: set[str], clean: Callable[[PlannedMember, PlannedDataset], Clean]
    ) -> Iterator[ModelTask]:
        """One task for every metric of scope model on one detector and dataset."""
        planned = {m.name: m for m in self.plan.metrics}
        members = {(m.ref.model, m.ref.member): m for m in self.members()}
        datasets = {d.name: d for d in self.plan.datasets}
        for cell in self.plan.cells:
            if cell.explainer or cell.reason:
                continue
            metric, dataset = planned[cell.metric or ""], datasets[cell.dataset]
            member = members[cell.model, cell.member]
            on = [self.predict_key(member, dataset, a, b) for a, b in dataset.shards]
            key = self.set_key([*on, str(self.plan.settings.seed)], metric, [dataset])
            if key not in done:
                known = clean(member, dataset)
                shards = tuple(dataset.shard(a, b) for a, b in dataset.shards)
                yield ModelTask(setup=self._setup(member), detector=member.ref, shards=shards,
                                clean=tuple(tuple(known[s.id] for s in shard.samples) for shard in shards),
                                score=ScoreUnit(key=key, name=metric.name, ref=metric.use.ref))  # fmt: skip

    def keys(self) -> set[str]:
        """Keys of all units that the plan asks for, those of whole sets left out."""
        found = {*self.predict_keys(), *(t.key for t in self.artefact_tasks(set()))}
        for task in self.explain_tasks(set(), lambda m, d: _Unknown(), lambda table, key: None):
            for unit in task.units:
                found |= {unit.key, *(s.key for s in unit.scores)}
        return found

    @cached_property
    def set_keys(self) -> set[str]:
        """Keys of the units of whole sets."""
        sets = self.set_tasks(set(), lambda m, d: _Unknown(), lambda table, key: None)
        models = self.model_tasks(set(), lambda m, d: _Unknown())
        return {*(task.score.key for task in sets), *(task.score.key for task in models)}

    def absent(self) -> Iterator[tuple[str, list[Cell]]]:
        """Cells that cannot run, each a unit of its own, so that a later plan replaces it alone."""
        for cell in self.plan.cells:
            if cell.reason and cell.metric is not None:
                yield self.absent_key([cell]), [cell]

    # ---- parts ----

    def _setup(self, member: PlannedMember) -> Setup:
        from dataclasses import replace

        return replace(self.setup, batch_size=member.batch_size)

    def _groups(self) -> Iterator[tuple[int, list[PlannedExplainer]]]:
        """(repeat, explainers that belong together, those asked for first)."""
        planned = {e.name: e for e in self.plan.explainers}
        roots = {name: _root(planned, name) for name in planned}
        for name, explainer in planned.items():
            if roots[name] == name:
                group = [explainer, *(e for e in planned.values() if roots[e.name] == name and e.name != name)]
                for repeat in range(max(e.repeats for e in group)):
                    yield repeat, [e for e in group if repeat < e.repeats]

    def _unit(
        self, member: PlannedMember, dataset: PlannedDataset, start: int, stop: int, explainer: PlannedExplainer,
        repeat: int, done: set[str], files: Files,
    ) -> ExplainUnit | None:  # fmt: skip
        cells = {c.metric: c for c in self._cells[member.ref.model, member.ref.member, dataset.name, explainer.name]}
        if None not in cells or cells[None].reason:
            return None
        key = self.explain_key(member, dataset, start, stop, explainer, repeat)
        stored = files("maps", key) if key in done else None
        scores = tuple(
            ScoreUnit(key=k, name=m.name, ref=m.use.ref)
            for m in self.plan.metrics
            if m.record.scope == "sample" and m.name in cells and not cells[m.name].reason
            and (k := self.score_key(key, m, dataset, start, stop)) not in done
        )  # fmt: skip
        return ExplainUnit(
            key=key, name=explainer.name, ref=explainer.use.ref, repeat=repeat,
            commit=key not in done or (self.plan.settings.maps == "keep" and stored is None), keep=self.keep,
            stored=str(stored) if stored else None, scores=scores,
        )  # fmt: skip

    def _whole_task(
        self, member: PlannedMember, dataset: PlannedDataset, start: int, stop: int, explainer: PlannedExplainer,
        repeat: int, known: Clean, files: Files,
    ) -> ExplainTask:  # fmt: skip
        key = self.explain_key(member, dataset, start, stop, explainer, repeat)
        stored = files("maps", key)
        unit = ExplainUnit(
            key=key, name=explainer.name, ref=explainer.use.ref, repeat=repeat,
            commit=False, keep=False, stored=str(stored) if stored else None, scores=(),
        )  # fmt: skip
        shard = dataset.shard(start, stop)
        return ExplainTask(setup=self._setup(member), detector=member.ref, shard=shard, units=(unit,),
                           artefacts=self._artefact_files(member, dataset, start, stop, [explainer], files),
                           clean=tuple(known[s.id] for s in shard.samples))  # fmt: skip

    @cached_property
    def _cells(self) -> dict[tuple[str, str, str, str], list[Cell]]:
        found: dict[tuple[str, str, str, str], list[Cell]] = {}
        for cell in self.plan.cells:
            found.setdefault((cell.model, cell.member, cell.dataset, cell.explainer), []).append(cell)
        return _Defaulting(found)


def _root(planned: Mapping[str, PlannedExplainer], name: str) -> str:
    """The planned explainer at the end of the chain of those whose maps are asked for."""
    seen = {name}
    while (asked := next((d for d in planned[name].depends if d in planned), name)) not in seen:
        seen.add(asked)
        name = asked
    return name


class _Defaulting(dict[Any, Any]):
    def __missing__(self, key: Any) -> list[Cell]:
        return []


class _Unknown(dict[str, Any]):
    """Predictions that are not known yet; keys do not depend on them."""

    def __missing__(self, key: str) -> None:
        return None


def shard_digest(dataset: PlannedDataset, start: int, stop: int) -> str:
    """Digest of a slice: its samples with all that is said of them, their pictures, and those of their counterparts."""
    digests = dataset.survey.digests
    samples = [[asdict(s), digests[s.id], digests.get(s.pair or "", "")] for s in dataset.survey.samples[start:stop]]
    return digest([dataset.name, samples])


def stranger_digest(dataset: PlannedDataset, start: int, stop: int) -> str:
    """Digest of the strangers to a slice's samples: of no account but to what asks for them."""
    found = dataset.shard(start, stop).strangers
    return digest([[sample, other, dataset.survey.digests[other]] for sample, other in found])
