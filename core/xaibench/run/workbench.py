"""What a worker keeps between tasks: the registry, opened components, and the pictures and maps of some samples."""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, cast

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
from xaibench.detector.engine import ProbeEngine, Watch
from xaibench.detector.torch_settings import prepare_torch
from xaibench.detector.worker_gpu import take_own_gpu
from xaibench.discovery.components import Ref, Use, open_component, resolve
from xaibench.discovery.process_state import ProcessState
from xaibench.discovery.registry import Registry, load_registry
from xaibench.plan.engines import with_engine
from xaibench.plan.tasks import OWN, Chunk, DetectorRef, Setup
from xaibench.run.board import Board, Supervision
from xaibench.run.custody import Custody, NetworkCustody
from xaibench.store import artefact_rows, map_rows
from xaibench.store.files import Files, location_of, open_files

if TYPE_CHECKING:
    from torch import Tensor

Made = tuple[frozenset[str], frozenset[Any]]


class Workbench:
    """The opened components of one process.

    ``keep`` detectors stay loaded; the least recently used one is dropped first. ``on_passes`` is called with the
    number of pictures after each detector call.
    """

    def __init__(
        self, setup: Setup, registry: Registry | None = None, keep: int = 1, board: Board | None = None
    ) -> None:
        self.setup = setup
        self.keep = keep
        self.supervision = Supervision(board or Board(), setup.time_limit)
        self.on_passes: Callable[[int], None] | None = None
        self._registry = registry
        self._detectors: OrderedDict[DetectorRef, Detector] = OrderedDict()
        self._uses: dict[Ref, Use] = {}
        self._networks: dict[str, NetworkCustody] = {}
        self._bench: tuple[Any, Bench] | None = None
        take_own_gpu(setup.runtime.device)
        prepare_torch(setup.runtime.threads, setup.runtime.device)

    @cached_property
    def registry(self) -> Registry:
        return self._registry or load_registry(self.setup.plugins, self.setup.without)

    def use(self, ref: Ref) -> Use:
        """The component of a reference, built once."""
        if ref not in self._uses:
            self._uses[ref] = resolve(self.registry, ref)
        return self._uses[ref]

    def add_detector(self, ref: DetectorRef, detector: Detector) -> None:
        """Add a detector that is open already."""
        self._detectors[ref] = detector

    def detector(self, ref: DetectorRef) -> Detector:
        """The opened detector. Raises :class:`ModelError` where it is not the one that was planned."""
        if ref not in self._detectors:
            detector = self.use(ref.ref).open(ref.inner, self.setup.runtime)
            if detector.facts.digest != ref.digest:
                raise ModelError(
                    f"detector {ref.model} {ref.member} is not the one that was planned: its digest is "
                    f"{detector.facts.digest[:12]}, the plan's {ref.digest[:12]}",
                    "the file changed during the run: start the run again",
                )
            if ref.engine != OWN:
                detector = with_engine(detector, ref.engine, self.setup.runtime)
            self._detectors[ref] = detector
        self._detectors.move_to_end(ref)
        while len(self._detectors) > self.keep:
            _, dropped = self._detectors.popitem(last=False)
            self._networks.pop(dropped.facts.digest, None)
        return self._detectors[ref]

    def bench(self, ref: DetectorRef, chunk: Chunk, setup: Setup) -> Bench:
        """The bench of a detector and some samples. The last one is kept, so that successive tasks on the same samples
        share pictures, maps and artefacts."""
        key = (ref, chunk, setup.batch_size)
        if self._bench is None or self._bench[0] != key:
            self._bench = None  # so that the pictures of two benches are never held at once
            self._bench = (key, self.new_bench(ref, chunk, setup))
        return self._bench[1]

    def new_bench(self, ref: DetectorRef, chunk: Chunk, setup: Setup) -> Bench:
        """A new bench of a detector and some samples."""
        detector, dataset = self.detector(ref), self.use(chunk.ref)
        if dataset.registered.built_in and (expect := getattr(dataset.instance, "expect", None)):
            expect(chunk.samples)  # not of a third party: what it changes meanwhile would be laid to another's charge
        return Bench(
            detector,
            VerifiedDataset(
                dataset.instance, dict(chunk.digests), "" if dataset.registered.built_in else chunk.dataset
            ),
            (*chunk.samples, *chunk.auxiliary),
            self.registry,
            seed=setup.seed,
            batch_size=setup.batch_size,
            on_passes=self.on_passes,
            strangers=dict(chunk.strangers),
            files=open_files(location_of(setup.location)),
            supervision=self.supervision,
            network=partial(self.network, detector),
            foreign_detector="" if self.use(ref.ref).registered.built_in else ref.model,
        )

    def network(self, detector: Detector) -> NetworkCustody:
        """The copies of what a detector computes with, made when a component of a third party first runs on it."""
        digest = detector.facts.digest
        if digest not in self._networks:
            self._networks[digest] = NetworkCustody(detector)
        return self._networks[digest]


