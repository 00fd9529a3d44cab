"""What a worker keeps at hand between tasks: the registry, opened datasets and detectors, pictures of one shard."""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from xaibench.api import (
    Artefact,
    ArtefactQuery,
    Dataset,
    Detector,
    ExplainRequest,
    Explanation,
    MapCase,
    ModelError,
    Native,
    Picture,
    Problem,
    Product,
    Programme,
    Sample,
    Streams,
    UnreadablePicture,
    View,
    Wait,
    digest,
    digest_native,
)
from xaibench.api.probes import addressed
from xaibench.data.pictures import apply_view, show_picture
from xaibench.detector.engine import ProbeEngine
from xaibench.detector.torch_settings import prepare_torch
from xaibench.discovery.components import Ref, Use, open_component, resolve
from xaibench.discovery.registry import Registry, load_registry
from xaibench.plan.tasks import DetectorRef, Setup, Shard
from xaibench.store import artefact_rows, map_rows
from xaibench.store.folder import broken

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")


class Workbench:
    """Opened components of one process. ``keep`` detectors stay loaded, least recently used first out."""

    def __init__(self, setup: Setup, registry: Registry | None = None, keep: int = 1) -> None:
        self.setup = setup
        self.keep = keep
        self.on_passes: Callable[[int], None] | None = None
        self._registry = registry
        self._detectors: OrderedDict[DetectorRef, Detector] = OrderedDict()
        self._uses: dict[Ref, Use] = {}
        self._bench: tuple[Any, Bench] | None = None
        prepare_torch(setup.runtime.threads)

    @cached_property
    def registry(self) -> Registry:
        return self._registry or load_registry(self.setup.plugins, self.setup.without)

    def use(self, ref: Ref) -> Use:
        if ref not in self._uses:
            self._uses[ref] = resolve(self.registry, ref)
        return self._uses[ref]

    def offer(self, ref: DetectorRef, detector: Detector) -> None:
        """Hand over a detector that is open already."""
        self._detectors[ref] = detector

    def detector(self, ref: DetectorRef) -> Detector:
        if ref not in self._detectors:
            detector = self.use(ref.ref).open(ref.inner, self.setup.runtime)
            if detector.facts.digest != ref.digest:
                raise ModelError(
                    f"detector {ref.model} {ref.member} is not the one that was planned: its digest is "
                    f"{detector.facts.digest[:12]}, the plan's {ref.digest[:12]}",
                    "the file changed during the run: start the run again",
                )
            self._detectors[ref] = detector
        self._detectors.move_to_end(ref)
        while len(self._detectors) > self.keep:
            self._detectors.popitem(last=False)
        return self._detectors[ref]

    def bench(self, detector: Detector, shard: Shard, setup: Setup) -> Bench:
        """The bench of this detector and shard; kept while tasks of the same shard follow, so that what they share
        (pictures, maps, artefacts) is made once."""
        key = (detector.facts.digest, shard, setup.batch_size)
        if self._bench is None or self._bench[0] != key:
            self._bench = (key, self.new_bench(detector, shard, setup))
        return self._bench[1]

    def new_bench(self, detector: Detector, shard: Shard, setup: Setup) -> Bench:
        return Bench(
            detector, _Unchanged(self.use(shard.ref).instance, dict(shard.digests)),
            (*shard.samples, *shard.auxiliary), self.registry,
            seed=setup.seed, batch_size=setup.batch_size, on_passes=self.on_passes, strangers=dict(shard.strangers),
        )  # fmt: skip


@dataclass(frozen=True)
class _Unchanged:
    """A dataset whose pictures must still be those that the plan saw: the keys of the results say so."""

    inner: Dataset
    digests: Mapping[str, str]

    def samples(self) -> Sequence[Sample]:
        return self.inner.samples()

    def problems(self) -> Sequence[Problem]:
        return self.inner.problems()

    def read(self, sample: Sample) -> Native:
        native = self.inner.read(sample)
        if digest_native(native) != self.digests.get(sample.id):
            raise UnreadablePicture(f"{sample.id} changed while the run went on", "give the same command again")
        return native


