"""The survey of a dataset: the samples that a run evaluates, in order, with what was found in their pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise

from xaibench.api import (
    Dataset,
    Delay,
    Native,
    NothingToEvaluate,
    Problem,
    Sample,
    UnreadablePicture,
    check_columns,
    name_delay,
)
from xaibench.data.counterparts import Thumbnail, compare, thumbnail
from xaibench.data.doubts import equal_pictures, in_doubt, mask_finding
from xaibench.data.face_size import face_size
from xaibench.data.masks import binarise
from xaibench.data.order import order_samples, select_samples
from xaibench.data.strangers import choose_strangers
from xaibench.data.thumbnail_file import ThumbnailFile


@dataclass(frozen=True, slots=True)
class Known:
    """What an earlier survey found in a picture.

    Parameters
    ----------
    fingerprint: what the dataset said of the picture's files (``Dataset.fingerprint``). It holds for one version of
        the dataset's code.
    digest: digest of the native picture.
    face_size: size of the face in pixels of the native picture (:func:`~xaibench.data.face_size.face_size`).
    pixel_digest: digest of the pixels alone.
    mask_finding: why the mask is in doubt (:func:`~xaibench.data.doubts.mask_finding`), or empty.
    pair: id of the counterpart that it was compared with; None where it was compared with none.
    pair_finding: why that counterpart is in doubt (:func:`~xaibench.data.counterparts.compare`), or empty.
    """

    fingerprint: str
    digest: str
    face_size: float | None = None
    pixel_digest: str = ""
    mask_finding: str = ""
    pair: str | None = None
    pair_finding: str = ""


@dataclass(frozen=True, slots=True)
class Survey:
    """The samples of a run.

    Parameters
    ----------
    samples: the samples in evaluation order. Of those in doubt the mask, and where it is concerned the counterpart, is
        withdrawn (:func:`~xaibench.data.doubts.in_doubt`).
    auxiliary: real counterparts and strangers outside them, by id. They are shown and never scored.
    digests: digests of the native pictures of both, by sample id.
    problems: files that are left out.
    available: number of samples before the limit, without those known to be broken. Samples after the last one that
        is evaluated are not decoded.
    strangers: for each masked fake the id of another one that shares no person with it.
    face_sizes: size of the face in pixels of the native picture, by sample id
        (:func:`~xaibench.data.face_size.face_size`); without those where it is not known.
    fingerprints: fingerprints of the files of all in ``digests``, by sample id; None where the dataset gives none.
    pixel_digests: digests of the pixels alone of all in ``digests``, by sample id.
    mask_findings: why masks are in doubt, by sample id.
    pairs: the counterpart of each fake that was compared with one, by sample id, be it in doubt or not.
    pair_findings: why counterparts are in doubt, by the fake's id.
    """

    samples: tuple[Sample, ...]
    auxiliary: Mapping[str, Sample]
    digests: Mapping[str, str]
    problems: tuple[Problem, ...]
    available: int
    strangers: Mapping[str, str] = field(default_factory=dict)
    face_sizes: Mapping[str, float] = field(default_factory=dict)
    fingerprints: Mapping[str, str | None] = field(default_factory=dict)
    pixel_digests: Mapping[str, str] = field(default_factory=dict)
    mask_findings: Mapping[str, str] = field(default_factory=dict)
    pairs: Mapping[str, str] = field(default_factory=dict)
    pair_findings: Mapping[str, str] = field(default_factory=dict)

    @property
    def doubts(self) -> dict[str, str]:
        """The findings about the samples that are in doubt, by sample id."""
        return {s.id: s.doubt for s in self.samples if s.doubt}

    def by_id(self) -> dict[str, Sample]:
        """All samples by id, auxiliary ones included."""
        return {**{s.id: s for s in self.samples}, **self.auxiliary}

    def known(self) -> dict[str, Known]:
        """What the next survey need not decode: all that have a fingerprint, by sample id."""
        return {
            name: Known(
                fingerprint,
                self.digests[name],
                self.face_sizes.get(name),
                self.pixel_digests[name],
                self.mask_findings.get(name, ""),
                self.pairs.get(name),
                self.pair_findings.get(name, ""),
            )  # fmt: skip
            for name, fingerprint in self.fingerprints.items()
            if fingerprint is not None
        }


class _Reader:
    """Decodes each sample once, and none that is known.

    ``fakes_of`` counts the fakes that are still to be compared with each real picture, whose thumbnail is kept so long.
    A sample is decoded again for a thumbnail where it is known and its counterpart is not, or the other way round.
    """

    def __init__(
        self, dataset: Dataset, known: Mapping[str, Known], name: str, delay: Delay, candidates: Iterable[Sample],
        thumbnails: ThumbnailFile,
    ) -> None:  # fmt: skip
        self._dataset, self._known, self._name, self._delay = dataset, known, name, delay
        self._fakes_of = Counter(s.pair for s in candidates if s.pair)
        self._marked: dict[str, Thumbnail] = {}  # of fakes with a mask, which are compared at once
        self._plain = thumbnails
        self._unchanged: set[str] = set()
        self._fingerprint: Callable[[Sample], str | None] = getattr(dataset, "fingerprint", lambda sample: None)
        self.digests: dict[str, str] = {}
        self.face_sizes: dict[str, float] = {}
        self.fingerprints: dict[str, str | None] = {}
        self.problems: dict[str, Problem] = {}
        self.pixel_digests: dict[str, str] = {}
        self.mask_findings: dict[str, str] = {}
        self.pairs: dict[str, str] = {}
        self.pair_findings: dict[str, str] = {}

    def is_readable(self, sample: Sample) -> bool:
        if sample.id not in self.digests and sample.id not in self.problems:
            self._delay.text = f"reading {self._name}, after {len(self.digests):,} pictures at {sample.id}"
            try:
                self._read(sample)
            except UnreadablePicture as error:
                self.problems[sample.id] = Problem(sample.id, error.what)
        return sample.id in self.digests

    def _read(self, sample: Sample) -> None:
        # Before the file is decoded: a file that changes meanwhile is decoded again next time.
        fingerprint = self._fingerprint(sample)
        known = self._known.get(sample.id)
        if known is None or fingerprint is None or known.fingerprint != fingerprint:
            known = self._decoded(sample, fingerprint or "")
        if (before := self._known.get(sample.id)) is not None and before.digest == known.digest:
            self._unchanged.add(sample.id)
        self.digests[sample.id] = known.digest
        self.pixel_digests[sample.id] = known.pixel_digest
        if known.mask_finding:
            self.mask_findings[sample.id] = known.mask_finding
        self.fingerprints[sample.id] = fingerprint
        if known.face_size is not None:
            self.face_sizes[sample.id] = known.face_size

    def _decoded(self, sample: Sample, fingerprint: str) -> Known:
        from xaibench.api import check_native, digest_pixels

        native = self._dataset.read(sample)
        check_native(native, sample)
        if sample.pair in self._fakes_of or sample.id in self._fakes_of:
            self._keep_thumbnail(sample, native)
        pixels, whole = digest_pixels(native)
        return Known(fingerprint, whole, face_size(native), pixels, mask_finding(native, sample))

    def compare(self, fake: Sample, real: Sample) -> None:
        """Compare a fake with its counterpart; both are readable."""
        self.pairs[fake.id] = real.id
        known = self._known.get(fake.id)
        if known is not None and known.pair == real.id and {fake.id, real.id} <= self._unchanged:
            finding = known.pair_finding
        elif self.pixel_digests[fake.id] == self.pixel_digests[real.id]:
            finding = "identical to the fake"
        else:
            finding = compare(self._thumbnail(fake), self._thumbnail(real))
        if finding:
            self.pair_findings[fake.id] = finding
        self.drop_thumbnail(fake.id)
        self._fakes_of[real.id] -= 1
        if self._fakes_of[real.id] == 0:
            del self._fakes_of[real.id]
            self.drop_thumbnail(real.id)

    def end_comparing(self) -> None:
        """Keep no thumbnails any more."""
        self._fakes_of.clear()
        self._marked.clear()
        self._plain.clear()

    def _thumbnail(self, sample: Sample) -> Thumbnail:
        if sample.id not in self._marked and sample.id not in self._plain:
            self._keep_thumbnail(sample, self._dataset.read(sample))
        return self._marked.get(sample.id) or Thumbnail(self._plain.pixels(sample.id))

    def _keep_thumbnail(self, sample: Sample, native: Native) -> None:
        marked = binarise(native.mask) if sample.label == "fake" and native.mask is not None else None
        made = thumbnail(native.pixels, marked)
        if made.share is not None:
            self._marked[sample.id] = made
        else:
            self._plain.keep(sample.id, made.pixels)

    def drop_thumbnail(self, name: str) -> None:
        self._marked.pop(name, None)
        self._plain.drop(name)


def survey(
    dataset: Dataset,
    name: str,
    *,
    seed: int,
    split: str | None = None,
    methods: Sequence[str] = (),
    limit: int | None = None,
    strangers: bool = False,
    known: Mapping[str, Known] | None = None,
) -> Survey:
    """Select, order and decode the samples of a dataset. Broken files become problems of the survey.

    Parameters
    ----------
    dataset: the dataset.
    name: its name in messages.
    seed: seed of the order and of the strangers.
    split: only samples of this split.
    methods: only fakes of these methods, and the real pictures; empty: all.
    limit: the number of samples; None: all.
    strangers: whether each masked fake gets a stranger.
    known: what an earlier survey with the same code found (:meth:`Survey.known`), by sample id. A sample whose
        fingerprint is the known one is not decoded. A file that could not be read is not known and is tried again.

    Raises :class:`NothingToEvaluate` where no sample is left, or no fake of a dataset that has some, and
    :class:`DatasetError` for further columns that make up no table.
    """
    with name_delay(f"listing {name}") as delay, ThumbnailFile() as thumbnails:
        listed = dataset.samples()
        check_columns(listed, name)
        candidates = select_samples(listed, split, methods)
        by_id = {s.id: s for s in listed}
        reader = _Reader(dataset, known or {}, name, delay, candidates, thumbnails)
        samples: list[Sample] = []
        auxiliary: dict[str, Sample] = {}
        order = order_samples(candidates, seed)
        expect: Callable[[Iterable[Sample]], None] = getattr(dataset, "expect", lambda samples: None)
        expect(_unknown(order, by_id, known or {}))
        for sample in order:
            if limit is not None and len(samples) >= limit:
                break
            if not reader.is_readable(sample):
                continue
            pair = by_id.get(sample.pair) if sample.pair else None
            if pair is not None and reader.is_readable(pair):
                auxiliary[pair.id] = pair
                reader.compare(sample, pair)
            elif sample.pair:
                reader.drop_thumbnail(sample.id)
                sample = replace(sample, pair=None)
            samples.append(sample)
        expect(())  # those after the limit need not be held
        _refuse_empty(name, samples, candidates, [*dataset.problems(), *reader.problems.values()])
        reader.end_comparing()
        samples, auxiliary = _withdrawn(samples, auxiliary, reader)
        undoubted = partial(_undoubted, reader=reader, doubted=frozenset(s.id for s in samples if s.doubt))
        stranger_ids = choose_strangers(samples, candidates, seed, undoubted) if strangers else {}
        auxiliary |= {stranger: by_id[stranger] for stranger in stranger_ids.values()}
    ids = {s.id for s in samples}
    return Survey(
        samples=tuple(samples),
        auxiliary={i: s for i, s in auxiliary.items() if i not in ids},
        digests=reader.digests,
        problems=(*dataset.problems(), *reader.problems.values()),
        available=len(candidates) - len(reader.problems),
        strangers=stranger_ids,
        face_sizes=reader.face_sizes,
        fingerprints=reader.fingerprints,
        pixel_digests=reader.pixel_digests,
        mask_findings=reader.mask_findings,
        pairs=reader.pairs,
        pair_findings=reader.pair_findings,
    )


def _unknown(order: Iterable[Sample], by_id: Mapping[str, Sample], known: Container[str]) -> Iterator[Sample]:
    """The samples that no earlier survey knows, each before its counterpart and each once."""
    told = set[str]()
    for sample in order:
        for name in filter(None, (sample.id, sample.pair)):
            if name in by_id and name not in told and name not in known:
                told.add(name)
                yield by_id[name]


def _undoubted(sample: Sample, reader: _Reader, doubted: Collection[str]) -> bool:
    """Whether a sample can be read and nothing is found against it, so that it can stand in for a stranger."""
    doubt = sample.doubt or sample.id in doubted
    return not doubt and reader.is_readable(sample) and sample.id not in reader.mask_findings


def _withdrawn(
    samples: Sequence[Sample], auxiliary: Mapping[str, Sample], reader: _Reader
) -> tuple[list[Sample], dict[str, Sample]]:
    """The samples and those that are only shown, with their findings."""
    everything = {**auxiliary, **{s.id: s for s in samples}}
    equal = equal_pictures(everything.values(), reader.pixel_digests)

    def with_findings(sample: Sample) -> Sample:
        mask, pair = reader.mask_findings.get(sample.id, ""), reader.pair_findings.get(sample.id, "")
        return in_doubt(sample, mask, pair, equal.get(sample.id, ()))

    return [with_findings(s) for s in samples], {i: with_findings(s) for i, s in auxiliary.items()}


def _refuse_empty(
    name: str, samples: Sequence[Sample], candidates: Sequence[Sample], problems: Sequence[Problem]
) -> None:
    if not samples:
        first = f"; first problem: {problems[0].file}: {problems[0].reason}" if problems else ""
        raise NothingToEvaluate(f"{name} has no readable sample ({len(candidates)} listed){first}", "check the folder")
    fakes = {s.id for s in candidates if s.label == "fake"}
    if all(s.label == "real" for s in samples) and fakes:
        lost = next((f": {p.file}: {p.reason}" for p in problems if p.file in fakes), "")
        raise NothingToEvaluate(
            f"no fake among the {len(samples)} readable samples of {name} that were chosen, though it has some{lost}",
            "raise --limit, or mend the fakes that cannot be read",
        )


def slices(count: int, size: int, cuts: Sequence[int] = ()) -> list[tuple[int, int]]:
    """Slices of ``count`` samples, cut at every multiple of ``size`` and at earlier limits, ``cuts``.

    A raised limit only adds slices. ``slices(10, 4, [6])`` -> (0, 4) (4, 6) (6, 8) (8, 10).
    """
    points = sorted({*range(0, count, size), *(c for c in cuts if 0 < c < count), count})
    return list(pairwise(points))
