"""The parts of a plan: models, datasets, explainers, metrics and cells."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from xaibench.api import (
    PROJECT,
    Artefact,
    ComponentRecord,
    Detector,
    ExplainerRecord,
    Facts,
    MetricRecord,
    Passes,
    Runtime,
    Sample,
    ScoreSpec,
)
from xaibench.data.sample_digests import sample_digests
from xaibench.data.survey import Survey
from xaibench.discovery.components import HELD, Use
from xaibench.plan.settings import Settings
from xaibench.plan.tasks import Chunk, DetectorRef
from xaibench.store.relation import RelationSamples, groups_digest, short_digest


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedMember:
    """One opened detector.

    ``ref`` opens it again in any process. ``batch_size`` is its compute batch. ``component`` identifies the version and
    the code of the component that opens it, ``record`` describes it.
    """

    ref: DetectorRef
    facts: Facts
    batch_size: int
    component: Mapping[str, str]
    record: ComponentRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedModel:
    """A detector or a family.

    ``scored`` is the number of members, from the first, that sample metrics run on. ``trained`` is the number of
    training runs in the record of the family; 0 where there is no record.
    """

    name: str
    members: tuple[PlannedMember, ...]
    scored: int
    trained: int = 0


@dataclass(frozen=True, kw_only=True)
class PlannedDataset:
    """A dataset with its samples in order.

    ``part`` (i, n) says that they are every n-th from the i-th on of those of all parts, of which there are ``whole``.
    """

    name: str
    use: Use
    survey: Survey
    part: tuple[int, int]
    whole: int

    def chunk(self, ids: Sequence[str]) -> Chunk:
        """Some of the samples, with the counterparts and strangers that are not among them."""
        by_id, here = self._by_id, set(ids)
        samples = tuple(by_id[i] for i in ids)
        pairs = [s.pair for s in samples if s.pair and s.pair in by_id]
        strangers = tuple((s.id, self.survey.strangers[s.id]) for s in samples if s.id in self.survey.strangers)
        auxiliary_ids = dict.fromkeys((*pairs, *(stranger for _, stranger in strangers)))
        auxiliary = tuple(by_id[i] for i in auxiliary_ids if i not in here)
        return Chunk(
            dataset=self.name,
            ref=self.use.ref,
            samples=samples,
            auxiliary=auxiliary,
            digests=tuple((s.id, self.survey.digests[s.id]) for s in (*samples, *auxiliary)),
            strangers=strangers,
        )

    @cached_property
    def _by_id(self) -> Mapping[str, Sample]:
        return self.survey.by_id()

    @cached_property
    def place(self) -> Mapping[str, int]:
        """The place of each sample in the order."""
        return {s.id: i for i, s in enumerate(self.survey.samples)}

    def order(self, place: int) -> int:
        """The place in the order of the whole dataset of the sample at a place of this part."""
        i, n = self.part
        return place * n + i - 1

    @cached_property
    def sample_digests(self) -> Mapping[str, tuple[str, str]]:
        """Digest of each sample, and that which covers its stranger."""
        return {s.id: sample_digests(s, self.survey) for s in self.survey.samples}

    @cached_property
    def relation_samples(self) -> RelationSamples:
        """The samples as the relation of a run holds them."""
        ids = tuple(s.id for s in self.survey.samples)
        digests = [self.sample_digests[i] for i in ids]
        return RelationSamples(
            ids,
            tuple(short_digest(d) for d, _ in digests),
            tuple(short_digest(d) for _, d in digests),
            groups_digest((s.group, s.cross_group) for s in self.survey.samples),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedArtefact:
    """A stored artefact: number ``index`` of the ``artefacts`` of ``asker``, the first component that lists it."""

    name: str
    asker: Use
    index: int
    artefact: Artefact


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedExplainer:
    """An explainer.

    ``repeats`` is 1 unless it is stochastic. ``depend_uses`` are the explainers whose maps it uses, directly or through
    others. ``artefacts`` are the stored artefacts that it or they use. ``named`` is False for a control that the user
    did not name.
    """

    use: Use
    record: ExplainerRecord
    draws: int
    repeats: int
    needs: frozenset[str]
    depend_uses: tuple[Use, ...]
    artefacts: tuple[PlannedArtefact, ...] = ()
    named: bool = True

    @property
    def name(self) -> str:
        return self.use.name

    @property
    def depends(self) -> tuple[str, ...]:
        return tuple(u.name for u in self.depend_uses)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedMetric:
    """A metric and the scores that it declares.

    ``accompanied_by`` are the names of the metrics that say whether it means anything on a detector, whether or not
    they are part of the plan. ``named`` is False for one that is there for this reason alone.
    """

    use: Use
    record: MetricRecord
    scores: tuple[ScoreSpec, ...]
    accompanied_by: tuple[str, ...] = ()
    named: bool = True

    @property
    def name(self) -> str:
        return self.use.name

    @property
    def needs(self) -> frozenset[str]:
        """Needs of the record and those that follow from the parameters."""
        return self.record.needs | frozenset(getattr(self.use.instance, "needs", ()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One metric on one explainer's maps of one dataset for one detector.

    ``member`` is empty for a family, ``explainer`` for a metric of the detector itself. ``metric`` None is the cell of
    the maps themselves. ``reason`` says why the cell cannot run; it is empty where it can. ``broken`` says that the
    reason is a fault of a component: the cell has failed. ``passes`` is the cost of the cell without that of the maps,
    which their own cell has, and without what a metric before it does for both.
    """

    model: str
    member: str
    dataset: str
    explainer: str
    metric: str | None
    reason: str
    passes: Passes
    broken: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtefactCell:
    """One stored artefact of one dataset for one detector, and its passes."""

    model: str
    member: str
    dataset: str
    artefact: str
    passes: Passes


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorCell:
    """One look at a detector before or beside the explanations.

    ``check`` is its structure, its accuracy on a dataset, or whether another reading of its card does better there.
    ``samples`` are the pictures that it is shown, of the accuracy all.
    ``reason`` says why it is not done; it is empty where it is.
    """

    model: str
    member: str
    dataset: str
    check: Literal["structure", "accuracy", "card"]
    samples: tuple[str, ...] = ()
    passes: Passes = Passes()
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that a run does.

    ``out`` is its folder, ``identity`` what its results depend on besides the pictures. ``detectors`` are the opened
    detectors, for use in this process.
    """

    out: str
    identity: Mapping[str, Any]
    settings: Settings
    runtime: Runtime
    models: tuple[PlannedModel, ...]
    datasets: tuple[PlannedDataset, ...]
    explainers: tuple[PlannedExplainer, ...]
    metrics: tuple[PlannedMetric, ...]
    cells: tuple[Cell, ...]
    artefact_cells: tuple[ArtefactCell, ...] = ()
    detector_cells: tuple[DetectorCell, ...] = ()
    notes: tuple[str, ...]
    detectors: dict[DetectorRef, Detector] = field(repr=False, compare=False)

    @property
    def uses(self) -> tuple[Use, ...]:
        """Explainers with those whose maps they use, metrics and data sets."""
        explainers = [u for e in self.explainers for u in (e.use, *e.depend_uses)]
        return (*explainers, *(m.use for m in self.metrics), *(d.use for d in self.datasets))

    @property
    def isolated(self) -> bool:
        """Whether tasks run in processes of their own: where a third party's component takes part, or a time limit is
        to be kept. What was handed over in Python, and a folder in memory, exist in this process alone."""
        if not self.settings.isolation or self.out.startswith("memory://"):
            return False
        owners = {u.registered.origin.distribution for u in self.uses}
        owners |= {m.ref.ref.name.partition("/")[0] for model in self.models for m in model.members}
        return HELD not in owners and (owners != {PROJECT} or self.settings.time_limit is not None)

    def explainer(self, name: str) -> PlannedExplainer:
        """The explainer of that name."""
        return next(e for e in self.explainers if e.name == name)

    def metric(self, name: str) -> PlannedMetric:
        """The metric of that name."""
        return next(m for m in self.metrics if m.name == name)

    def dataset(self, name: str) -> PlannedDataset:
        """The dataset of that name."""
        return next(d for d in self.datasets if d.name == name)

    def member(self, model: str, member: str) -> PlannedMember:
        """One detector of a model."""
        return next(m for m in self._model(model).members if m.ref.member == member)

    def _model(self, name: str) -> PlannedModel:
        return next(m for m in self.models if m.name == name)

    @property
    def members(self) -> Iterator[PlannedMember]:
        """Members that are explained, or measured without maps, in order."""
        return planned_members(self.models, self.cells)

    def inputs(self, cell: Cell, metric: PlannedMetric) -> tuple[list[PlannedDataset], list[PlannedMember]]:
        """The datasets and the members whose maps a measure of a set reads."""
        dataset = self.dataset(cell.dataset)
        members = [m for m in self._model(cell.model).members if cell.member in ("", m.ref.member)]
        return [dataset, *(self.datasets[:1] if "reference" in metric.needs else ())], members

    @property
    def predictions(self) -> Passes:
        """Passes of the clean predictions of every member that is explained or measured."""
        members = {(c.model, c.member) for c in self.cells if c.metric is None or not c.explainer}
        return Passes(forward=len(members) * sum(len(d.survey.samples) for d in self.datasets))

    @property
    def passes(self) -> Passes:
        """Passes of the whole plan."""
        made = self.predictions + self.artefact_passes + self.detector_passes
        return sum((c.passes for c in self.cells if not c.reason), made)

    @property
    def detector_passes(self) -> Passes:
        """Passes of the looks at the detectors."""
        return sum((c.passes for c in self.detector_cells if not c.reason), Passes())

    @property
    def artefact_passes(self) -> Passes:
        """Passes of the stored artefacts."""
        return sum((c.passes for c in self.artefact_cells), Passes())


def planned_members(models: Iterable[PlannedModel], cells: Iterable[Cell]) -> Iterator[PlannedMember]:
    """The members that are explained, or measured without maps, in order."""
    planned = {(c.model, c.member) for c in cells if c.metric is None or not c.explainer}
    for model in models:
        yield from (m for m in model.members if (model.name, m.ref.member) in planned)
