"""What is left to do: the difference of a plan's relation and what the run holds, cut into tasks."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from xaibench.api import Facts
from xaibench.discovery.components import Ref
from xaibench.plan.difference import Difference
from xaibench.plan.keys import detector_address, explain_address, predict_address, score_address
from xaibench.plan.parts import DetectorCell, PlannedDataset, PlannedExplainer, PlannedMember
from xaibench.plan.tasks import (
    AccuracyTask,
    ArtefactTask,
    CardTask,
    CellPart,
    Clean,
    ExplainTask,
    ExplainUnit,
    ModelTask,
    PredictTask,
    ScoreUnit,
    SetTask,
    Setup,
    StructureTask,
)
from xaibench.store.relation import WHOLE, Address, RelationCell

Predictions = Mapping[str, tuple[float, ...] | None]
"""Class probabilities by sample id, None where the prediction failed."""
ReadPredictions = Callable[[PlannedMember, PlannedDataset], Predictions]
Size = Callable[[str, PlannedMember], float]
"""The number of samples of the next task of a stage for a detector; less than 1 where one sample is too much."""


_ABREAST = 4
"""Compute batches that the samples of a task fill with one picture each, so that some may end early."""
_LARGEST = 512
_PICTURE_BYTES = 32 * 2**20  # of the pictures of one task as the detector sees them


def most_samples(facts: Facts) -> int:
    """The largest number of samples that are shown to a detector together, as the memory of their pictures allows."""
    height, width = facts.input_size
    return min(_LARGEST, max(1, _PICTURE_BYTES // (12 * height * width)))


@dataclass(frozen=True)
class Due(Difference):
    """The difference as tasks.

    Parameters
    ----------
    setup: part of every task.
    size: the number of samples of the next task.
    """

    setup: Setup
    size: Size

    # ---- tasks ----

    def predict_tasks(self) -> Iterator[PredictTask]:
        for member in self.plan.members:
            for dataset in self.plan.datasets:
                cell = self.relation.by_address[predict_address(member, dataset)]
                for ids in self._chunks("predict", member, self._ids(dataset, self.missing(cell))):
                    yield PredictTask(
                        setup=self._setup(member), detector=member.ref, chunk=dataset.chunk(ids),
                        part=_part(cell, ids),
                    )  # fmt: skip

    def structure_tasks(self) -> Iterator[StructureTask]:
        """One task for the structure of every detector."""
        for look, cell, member in self._looks("structure"):
            yield StructureTask(
                setup=self._setup(member), detector=member.ref, part=_part(cell, (WHOLE,)),
                chunk=self.plan.dataset(look.dataset).chunk(look.samples),
            )  # fmt: skip

    def detector_tasks(self, predictions: ReadPredictions) -> Iterator[AccuracyTask | CardTask]:
        """Tasks for other readings of the card of every detector, and for its accuracy."""
        for look, cell, member in self._looks("card"):
            dataset = self.plan.dataset(look.dataset)
            clean = predictions(member, dataset)
            yield self._card_task(look, cell, member, tuple(clean[i] for i in look.samples))
        for look, cell, member in self._looks("accuracy"):
            dataset = self.plan.dataset(look.dataset)
            ids, clean = dataset.relation_samples.ids, predictions(member, dataset)
            part = CellPart(
                address=cell.address, key=self.log.ledger.key_of(cell, self.relation) or cell.key, due=(WHOLE,)
            )
            yield AccuracyTask(
                setup=self._setup(member), detector=member.ref, part=part, chunk=dataset.chunk(ids),
                clean=tuple(clean[i] for i in ids),
            )  # fmt: skip

    def card_tasks_without_predictions(self) -> Iterator[CardTask]:
        """Tasks for other readings of cards, which predict their pictures themselves."""
        for look, cell, member in self._looks("card"):
            yield self._card_task(look, cell, member, None)

    def _card_task(
        self, look: DetectorCell, cell: RelationCell, member: PlannedMember, clean: Clean | None
    ) -> CardTask:
        return CardTask(
            setup=self._setup(member), detector=member.ref, part=_part(cell, (WHOLE,)),
            chunk=self.plan.dataset(look.dataset).chunk(look.samples), clean=clean,
        )  # fmt: skip

    def _looks(self, check: str) -> Iterator[tuple[DetectorCell, RelationCell, PlannedMember]]:
        for look in self.due_looks():
            if look.check == check:
                cell = self.relation.by_address[detector_address(look)]
                yield look, cell, self.plan.member(look.model, look.member)

    def artefact_tasks(self) -> Iterator[ArtefactTask]:
        artefacts = {a.name: a for e in reversed(self.plan.explainers) for a in e.artefacts}
        for cell in self.relation.cells:
            if cell.address.kind != "artefact":
                continue
            member = self.plan.member(cell.address.model, cell.address.member)
            dataset, artefact = self.plan.dataset(cell.address.dataset), artefacts[cell.address.artefact]
            for ids in self._chunks("artefacts", member, self._ids(dataset, self.missing(cell))):
                yield ArtefactTask(
                    setup=self._setup(member), detector=member.ref, chunk=dataset.chunk(ids), part=_part(cell, ids),
                    name=artefact.name, asker=artefact.asker.ref, index=artefact.index,
                )  # fmt: skip

    def explain_tasks(self, predictions: ReadPredictions) -> Iterator[ExplainTask]:
        """Tasks for maps and their scores. Explainers that use each other's maps share a task."""
        for member in self.plan.members:
            for dataset in self.plan.datasets:
                groups = list(self._groups(member, dataset))
                work = [np.any([m for u in group for m in u.masks], axis=0) for group in groups]
                if not groups or not any(w.any() for w in work):
                    continue
                clean = predictions(member, dataset)
                here = (member.ref.model, member.ref.member, dataset.name)
                costs = np.array([1.0 + sum(self._passes[*here, u.explainer.name] for u in units) for units in groups])
                ids, start = self._ids(dataset, np.any(work, axis=0)), 0
                while start < len(ids):
                    samples, parts = self._cut(member, len(ids) - start, len(groups))
                    for some in _parts_of_like_cost(costs, parts):
                        units = [u for g in some for u in groups[g]]
                        task = self._explain_task(member, dataset, ids[start : start + samples], units, clean)
                        if task.units:
                            yield replace(task, share=float(costs[some].sum() / costs.sum()))
                    start += samples

    def _cut(self, member: PlannedMember, left: int, groups: int) -> tuple[int, int]:
        """The number of samples of the next tasks for maps, and into how many parts the groups of explainers go.

        A minute of work may be fewer samples with all explainers than fill four compute batches with a picture each. A
        task then takes some of the explainers and more samples: methods that ask for one picture a step fill a batch
        only side by side.
        """
        size = self.size("explain", member)
        aim = min(_ABREAST * member.batch_size, most_samples(member.facts), left)
        if self.plan.settings.task_samples:
            aim = 1
        parts = min(groups, math.ceil(aim / min(size, aim)))
        return max(1, int(size) if parts == 1 else min(aim, int(size * parts))), parts

    @cached_property
    def _passes(self) -> Mapping[tuple[str, str, str, str], float]:
        """Planned passes of maps and their scores, by model, member, dataset and explainer; one back counts twice."""
        found = defaultdict[tuple[str, str, str, str], float](float)
        for c in self.plan.cells:
            found[c.model, c.member, c.dataset, c.explainer] += c.passes.forward + 2 * c.passes.backward
        return found

    def set_tasks(self, predictions: ReadPredictions) -> Iterator[SetTask]:
        """One task for every metric of scope detector or family on one explainer's maps."""
        for planned in self.plan.cells:
            metric = next((m for m in self.plan.metrics if m.name == planned.metric), None)
            if metric is None or metric.record.scope in ("sample", "model") or planned.reason:
                continue
            explainer = self.plan.explainer(planned.explainer)
            datasets, members = self.plan.inputs(planned, metric)
            for repeat in range(explainer.repeats):
                cell = self.relation.by_address[score_address(planned, metric, repeat)]
                if not self.missing(cell)[0]:
                    continue
                parts, *reference = (
                    tuple(tuple(self._map_tasks(m, d, explainer, repeat, predictions(m, d))) for m in members)
                    for d in datasets
                )
                key = self.log.ledger.key_of(cell, self.relation) or cell.key
                yield SetTask(
                    setup=self._setup(members[0]),
                    parts=parts,
                    scope=metric.record.scope,
                    score=ScoreUnit(
                        part=CellPart(address=cell.address, key=key, due=(WHOLE,)), name=metric.name,
                        ref=metric.use.ref,
                    ),
                    explainer=explainer.name,
                    repeat=repeat,
                    reference=reference[0] if reference else (),
                )  # fmt: skip

    def model_tasks(self, predictions: ReadPredictions) -> Iterator[ModelTask]:
        """One task for every metric of scope model on one detector and dataset."""
        for cell in self.relation.cells:
            if cell.address.kind != "model" or cell.reason or not self.missing(cell)[0]:
                continue
            member = self.plan.member(cell.address.model, cell.address.member)
            dataset, metric = self.plan.dataset(cell.address.dataset), self.plan.metric(cell.address.metric)
            clean, ids = predictions(member, dataset), dataset.relation_samples.ids
            key = self.log.ledger.key_of(cell, self.relation) or cell.key
            yield ModelTask(
                setup=self._setup(member),
                detector=member.ref,
                chunk=dataset.chunk(ids),
                clean=tuple(clean[i] for i in ids),
                score=ScoreUnit(
                    part=CellPart(address=cell.address, key=key, due=(WHOLE,)), name=metric.name, ref=metric.use.ref
                ),
            )

    def cells_that_cannot_run(self) -> Iterator[RelationCell]:
        """Cells without a row that says why they cannot run."""
        yield from (c for c in self.relation.cells if c.reason and self.missing(c)[0])

    # ---- parts ----

    def _setup(self, member: PlannedMember) -> Setup:
        return replace(self.setup, batch_size=member.batch_size)

    def _ids(self, dataset: PlannedDataset, mask: NDArray[np.bool_]) -> list[str]:
        ids = dataset.relation_samples.ids
        return [ids[i] for i in np.flatnonzero(mask)]

    def _chunks(self, stage: str, member: PlannedMember, ids: Sequence[str]) -> Iterator[Sequence[str]]:
        start = 0
        while start < len(ids):
            size = max(1, int(self.size(stage, member)))
            yield ids[start : start + size]
            start += size

    def _groups(self, member: PlannedMember, dataset: PlannedDataset) -> Iterator[list[_DueUnit]]:
        """The explainers of a detector that have something due, those that are used by others first."""
        planned = {e.name: e for e in self.plan.explainers}
        roots = {name: _root(planned, name) for name in planned}
        for name, explainer in planned.items():
            if roots[name] != name:
                continue
            group = [explainer, *(e for e in planned.values() if roots[e.name] == name and e.name != name)]
            for repeat in range(max(e.repeats for e in group)):
                units = [u for e in group if repeat < e.repeats if (u := self._unit(member, dataset, e, repeat))]
                if units:
                    yield units

    def _unit(
        self, member: PlannedMember, dataset: PlannedDataset, explainer: PlannedExplainer, repeat: int
    ) -> _DueUnit | None:
        maps = self.relation.by_address.get(explain_address(member, dataset, explainer, repeat))
        if maps is None:
            return None
        scores = self._score_cells.get(maps.address, ())
        masks = [self.missing(maps), *(self.missing(s) for s in scores)]
        return _DueUnit(explainer, repeat, maps, tuple(scores), masks) if np.any(masks) else None

    @cached_property
    def _score_cells(self) -> Mapping[Address, list[RelationCell]]:
        """The cells of scores by those of the maps that they score."""
        found = defaultdict[Address, list[RelationCell]](list)
        for cell in self.relation.cells:
            if cell.address.kind == "score" and not cell.reason:
                found[cell.address._replace(kind="explain", metric="")].append(cell)
        return found

    def _explain_task(
        self,
        member: PlannedMember,
        dataset: PlannedDataset,
        ids: Sequence[str],
        units: Sequence[_DueUnit],
        clean: Predictions,
    ) -> ExplainTask:
        places = dataset.place
        at = np.array([places[i] for i in ids])
        made = []
        for unit in units:
            maps, *scores = ([ids[i] for i in np.flatnonzero(mask[at]).tolist()] for mask in unit.masks)
            wanted = {*maps, *(s for score in scores for s in score)}
            needed = [i for i in ids if i in wanted]
            if not needed:
                continue
            part = CellPart(address=unit.maps.address, key=unit.maps.key, due=tuple(maps))
            due_scores = tuple(
                ScoreUnit(part=_part(cell, due), name=cell.address.metric, ref=self._metric_ref(cell))
                for cell, due in zip(unit.scores, scores, strict=True)
                if due
            )
            made.append(self._explain_unit(unit.explainer, unit.repeat, part, needed, due_scores))
        return ExplainTask(
            setup=self._setup(member),
            detector=member.ref,
            chunk=dataset.chunk(ids),
            clean=tuple(clean[i] for i in ids),
            units=tuple(made),
            artefacts=self._artefact_files(member, dataset, [u.explainer for u in units], ids),
        )

    def _metric_ref(self, cell: RelationCell) -> Ref:
        return self.plan.metric(cell.address.metric).use.ref

    def _explain_unit(
        self,
        explainer: PlannedExplainer,
        repeat: int,
        part: CellPart,
        needed: Sequence[str],
        scores: tuple[ScoreUnit, ...] = (),
    ) -> ExplainUnit:
        due = set(part.due)
        kept = self.log.ledger.kept(part.address, needed)
        stored = tuple(i for i, k in zip(needed, kept, strict=True) if k and i not in due)
        return ExplainUnit(
            part=part, name=explainer.name, ref=explainer.use.ref, repeat=repeat, needed=tuple(needed),
            keep=self.keep, stored=stored, files=self._files("maps", part.address, stored), scores=scores,
        )  # fmt: skip

    def _map_tasks(
        self,
        member: PlannedMember,
        dataset: PlannedDataset,
        explainer: PlannedExplainer,
        repeat: int,
        clean: Predictions,
    ) -> Iterator[ExplainTask]:
        """Tasks that give the maps of one member, some samples at a time. They write no row."""
        address = explain_address(member, dataset, explainer, repeat)
        part = CellPart(address=address, key=self.relation.by_address[address].key, due=())
        for ids in self._chunks("sets", member, dataset.relation_samples.ids):
            yield ExplainTask(
                setup=self._setup(member),
                detector=member.ref,
                chunk=dataset.chunk(ids),
                clean=tuple(clean[i] for i in ids),
                units=(self._explain_unit(explainer, repeat, part, ids),),
                artefacts=self._artefact_files(member, dataset, [explainer], ids),
            )

    def _artefact_files(
        self, member: PlannedMember, dataset: PlannedDataset, explainers: Sequence[PlannedExplainer], ids: Sequence[str]
    ) -> tuple[str, ...]:
        names = dict.fromkeys(a.name for e in explainers for a in e.artefacts)
        addresses = (
            Address("artefact", member.ref.model, member.ref.member, dataset.name, artefact=name) for name in names
        )
        return tuple(dict.fromkeys(f for a in addresses for f in self._files("artefacts", a, ids)))

    def _files(self, table: str, address: Address, ids: Sequence[str]) -> tuple[str, ...]:
        """The files of a table in which these samples' rows of a cell may lie."""
        numbers = sorted(set(self.log.ledger.commits(address, ids).tolist()) - {0})
        return tuple(f"{f.table}/{f.name}" for n in numbers for f in self.log.commits[n].of(table))


@dataclass(frozen=True, slots=True)
class _DueUnit:
    """An explainer in one repeat with its cells; ``masks`` say which samples are due, of its maps and of each score."""

    explainer: PlannedExplainer
    repeat: int
    maps: RelationCell
    scores: tuple[RelationCell, ...]
    masks: list[NDArray[np.bool_]]


def _parts_of_like_cost(costs: NDArray[np.float64], parts: int) -> Iterator[NDArray[np.intp]]:
    """Places in ``costs``, in their order, cut into at most ``parts`` runs of about the same cost."""
    middles = costs.cumsum() - costs / 2
    number = np.minimum((middles * parts / costs.sum()).astype(int), parts - 1)
    yield from (np.flatnonzero(number == n) for n in np.unique(number))


def _part(cell: RelationCell, ids: Sequence[str]) -> CellPart:
    return CellPart(address=cell.address, key=cell.key, due=tuple(ids))


def _root(planned: Mapping[str, PlannedExplainer], name: str) -> str:
    """The planned explainer at the end of the chain of dependencies."""
    chain = {name}
    while (dependency := next((d for d in planned[name].depends if d in planned), name)) not in chain:
        chain.add(dependency)
        name = dependency
    return name
