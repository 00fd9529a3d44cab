"""What a plan is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from xaibench.api import Artefact, Detector, ExplainerRecord, Facts, MetricRecord, Passes, Runtime, ScoreSpec
from xaibench.data.survey import Survey
from xaibench.discovery.components import Use
from xaibench.plan.settings import Settings
from xaibench.plan.tasks import DetectorRef, Shard


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedMember:
    """One opened detector: ``ref`` finds it again in any process; ``batch_size`` is its compute batch,
    ``component`` the versions and code of what opens it."""

    ref: DetectorRef
    facts: Facts
    batch_size: int
    component: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedModel:
    """A detector or a family. ``scored`` counts the first members that sample metrics run on, ``trained`` the runs that
    the record of a family's training tells of (0: there is none)."""

    name: str
    members: tuple[PlannedMember, ...]
    scored: int
    trained: int = 0


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
        strangers = tuple((s.id, self.survey.strangers[s.id]) for s in chosen if s.id in self.survey.strangers)
        others = [known[other] for _, other in strangers if other not in inside]
        auxiliary = tuple(dict.fromkeys((*pairs, *others)))
        digests = tuple((s.id, self.survey.digests[s.id]) for s in (*chosen, *auxiliary))
        return Shard(dataset=self.name, ref=self.use.ref, start=start, stop=stop, samples=chosen,
                     auxiliary=auxiliary, digests=digests, strangers=strangers)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedArtefact:
    """A stored artefact: number ``index`` of the ``artefacts`` of the component ``asker``, the first that asks."""

    name: str
    asker: Use
    index: int
    artefact: Artefact


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedExplainer:
    """An explainer; ``repeats`` is 1 unless it draws at random; ``depend_uses`` are the explainers whose maps it asks
    for, those that they ask for in turn included; ``artefacts`` are the stored ones that it or they ask for; ``named``
    is False for a control that joined by itself."""

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
    """A metric and the scores it declares."""

    use: Use
    record: MetricRecord
    scores: tuple[ScoreSpec, ...]

    @property
    def name(self) -> str:
        return self.use.name

    @property
    def needs(self) -> frozenset[str]:
        """What the record and the parameters need."""
        return self.record.needs | frozenset(getattr(self.use.instance, "needs", ()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One metric of one explainer on one dataset for one detector (``member`` empty: the family; ``explainer`` empty:
    a metric of the detector itself).

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
class ArtefactCell:
    """One stored artefact of one dataset for one detector, and what it costs."""

    model: str
    member: str
    dataset: str
    artefact: str
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
    artefact_cells: tuple[ArtefactCell, ...] = ()
    notes: tuple[str, ...]
    detectors: Mapping[DetectorRef, Detector] = field(repr=False, compare=False)

    def explainer(self, name: str) -> PlannedExplainer:
        return next(e for e in self.explainers if e.name == name)

    @property
    def predictions(self) -> Passes:
        """Clean predictions of every member that maps are drawn for."""
        members = {(c.model, c.member) for c in self.cells if c.metric is None or not c.explainer}
        return Passes(forward=len(members) * sum(len(d.survey.samples) for d in self.datasets))

    @property
    def passes(self) -> Passes:
        """What the whole plan costs."""
        return sum((c.passes for c in self.cells if not c.reason), self.predictions + self.making)

    @property
    def making(self) -> Passes:
        """What the stored artefacts cost."""
        return sum((c.passes for c in self.artefact_cells), Passes())

    @property
    def artefacts(self) -> Mapping[str, PlannedArtefact]:
        """Stored artefacts by name."""
        return {a.name: a for e in reversed(self.explainers) for a in e.artefacts}
