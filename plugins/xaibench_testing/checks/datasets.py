"""What every data set must hold to. Checks take a data set and raise :class:`ContractViolation`; those that decode
look at :data:`LOOKED_AT` samples, evenly spread."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from xaibench.api import (
    Dataset,
    DatasetError,
    Native,
    Sample,
    UnreadablePicture,
    check_columns,
    check_native,
    digest_native,
)
from xaibench_testing.violations import ContractViolation, require

LOOKED_AT = 12


@dataclass(frozen=True, slots=True)
class DatasetCheck:
    """A named check of a data set."""

    name: str
    run: Callable[[Dataset], None]


def check_samples(dataset: Dataset) -> None:
    """There are samples with ids of their own, groups and labels; fakes have a method, real pictures none."""
    samples = dataset.samples()
    require(len(samples) > 0, "the data set lists no samples")
    ids = [s.id for s in samples]
    require(len(set(ids)) == len(ids), "two samples have one id")
    for s in samples:
        require(bool(s.id.strip()), "a sample has an empty id")
        require(s.label in ("real", "fake"), f"{s.id}: label '{s.label}'")
        require(bool(s.group), f"{s.id} has no group")
        require(s.label == "fake" or s.method is None, f"{s.id} is real and has the method '{s.method}'")
        require(s.label == "real" or bool(s.method), f"{s.id} is fake and has no method")
    try:
        check_columns(samples, "the data set")
    except DatasetError as error:
        raise ContractViolation(error.what) from None


def check_listing(dataset: Dataset) -> None:
    """Listed twice, the samples are the same in the same order; problems have a file and a reason."""
    first = list(dataset.samples())
    require(list(dataset.samples()) == first, "listed again, the samples differ")
    for problem in dataset.problems():
        require(bool(problem.file) and bool(problem.reason), f"a problem without file or reason: {problem}")


def check_pairs(dataset: Dataset) -> None:
    """A counterpart is a real sample of the same data set and in the same statistical group."""
    known = {s.id: s for s in dataset.samples()}
    for s in known.values():
        if s.pair is None:
            continue
        require(s.label == "fake", f"{s.id} is real and has a counterpart")
        require(s.pair in known, f"{s.id}: its counterpart '{s.pair}' is not in the data set")
        real = known[s.pair]
        require(real.label == "real", f"{s.id}: its counterpart '{s.pair}' is not real")
        shared = {s.group, s.cross_group} & {real.group, real.cross_group} - {None}
        require(bool(shared), f"{s.id}: its counterpart '{s.pair}' is in another group")


def check_reading(dataset: Dataset) -> None:
    """A sample decodes to uint8 ``(H, W, 3)`` with mask and landmarks that fit, the same bytes each time."""
    for sample, native in _natives(dataset):
        try:
            check_native(native, sample)
        except UnreadablePicture as error:
            raise ContractViolation(f"read() let a bad picture through: {error.what}") from None
        again = digest_native(dataset.read(sample))
        require(digest_native(native) == again, f"{sample.id}: read again, the bytes differ")


def check_claims(dataset: Dataset) -> None:
    """A sample has a mask, and landmarks, exactly where it says so."""
    for sample, native in _natives(dataset):
        for what, claimed, there in (
            ("mask", sample.has_mask, native.mask is not None),
            ("landmarks", sample.has_landmarks, native.landmarks is not None),
        ):
            gives = "one" if there else "none"
            require(claimed == there, f"{sample.id}: has_{what} is {claimed}, but read() gives {gives}")


def check_fingerprint(dataset: Dataset) -> None:
    """What tells whether a sample must be decoded again, if there is such a method, is text or None, and repeatable."""
    fingerprint = getattr(dataset, "fingerprint", None)
    if fingerprint is None:
        return
    for sample, _ in _natives(dataset):
        first = fingerprint(sample)
        require(first is None or isinstance(first, str), f"{sample.id}: fingerprint() gives {type(first).__name__}")
        require(fingerprint(sample) == first, f"{sample.id}: asked again, fingerprint() gives another one")


def check_mutation(dataset: Dataset) -> None:
    """What a reader does to the arrays that it was given does not come back."""
    for sample, native in _natives(dataset):
        before = digest_native(native)
        if native.pixels.flags.writeable:
            native.pixels[...] = 255 - native.pixels
        require(digest_native(dataset.read(sample)) == before, f"{sample.id}: read() hands out an array that it keeps")
        return


def _natives(dataset: Dataset) -> Iterator[tuple[Sample, Native]]:
    """Decoded samples, evenly spread; unreadable ones are passed over, but not all of them."""
    samples = dataset.samples()
    picks = sorted({round(i) for i in np.linspace(0, len(samples) - 1, min(LOOKED_AT, len(samples)))})
    read = 0
    reason = ""
    for index in picks:
        try:
            native = dataset.read(samples[index])
        except UnreadablePicture as error:
            reason = error.what
            continue
        read += 1
        yield samples[index], native
    require(read > 0, f"none of {len(picks)} samples can be read: {reason}")


CHECKS = tuple(
    DatasetCheck(f.__name__.removeprefix("check_"), f)
    for f in (check_samples, check_listing, check_pairs, check_reading, check_claims, check_fingerprint, check_mutation)
)
