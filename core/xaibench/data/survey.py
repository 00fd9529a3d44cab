"""The survey of a dataset: the samples that a run evaluates, in order, and the digests of their pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from xaibench.api import (
    Dataset,
    Delay,
    NothingToEvaluate,
    Problem,
    Sample,
    UnreadablePicture,
    check_columns,
    name_delay,
)
from xaibench.data.face_size import face_size
from xaibench.data.order import order_samples, select_samples
from xaibench.data.strangers import choose_strangers


@dataclass(frozen=True, slots=True)
class Known:
    """What an earlier survey found in a picture.

    Parameters
    ----------
    fingerprint: what the dataset said of the picture's files (``Dataset.fingerprint``). It holds for one version of
        the dataset's code.
    digest: digest of the native picture.
    face_size: size of the face in pixels of the native picture (:func:`~xaibench.data.face_size.face_size`).
    """

    fingerprint: str
    digest: str
    face_size: float | None = None


@dataclass(frozen=True, slots=True)
class Survey:
    """The samples of a run.

    Parameters
    ----------
    samples: the samples in evaluation order.
    auxiliary: real counterparts and strangers outside them, by id. They are shown and never scored.
    digests: digests of the native pictures of both, by sample id.
    problems: files that are left out.
    available: number of samples before the limit, without those known to be broken. Samples after the last one that
        is evaluated are not decoded.
    strangers: for each masked fake the id of another one that shares no person with it.
    face_sizes: size of the face in pixels of the native picture, by sample id
        (:func:`~xaibench.data.face_size.face_size`); without those where it is not known.
    fingerprints: fingerprints of the files of all in ``digests``, by sample id; None where the dataset gives none.
    """

    samples: tuple[Sample, ...]
    auxiliary: Mapping[str, Sample]
    digests: Mapping[str, str]
    problems: tuple[Problem, ...]
    available: int
    strangers: Mapping[str, str] = field(default_factory=dict)
    face_sizes: Mapping[str, float] = field(default_factory=dict)
    fingerprints: Mapping[str, str | None] = field(default_factory=dict)

    def by_id(self) -> dict[str, Sample]:
        """All samples by id, auxiliary ones included."""
        return {**{s.id: s for s in self.samples}, **self.auxiliary}

    def known(self) -> dict[str, Known]:
        """What the next survey need not decode: all that have a fingerprint, by sample id."""
        return {
            name: Known(fingerprint, self.digests[name], self.face_sizes.get(name))
            for name, fingerprint in self.fingerprints.items()
            if fingerprint is not None
        }


class _Reader:
    """Decodes each sample at most once, and none that is known."""

    def __init__(self, dataset: Dataset, known: Mapping[str, Known], name: str, delay: Delay) -> None:
        self._dataset, self._known, self._name, self._delay = dataset, known, name, delay
        self._fingerprint: Callable[[Sample], str | None] = getattr(dataset, "fingerprint", lambda sample: None)
        self.digests: dict[str, str] = {}
        self.face_sizes: dict[str, float] = {}
        self.fingerprints: dict[str, str | None] = {}
        self.problems: dict[str, Problem] = {}

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
        self.digests[sample.id] = known.digest
        self.fingerprints[sample.id] = fingerprint
        if known.face_size is not None:
            self.face_sizes[sample.id] = known.face_size

    def _decoded(self, sample: Sample, fingerprint: str) -> Known:
        from xaibench.api import check_native, digest_native

        native = self._dataset.read(sample)
        check_native(native, sample)
        return Known(fingerprint, digest_native(native), face_size(native))


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

    Raises :class:`NothingToEvaluate` where no sample, or no fake, is left, and :class:`DatasetError` for further
    columns that make up no table.
    """
    with name_delay(f"listing {name}") as delay:
        listed = dataset.samples()
        check_columns(listed, name)
        candidates = select_samples(listed, split, methods)
        by_id = {s.id: s for s in listed}
        reader = _Reader(dataset, known or {}, name, delay)
        samples: list[Sample] = []
        auxiliary: dict[str, Sample] = {}
        for sample in order_samples(candidates, seed):
            if limit is not None and len(samples) >= limit:
                break
            if not reader.is_readable(sample):
                continue
            pair = by_id.get(sample.pair) if sample.pair else None
            if pair is not None and reader.is_readable(pair):
                auxiliary[pair.id] = pair
            elif sample.pair:
                sample = replace(sample, pair=None)
            samples.append(sample)
        _refuse_empty(name, samples, candidates, [*dataset.problems(), *reader.problems.values()])
        stranger_ids = choose_strangers(samples, candidates, seed, reader.is_readable) if strangers else {}
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
    )


def _refuse_empty(
    name: str, samples: Sequence[Sample], candidates: Sequence[Sample], problems: Sequence[Problem]
) -> None:
    if not samples:
        first = f"; first problem: {problems[0].file}: {problems[0].reason}" if problems else ""
        raise NothingToEvaluate(f"{name} has no readable sample ({len(candidates)} listed){first}", "check the folder")
    if all(s.label == "real" for s in samples):
        raise NothingToEvaluate(
            f"no fake among the {len(samples)} readable samples of {name} that were chosen: nothing can be judged",
            "add manipulated pictures (label fake), or raise --limit",
        )


def slices(count: int, size: int, cuts: Sequence[int] = ()) -> list[tuple[int, int]]:
    """Slices of ``count`` samples, cut at every multiple of ``size`` and at earlier limits, ``cuts``.

    A raised limit only adds slices. ``slices(10, 4, [6])`` -> (0, 4) (4, 6) (6, 8) (8, 10).
    """
    points = sorted({*range(0, count, size), *(c for c in cuts if 0 < c < count), count})
    return list(pairwise(points))