@dataclass(frozen=True)
class VerifiedDataset:
    """A dataset that refuses a picture whose digest is not the planned one, on which the validity of rows rests.

    ``foreign`` is its name where it comes from a third party: what reading changes of the process is set back then, and
    the picture refused.
    """

    inner: Dataset
    digests: Mapping[str, str]
    foreign: str = ""

    def samples(self) -> Sequence[Sample]:
        return self.inner.samples()

    def problems(self) -> Sequence[Problem]:
        return self.inner.problems()

    def read(self, sample: Sample) -> Native:
        native = self._read_foreign(sample) if self.foreign else self.inner.read(sample)
        if digest_native(native) != self.digests.get(sample.id):
            raise UnreadablePicture(f"{sample.id} changed while the run went on", "give the same command again")
        return native

    def _read_foreign(self, sample: Sample) -> Native:
        before = ProcessState.take()
        try:
            native = self.inner.read(sample)
        finally:
            changed = before.changes()
            if changed:
                before.restore()
        if changed:
            what = f"dataset {self.foreign} changed {', '.join(changed[:3])} while it read {sample.id}"
            raise UnreadablePicture(what, "tell its author")
        return native


class Bench:
    """One detector and some samples: the pictures as the detector sees them, their maps and their artefacts.

    Pictures, maps and artefacts are computed once.

    Parameters
    ----------
    detector: the detector that sees the samples.
    dataset: reads the samples.
    samples: the samples that can be shown, real counterparts and strangers included.
    registry: finds the explainers whose maps another explainer uses.
    seed: seed of every random stream.
    batch_size: pictures in every detector call.
    on_passes: called with the number of pictures after each detector call.
    strangers: id of the stranger of a sample, by sample id.
    files: the folder of the run, where maps and artefacts are read from it.
    supervision: how components of third parties are looked after.
    network: makes the custody of the detector; it is called where a component of a third party runs.
    foreign_detector: the name of the detector where it comes from a third party.
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
        files: Files | None = None,
        supervision: Supervision | None = None,
        network: Callable[[], NetworkCustody] | None = None,
        foreign_detector: str = "",
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
        self._results: dict[Any, Any] = {}
        self._in_progress: set[Any] = set()
        self._files = files
        self._artefact_files: set[str] = set()
        self.supervision = supervision or Supervision()
        self.foreign_detector = foreign_detector
        self.network = network or partial(NetworkCustody, detector)
        self._custody: Custody | None = None

    def engine(self, watch: Watch | None = None) -> ProbeEngine:
        """A new engine for programmes on this detector."""
        return ProbeEngine(self.detector, self.batch_size, self.on_passes, watch)

    def picture(self, sample_id: str) -> Picture:
        """The sample as this detector sees it. Raises :class:`UnreadablePicture` where the file broke meanwhile."""
        if sample_id not in self._pictures:
            self._pictures[sample_id] = picture = self.show(sample_id)
            if self._custody is not None:
                self._custody.hold(_tensors_of_picture(picture))
        return self._pictures[sample_id]

    # ---- components of third parties ----

    def is_foreign(self, use: Use) -> bool:
        """Whether a component, or one whose maps it asks for, comes from a third party."""
        if not use.registered.built_in:
            return True
        depends = getattr(use.instance, "depends", ())
        return any(self.is_foreign(open_component("explainer", spec, registry=self.registry)) for spec in depends)

    def custody(self) -> Custody:
        """Copies of the detector's weights and of everything on this bench that components are handed."""
        if self._custody is None:
            self._custody = Custody(self.network())
        for picture in self._pictures.values():
            self._custody.hold(_tensors_of_picture(picture))
        for result in self._results.values():
            self._custody.hold(_tensors_of_result(result))
        return self._custody

    def made(self) -> Made:
        """The keys of what is on the bench."""
        return frozenset(self._pictures), frozenset(self._results)

    def forget_all_but(self, made: Made) -> None:
        """Drop what was made since: it may rest on something that a component had changed."""
        pictures, results = made
        self._pictures = {key: value for key, value in self._pictures.items() if key in pictures}
        self._results = {key: value for key, value in self._results.items() if key in results}
        self._in_progress.clear()

    def show(self, sample_id: str) -> Picture:
        """The same, decoded anew and not held."""
        sample = self._samples[sample_id]
        return show_picture(
            self._dataset,
            sample,
            self.detector.facts,
            counterpart=lambda: self._optional_picture(sample.pair),
            stranger=lambda: self._optional_picture(self._strangers.get(sample_id)),
        )

    def _optional_picture(self, sample_id: str | None) -> Picture | None:
        return self.picture(sample_id) if sample_id is not None and sample_id in self._samples else None

    # ---- programmes ----

    def once(self, key: Any, build: Callable[[], Any]) -> Programme[Any]:
        """The result with this key, which ``build`` gives as a value or a programme. It is computed once."""
        while key not in self._results:
            if key in self._in_progress:
                # Another programme computes it. It may fail, and then this one takes over.
                yield Wait(lambda: key not in self._in_progress)
                continue
            self._in_progress.add(key)
            try:
                result = build()
                self._results[key] = (yield from result) if inspect.isgenerator(result) else result
                if self._custody is not None:
                    self._custody.hold(_tensors_of_result(self._results[key]))
            finally:
                self._in_progress.discard(key)
        return self._results[key]

    def explanation(
        self, explainer: Use, picture: Picture, target: int, draw: int, detector: Detector | None = None
    ) -> Programme[Explanation]:
        """The stored form of one map. ``detector`` None is that of the bench."""
        explained = detector or self.detector
        key = ("map", explainer.name, picture.sample.id, picture.view, draw, target, explained.facts.digest)
        result: Explanation = yield from self.once(
            key, lambda: self._explain(explainer, picture, target, draw, explained)
        )
        return result

    def remember(self, explainer: str, sample_id: str, target: int, draw: int, explanation: Explanation) -> None:
        """Add a map from the store."""
        self._results["map", explainer, sample_id, "", draw, target, self.detector.facts.digest] = explanation

    def remember_artefacts(self, files: Iterable[str]) -> None:
        """Add the products in files of the ``artefacts`` table. A file is read once."""
        new = [f for f in files if f not in self._artefact_files]
        self._artefact_files.update(new)
        for row in self.stored_rows(new, None, list(self._samples)):
            if row["artefact"]:
                self._results["artefact", row["artefact"]] = artefact_rows.from_row(row)

    def stored_rows(self, files: Sequence[str], cell: str | None, samples: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Rows of some samples in files of the run, of one cell or of all."""
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        chosen = pc.field("sample").isin(list(samples))
        if cell is not None:
            chosen &= pc.field("cell") == cell
        for name in files:
            assert self._files is not None, "a bench without a folder reads no files"
            with self._files.open(name) as file:
                yield from pq.read_table(file, filters=chosen).to_pylist()

    def _explain(
        self, explainer: Use, picture: Picture, target: int, draw: int, detector: Detector
    ) -> Programme[Explanation]:
        def explanation_of(spec: str) -> Programme[Explanation]:
            other = open_component("explainer", spec, registry=self.registry)
            return self.explanation(other, picture, target, draw, detector)

        control = getattr(explainer.registered.record, "control", False)
        request = ExplainRequest(
            detector=detector,
            picture=picture,
            target=target,
            streams=self.streams(explainer.name, picture, draw, detector if control else None),
            artefacts=self.artefacts(detector),
            explanation_of=explanation_of,
        )
        result = explainer.instance.explain(request)
        if inspect.isgenerator(result):
            # The engine that runs the programme may be that of another detector, such as a family's first member.
            result = yield from addressed(cast("Programme[Any]", result), detector)
        height, width = picture.image.shape[1:]
        return map_rows.stored_form(map_rows.check(result, height, width))

    def artefacts(self, detector: Detector | None = None) -> BenchArtefacts:
        """Artefacts of the pictures for a detector. None is that of the bench."""
        return BenchArtefacts(self, detector or self.detector)

    def streams(self, component: str, picture: Picture, repeat: int, detector: Detector | None) -> Streams:
        """Random streams of one component on one picture. ``detector`` is given for controls, whose draws must differ
        between training runs."""
        key = detector.facts.digest if detector else ""
        return Streams.of(self.seed, repeat, component, picture.sample.id, picture.view, key)

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
        """The case that a metric receives of one map."""
        return MapCase(
            detector=self.detector,
            picture=picture,
            explainer=explainer.name,
            explanation=explanation,
            target=target,
            clean=clean,
            # The key holds the metric and not the explainer: all maps of a sample are scored with the same draws.
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
        """``case.explain``: the map of a view by the same explainer. The target is that of the clean picture by
        default."""
        shown = picture if view is None else apply_view(picture, view)
        return self.explanation(explainer, shown, clean_target if target is None else target, draw, detector)


def _tensors_of_picture(picture: Picture) -> Iterator[tuple[str, Tensor | None]]:
    name = picture.sample.id
    yield f"the picture of {name}", picture.image
    yield f"the mask of {name}", picture.mask
    yield f"the landmarks of {name}", picture.landmarks


def _tensors_of_result(result: Any) -> Iterator[tuple[str, Tensor | None]]:
    if isinstance(result, Explanation):
        yield from (("a map", t) for t in (result.map, result.native_map, result.segment_weights))
    elif isinstance(result, Product):
        yield from ((f"a tensor of an artefact ({name})", tensor) for name, tensor in result.tensors.items())


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
        product = artefact.make(query)
        if inspect.isgenerator(product):
            return addressed(cast("Programme[Product]", product), self._detector)
        return product


def artefact_key(artefact: Artefact, detector: Detector, picture: Picture, seed: int) -> str:
    """Key of a product: digest of kind, parameters, detector (where it is used), picture as shown, and seed."""
    key = detector.facts.digest if artefact.uses_detector else ""
    return digest([artefact.kind, dict(artefact.parameters()), key, picture.digest, seed])