class Bench:
    """One detector in front of some samples: their pictures, and the maps and artefacts that are known of them.

    Parameters
    ----------
    detector: in front of which the samples are shown.
    dataset: reads them.
    samples: those that can be shown, real counterparts included.
    registry: finds explainers that another one asks for by name.
    seed: of every random stream.
    batch_size: compute batch of every detector call.
    on_passes: told the number of pictures after each call.
    strangers: whose stranger is who, by id.
    """

    def __init__(
        self,
        detector: Detector,
        dataset: Dataset,
        samples: Iterable[Sample],
        registry: Registry,
        *,
        seed: int,
        batch_size: int,
        on_passes: Callable[[int], None] | None = None,
        strangers: Mapping[str, str] | None = None,
    ) -> None:
        self.detector = detector
        self.registry = registry
        self.seed = seed
        self.batch_size = batch_size
        self.on_passes = on_passes
        self._dataset = dataset
        self._samples = {s.id: s for s in samples}
        self._strangers = strangers or {}
        self._pictures: dict[str, Picture] = {}
        self._known: dict[Any, Any] = {}
        self._busy: set[Any] = set()
        self._read: set[str] = set()

    def engine(self) -> ProbeEngine:
        return ProbeEngine(self.detector, self.batch_size, self.on_passes)

    def picture(self, sample_id: str) -> Picture:
        """The sample as this detector sees it. Raises :class:`UnreadablePicture` if the file broke meanwhile."""
        if sample_id not in self._pictures:
            sample = self._samples[sample_id]
            self._pictures[sample_id] = show_picture(
                self._dataset,
                sample,
                self.detector.facts,
                counterpart=lambda: self._other(sample.pair),
                stranger=lambda: self._other(self._strangers.get(sample_id)),
            )
        return self._pictures[sample_id]

    def _other(self, sample_id: str | None) -> Picture | None:
        return self.picture(sample_id) if sample_id is not None and sample_id in self._samples else None

    # ---- programmes ----

    def once(self, key: Any, build: Callable[[], Any]) -> Programme[Any]:
        """Run a programme once for all that ask for it; the others wait for the first."""
        while key not in self._known:
            if key in self._busy:
                yield Wait(lambda: key not in self._busy)
                continue
            self._busy.add(key)
            try:
                result = build()
                self._known[key] = (yield from result) if inspect.isgenerator(result) else result
            finally:
                self._busy.discard(key)
        return self._known[key]

    def explanation(
        self, explainer: Use, picture: Picture, target: int, draw: int, detector: Detector | None = None
    ) -> Programme[Explanation]:
        """The stored form of one map; drawn once for all that ask for it."""
        judge = detector or self.detector
        key = ("map", explainer.name, picture.sample.id, picture.view, draw, target, judge.facts.digest)
        result: Explanation = yield from self.once(key, lambda: self._explain(explainer, picture, target, draw, judge))
        return result

    def remember(self, explainer: str, sample_id: str, target: int, draw: int, explanation: Explanation) -> None:
        """Take a map that is known already, from the store."""
        self._known["map", explainer, sample_id, "", draw, target, self.detector.facts.digest] = explanation

    def remember_artefacts(self, files: Iterable[str]) -> None:
        """Take products that are known already, from files of the ``artefacts`` table."""
        import pyarrow.parquet as pq
        from pyarrow import ArrowInvalid

        for file in files:
            if file not in self._read:
                self._read.add(file)
                try:
                    rows = pq.read_table(file).to_pylist()
                except (OSError, ArrowInvalid) as error:
                    raise broken(Path(file), error) from error
                for row in rows:
                    if row["artefact"]:
                        self._known["artefact", row["artefact"]] = artefact_rows.from_row(row)

    def _explain(
        self, explainer: Use, picture: Picture, target: int, draw: int, detector: Detector
    ) -> Programme[Explanation]:
        def other(spec: str) -> Programme[Explanation]:
            asked = open_component("explainer", spec, registry=self.registry)
            return self.explanation(asked, picture, target, draw, detector)

        control = getattr(explainer.registered.record, "control", False)
        request = ExplainRequest(
            detector=detector,
            picture=picture,
            target=target,
            streams=self.streams(explainer.name, picture, draw, detector if control else None),
            artefacts=self.artefacts(detector),
            explanation_of=other,
        )
        result = explainer.instance.explain(request)
        if inspect.isgenerator(result):
            # whoever runs the programme may have another detector at the ready: a family's first, for example
            result = yield from addressed(cast("Programme[Any]", result), detector)
        height, width = picture.image.shape[1:]
        return map_rows.stored_form(map_rows.check(result, height, width))

    def artefacts(self, detector: Detector | None = None) -> BenchArtefacts:
        """The artefacts of the bench's pictures in front of ``detector`` (None: the bench's own)."""
        return BenchArtefacts(self, detector or self.detector)

    def streams(self, component: str, picture: Picture, repeat: int, detector: Detector | None) -> Streams:
        """Random streams of one component on one picture; ``detector`` only where runs must differ (controls)."""
        judge = detector.facts.digest if detector else ""
        return Streams.of(self.seed, repeat, component, picture.sample.id, picture.view, judge)

    def case(
        self,
        metric: Use,
        explainer: Use,
        explanation: Explanation,
        picture: Picture,
        target: int,
        draw: int,
        clean: Tensor,
    ) -> MapCase:
        """What a metric sees of one map."""
        return MapCase(
            detector=self.detector,
            picture=picture,
            explainer=explainer.name,
            explanation=explanation,
            target=target,
            clean=clean,
            # keyed by the metric alone: every explainer's map of a sample meets the same draws
            streams=self.streams(metric.name, picture, draw, None),
            artefacts=self.artefacts(),
            explain=partial(self._explain_view, explainer, picture, target, draw),
        )

    def _explain_view(
        self,
        explainer: Use,
        picture: Picture,
        clean_target: int,
        draw: int,
        view: View | None = None,
        target: int | None = None,
        detector: Detector | None = None,
    ) -> Programme[Explanation]:
        """``case.explain``: the same explainer on a changed picture; the class stays the clean picture's by default."""
        shown = picture if view is None else apply_view(picture, view)
        return self.explanation(explainer, shown, clean_target if target is None else target, draw, detector)


