"""Tasks of a run and their results: names, parameters, digests and rows, no live objects."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from xaibench.api import Passes, Runtime, Sample, Status
from xaibench.discovery.components import Ref

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """Settings that all tasks of a run share."""

    run: str
    plugins: tuple[str, ...]
    without: tuple[str, ...]
    runtime: Runtime
    batch_size: int
    seed: int
    target: str
    staging: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorRef:
    """A detector: the component that opens it, the member, and the digest that it must have.

    ``inner`` is the name of the member within the component.
    """

    model: str
    member: str
    ref: Ref
    inner: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """A slice of a dataset's samples.

    ``auxiliary`` holds the counterparts and strangers outside the slice, ``digests`` the digests of all pictures by
    sample id, ``strangers`` the pairs of a sample and its stranger.
    """

    dataset: str
    ref: Ref
    start: int
    stop: int
    samples: tuple[Sample, ...]
    auxiliary: tuple[Sample, ...]
    digests: tuple[tuple[str, str], ...] = ()
    strangers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreUnit:
    """One metric on the maps of one explain unit."""

    key: str
    name: str
    ref: Ref


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainUnit:
    """One explainer on one shard in one repeat, and the metrics to score on its maps.

    ``commit`` is False where the unit is done and only its maps are needed again. ``keep`` is True where its maps are
    kept. ``stored`` is the file with its maps, where there is one.
    """

    key: str
    name: str
    ref: Ref
    repeat: int
    commit: bool
    keep: bool
    stored: str | None
    scores: tuple[ScoreUnit, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictTask:
    """Clean predictions of one shard."""

    setup: Setup
    detector: DetectorRef
    shard: Shard
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtefactTask:
    """One stored artefact of one shard: number ``index`` of the ``artefacts`` of the component ``asker``."""

    setup: Setup
    detector: DetectorRef
    shard: Shard
    key: str
    name: str
    asker: Ref
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainTask:
    """Explain units of one shard that belong together.

    ``clean`` holds the class probabilities of each sample, None where the prediction failed. ``artefacts`` are the
    files of the stored artefacts that the units use.
    """

    setup: Setup
    detector: DetectorRef
    shard: Shard
    clean: tuple[tuple[float, ...] | None, ...]
    units: tuple[ExplainUnit, ...]
    artefacts: tuple[str, ...] = ()

    def probabilities(self, sample: str) -> tuple[float, ...] | None:
        """Class probabilities of a sample on its clean picture, None where the prediction failed."""
        return next(p for s, p in zip(self.shard.samples, self.clean, strict=True) if s.id == sample)


@dataclass(frozen=True, slots=True, kw_only=True)
class SetTask:
    """One metric of scope detector or family on all maps of one explainer in one repeat.

    ``parts[m]`` are the tasks that give the maps of member m, with one unit each and nothing to score.
    ``reference[m]`` are the tasks that give its maps on the first dataset, where the metric needs them.
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
    """One metric of scope model, on one detector and all samples, without maps.

    ``clean`` holds the class probabilities of each sample of each shard, None where the prediction failed.
    """

    setup: Setup
    detector: DetectorRef
    shards: tuple[Shard, ...]
    clean: tuple[tuple[tuple[float, ...] | None, ...], ...]
    score: ScoreUnit


Task = PredictTask | ArtefactTask | ExplainTask | SetTask | ModelTask


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """What the rows of one unit have in common.

    ``member`` is empty for a family, ``explainer`` for a metric of the detector itself. ``explainer`` and ``metric``
    are None where the unit has none. ``start`` and ``stop`` bound the samples in the order of the run.
    """

    run: str
    model: str
    member: str
    dataset: str
    explainer: str | None = None
    metric: str | None = None
    start: int = 0
    stop: int = 0

    def columns(self, unit: str) -> dict[str, Any]:
        """Columns of the rows of a unit, of which each table has some."""
        return {"unit": unit, **asdict(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitResult:
    """The result of one unit. ``tables`` holds rows by table, ``staged`` paths in the staging folder by table."""

    key: str
    kind: str
    address: Address
    status: Status
    reason: str = ""
    error: str = ""
    trace: str = ""
    seconds: float = 0.0
    passes: Passes = Passes()
    device: str = "cpu"
    peak_memory: int = 0
    tables: dict[str, pa.Table] = field(default_factory=dict)
    staged: dict[str, str] = field(default_factory=dict)
