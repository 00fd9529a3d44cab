"""What a worker is handed and what it hands back: names, parameters, digests and rows, never live objects."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from xaibench.api import Passes, Runtime, Sample, Status
from xaibench.discovery.components import Ref

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What is the same for every task of a run."""

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
    """A detector: the component that opens it, which member, and the digest it must have."""

    model: str
    member: str
    ref: Ref
    inner: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """A slice of a dataset's samples, with the counterparts and strangers that lie outside it, the digests of their
    pictures, and which sample is whose stranger."""

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

    ``commit`` is False where the unit is done already and only its maps are needed again; ``stored`` is the file that
    holds them, if they were kept.
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
    """Explain units of one shard that belong together. ``clean`` are class probabilities a sample, None where the
    prediction failed; ``artefacts`` are the files of stored artefacts that the units ask for."""

    setup: Setup
    detector: DetectorRef
    shard: Shard
    clean: tuple[tuple[float, ...] | None, ...]
    units: tuple[ExplainUnit, ...]
    artefacts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SetTask:
    """One metric of scope detector or family on all maps of one explainer in one repeat.

    ``parts[m]`` are the tasks (with one unit each and nothing to score) that give member m's maps, ``reference[m]``
    those that give its maps on the first dataset, where the metric asks for them.
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
    """One metric of scope model: on one detector and all samples, without maps. ``clean`` are class probabilities a
    sample, shard by shard, None where the prediction failed."""

    setup: Setup
    detector: DetectorRef
    shards: tuple[Shard, ...]
    clean: tuple[tuple[tuple[float, ...] | None, ...], ...]
    score: ScoreUnit


Task = PredictTask | ArtefactTask | ExplainTask | SetTask | ModelTask


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitResult:
    """What one unit came to. ``tables`` holds rows by table; ``staged`` files in the staging folder by table."""

    key: str
    kind: str
    model: str
    member: str
    dataset: str
    explainer: str | None
    metric: str | None
    start: int
    stop: int
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
