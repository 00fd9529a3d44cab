"""The keys of a plan's cells: digests of everything that can change their numbers, except the samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from xaibench.api import digest
from xaibench.discovery.code_identity import cell_key, component_identity, use_identity
from xaibench.plan.parts import (
    Cell,
    DetectorCell,
    Plan,
    PlannedArtefact,
    PlannedDataset,
    PlannedExplainer,
    PlannedMember,
    PlannedMetric,
)
from xaibench.plan.runtime import torch_threads
from xaibench.plan.tasks import OWN
from xaibench.store.provenance import runtime_identity
from xaibench.store.relation import Address, Kind, Relation, RelationCell

LOOK_VERSION = 1
"""Version of what is looked at in a detector; a change of it makes every look due again."""
_KIND_OF_SCOPE: dict[str, Kind] = {"sample": "score", "detector": "set", "family": "set", "model": "model"}


def relation_of(plan: Plan) -> Relation:
    """Cells x samples of a plan."""
    # No two cells share a key: rows are told apart by it, and ids of samples may be the same in two datasets.
    cells = (replace(c, key=cell_key({"key": c.key, "address": c.address})) for c in _Keys(plan).cells())
    return Relation(tuple(cells), {d.name: d.relation_samples for d in plan.datasets})


def predict_address(member: PlannedMember, dataset: PlannedDataset) -> Address:
    return Address("predict", member.ref.model, member.ref.member, dataset.name)


def explain_address(
    member: PlannedMember, dataset: PlannedDataset, explainer: PlannedExplainer, repeat: int
) -> Address:
    return Address("explain", member.ref.model, member.ref.member, dataset.name, explainer.name, repeat=repeat)


def score_address(cell: Cell, metric: PlannedMetric, repeat: int) -> Address:
    kind = _KIND_OF_SCOPE[metric.record.scope]
    return Address(kind, cell.model, cell.member, cell.dataset, cell.explainer, metric.name, repeat=repeat)


def detector_address(cell: DetectorCell) -> Address:
    dataset = "" if cell.check == "structure" else cell.dataset  # the same whichever dataset shows it
    return Address(cell.check, cell.model, cell.member, dataset)


@dataclass(frozen=True)
class _Keys:
    plan: Plan

    def cells(self) -> Iterator[RelationCell]:
        plan = self.plan
        for member in plan.members:
            for dataset in plan.datasets:
                yield RelationCell(address=predict_address(member, dataset), key=self.predict(member))
        yield from self._detector_cells()
        yield from self._artefact_cells()
        for cell in plan.cells:
            if cell.metric is None:
                if not cell.reason:
                    yield from self._explain_cells(cell)
            elif cell.reason:
                yield self._cell_that_cannot_run(cell)
            else:
                yield from self._score_cells(cell)

    # ---- cells ----

    def _detector_cells(self) -> Iterator[RelationCell]:
        for cell in self.plan.detector_cells:
            member, dataset = self.plan.member(cell.model, cell.member), self.plan.dataset(cell.dataset)
            if cell.check == "accuracy":
                key = cell_key({"kind": "accuracy", "version": LOOK_VERSION, "on": self.predict(member)})
                inputs = (predict_address(member, dataset),)
                yield RelationCell(address=detector_address(cell), key=key, inputs=inputs, grouped=True)
            else:
                yield RelationCell(
                    address=detector_address(cell), key=self.look(cell, member, dataset), reason=cell.reason
                )

    def _artefact_cells(self) -> Iterator[RelationCell]:
        artefacts = {a.name: a for e in reversed(self.plan.explainers) for a in e.artefacts}
        for cell in self.plan.artefact_cells:
            member = self.plan.member(cell.model, cell.member)
            address = Address("artefact", cell.model, cell.member, cell.dataset, artefact=cell.artefact)
            yield RelationCell(address=address, key=self.artefact(member, artefacts[cell.artefact]))

    def _explain_cells(self, cell: Cell) -> Iterator[RelationCell]:
        explainer, dataset = self.plan.explainer(cell.explainer), self.plan.dataset(cell.dataset)
        member = self.plan.member(cell.model, cell.member)
        for repeat in range(explainer.repeats):
            yield RelationCell(
                address=explain_address(member, dataset, explainer, repeat),
                key=self.explain(member, explainer, repeat),
                strangers="stranger" in explainer.needs,
            )

    def _cell_that_cannot_run(self, cell: Cell) -> RelationCell:
        metric = self.plan.metric(cell.metric or "")
        key = cell_key({"kind": "not-applicable", "reason": cell.reason, "metric": self._uses[metric.name]})
        return RelationCell(address=score_address(cell, metric, 0), key=key, reason=cell.reason, broken=cell.broken)

    def _score_cells(self, cell: Cell) -> Iterator[RelationCell]:
        metric = self.plan.metric(cell.metric or "")
        if metric.record.scope == "model":
            member, dataset = self.plan.member(cell.model, cell.member), self.plan.dataset(cell.dataset)
            key = self._on([self.predict(member), str(self.plan.settings.seed)], metric)
            yield RelationCell(
                address=score_address(cell, metric, 0), key=key, inputs=(predict_address(member, dataset),),
                strangers="stranger" in metric.needs,
            )  # fmt: skip
            return
        explainer = self.plan.explainer(cell.explainer)
        strangers = "stranger" in metric.needs | explainer.needs
        for repeat in range(explainer.repeats):
            address = score_address(cell, metric, repeat)
            if metric.record.scope == "sample":
                member = self.plan.member(cell.model, cell.member)
                key = self._on([self.explain(member, explainer, repeat)], metric)
                yield RelationCell(address=address, key=key, strangers=strangers)
                continue
            datasets, members = self.plan.inputs(cell, metric)
            key = self._on([self.explain(m, explainer, repeat) for _ in datasets for m in members], metric)
            inputs = tuple(explain_address(m, d, explainer, repeat) for d in datasets for m in members)
            yield RelationCell(address=address, key=key, strangers=strangers, inputs=inputs)

    # ---- keys ----

    @cached_property
    def _uses(self) -> dict[str, str]:
        explainers = {e.name: digest(use_identity(e.use)) for e in self.plan.explainers}
        for e in self.plan.explainers:
            if e.depend_uses:  # its maps depend on those of other explainers, planned or not
                explainers[e.name] = digest([explainers[e.name], [use_identity(u) for u in e.depend_uses]])
        return explainers | {m.name: digest(use_identity(m.use)) for m in self.plan.metrics}

    @cached_property
    def _runtime(self) -> dict[str, object]:
        return runtime_identity(self.plan.runtime)

    def predict(self, member: PlannedMember) -> str:
        return cell_key({
            "kind": "predict", "model": member.ref.model, "member": member.ref.member, "digest": member.ref.digest,
            "batch": member.batch_size, "runtime": self._runtime, "component": member.component,
            "torch_threads": torch_threads(self.plan.runtime, member.facts),
            **({} if member.ref.engine == OWN else {"engine": member.ref.engine}),
        })  # fmt: skip

    def look(self, cell: DetectorCell, member: PlannedMember, dataset: PlannedDataset) -> str:
        """The key of a look at the structure or the card. That of the structure does not hold the pictures: parts of a
        run that show others are one run."""
        key: dict[str, object] = {
            "kind": cell.check,
            "version": LOOK_VERSION,
            "on": self.predict(member),
            "reason": cell.reason,
        }
        if cell.check == "card":
            key["pictures"] = [dataset.survey.digests[i] for i in sorted(cell.samples)]
        return cell_key(key)

    def artefact(self, member: PlannedMember, artefact: PlannedArtefact) -> str:
        code = component_identity(artefact.asker.registered)
        return cell_key({
            "kind": "artefact", "on": self.predict(member), "artefact": artefact.name,
            "seed": self.plan.settings.seed, "distribution": code["distribution"], "code": code.get("code"),
        })  # fmt: skip

    def explain(self, member: PlannedMember, explainer: PlannedExplainer, repeat: int) -> str:
        settings = self.plan.settings
        return cell_key({
            "kind": "explain", "on": self.predict(member), "explainer": self._uses[explainer.name],
            "repeat": repeat, "seed": settings.seed, "target": settings.target,
        })  # fmt: skip

    def _on(self, keys: list[str], metric: PlannedMetric) -> str:
        return cell_key({"kind": "score", "on": keys, "metric": self._uses[metric.name]})