class BenchArtefacts:
    """Artefacts of one bench and detector: see :class:`xaibench.api.Artefacts`."""

    def __init__(self, bench: Bench, detector: Detector) -> None:
        self._bench, self._detector = bench, detector

    def get(self, artefact: Artefact, picture: Picture) -> Programme[Product]:
        key = artefact_key(artefact, self._detector, picture, self._bench.seed)
        return self._bench.once(("artefact", key), lambda: self._make(artefact, picture))

    def _make(self, artefact: Artefact, picture: Picture) -> Product | Programme[Product]:
        identity = digest([artefact.kind, dict(artefact.parameters())])
        streams = Streams.of(self._bench.seed, 0, f"artefact {artefact.kind} {identity}", picture.digest)
        query = ArtefactQuery(detector=self._detector, picture=picture, streams=streams, artefacts=self)
        made = artefact.make(query)
        return addressed(cast("Programme[Product]", made), self._detector) if inspect.isgenerator(made) else made


def artefact_key(artefact: Artefact, detector: Detector, picture: Picture, seed: int) -> str:
    """What a product is known by: kind, parameters, detector if used, the picture as shown, seed."""
    judge = detector.facts.digest if artefact.uses_detector else ""
    return digest([artefact.kind, dict(artefact.parameters()), judge, picture.digest, seed])
