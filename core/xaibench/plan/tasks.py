"""Tasks of a run and their results: names, parameters, digests and rows, no live objects."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from xaibench.api import Runtime, Sample
from xaibench.discovery.components import Ref
from xaibench.store.commits import CellRows
from xaibench.store.relation import Address

if TYPE_CHECKING:
    import pyarrow as pa

OWN: Final = "own"
"""The engine that a detector's component brings: torch, of those that can be given another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """Settings that all tasks of a run share.

    ``location`` is the folder of the run, whose files tasks may read. ``time_limit`` is the seconds that one map or
    score may take, None: an hour for those of third parties.
    """

    run: str
    plugins: tuple[str, ...]
    without: tuple[str, ...]
    runtime: Runtime
    batch_size: int
    seed: int
    target: str
    location: str
    time_limit: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorRef:
    """A detector: the component that opens it, the member, and the digest that it must have.

    ``inner`` is the name of the member within the component. ``engine`` computes its forward passes.
    """

    model: str
    member: str
    ref: Ref
    inner: str
    digest: str
    engine: str = OWN


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Some samples of a dataset.

    ``auxiliary`` holds their counterparts and strangers that are not among them, ``digests`` the digests of all
    pictures by sample id, ``strangers`` the pairs of a sample and its stranger.
    """

    dataset: str
    ref: Ref
    samples: tuple[Sample, ...]
    auxiliary: tuple[Sample, ...]
    digests: tuple[tuple[str, str], ...] = ()
    strangers: tuple[tuple[str, str], ...] = ()


Clean = tuple[tuple[float, ...] | None, ...]
"""Class probabilities of each sample on its clean picture, None where the prediction failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CellPart:
    """A cell of the plan at the samples of a task that are due. ``due`` is ``("",)`` for the whole of a cell."""

    address: Address
    key: str
    due: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreUnit:
    """One metric on the maps of one explainer."""

    part: CellPart
    name: str
    ref: Ref


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainUnit:
    """One explainer in one repeat, and the metrics to score on its maps.

    ``needed`` are the samples whose maps a task needs. ``part.due`` are those of which a row is written. ``keep`` is
    True where maps are kept. ``stored`` are the samples whose maps lie in ``files``; the others are drawn.
    """

    part: CellPart
    name: str
    ref: Ref
    repeat: int
    needed: tuple[str, ...]
    keep: bool
    stored: tuple[str, ...]
    files: tuple[str, ...]
    scores: tuple[ScoreUnit, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictTask:
    """Clean predictions of some samples."""

    setup: Setup
    detector: DetectorRef
    chunk: Chunk
    part: CellPart


@dataclass(frozen=True, slots=True, kw_only=True)
class StructureTask:
    """The structure of a detector, on some samples."""

    setup: Setup
    detector: DetectorRef
    chunk: Chunk
    part: CellPart


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyTask:
    """The accuracy of a detector on all samples of a dataset, from their predictions."""

    setup: Setup
    detector: DetectorRef
    chunk: Chunk
    clean: Clean
    part: CellPart


@dataclass(frozen=True, slots=True, kw_only=True)
class CardTask:
    """Other readings of a detector's card, on some labelled samples. ``clean`` None: the task predicts them itself."""

    setup: Setup
    detector: DetectorRef
    chunk: Chunk
    clean: Clean | None
    part: CellPart


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtefactTask:
    """One stored artefact of some samples: number ``index`` of the ``artefacts`` of the component ``asker``."""

    setup: Setup
    detector: DetectorRef
    chunk: Chunk
    part: CellPart
    name: str
    asker: Ref
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainTask:
    """Explainers on some samples, those that are used by others first, and the scores of their maps.

    ``artefacts`` are the files of the stored artefacts that they use. ``share`` is the part of all that is due at these
    samples, by planned passes.
    """

    setup: Setup
    detector: DetectorRef
    chunk: Chunk
    clean: Clean
    units: tuple[ExplainUnit, ...]
    artefacts: tuple[str, ...] = ()
    share: float = 1.0

    def probabilities(self, sample: str) -> tuple[float, ...] | None:
        """Class probabilities of a sample on its clean picture, None where the prediction failed."""
        return next(p for s, p in zip(self.chunk.samples, self.clean, strict=True) if s.id == sample)


@dataclass(frozen=True, slots=True, kw_only=True)
class SetTask:
    """One metric of scope detector or family on all maps of one explainer in one repeat.

    ``parts[m]`` are tasks that give the maps of member m, with one unit each and nothing to score or to write.
    ``reference[m]`` are those that give its maps on the first dataset, where the metric needs them.
    """

    setup: Setup
    parts: tuple[tuple[ExplainTask, ...], ...]
    score: ScoreUnit
    scope: str
    explainer: str
    repeat: int
    reference: tuple[tuple[ExplainTask, ...], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelTask:
    """One metric of scope model, on one detector and all samples, without maps."""

    setup: Setup
    detector: DetectorRef
    chunk: Chunk
    clean: Clean
    score: ScoreUnit


LookTask = StructureTask | AccuracyTask | CardTask
Task = LookTask | PredictTask | ArtefactTask | ExplainTask | SetTask | ModelTask


@dataclass(frozen=True, slots=True, kw_only=True)
class CellResult:
    """What a task gives of one cell: the row of ``commits`` and the rows of other tables."""

    cell: CellRows
    tables: dict[str, pa.Table] = field(default_factory=dict)
