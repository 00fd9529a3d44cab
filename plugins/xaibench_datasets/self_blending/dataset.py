"""The dataset ``self-blend``: another dataset's real faces, and pseudo-fakes made of them as they are read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import PIL
import scipy
import skimage
from pydantic import Field

from xaibench.api import (
    Dataset,
    DatasetError,
    Native,
    Parameters,
    Problem,
    Sample,
    Streams,
    UnreadablePicture,
    UsageError,
    check_native,
    digest,
)
from xaibench_datasets.files import ListedDataset
from xaibench_datasets.self_blending.augment import augment
from xaibench_datasets.self_blending.blend import Recipe, draw_recipe, self_blend
from xaibench_datasets.self_blending.regions import NoRegion

METHOD = "self_blend"
TARGET = "augmented"
_VERSIONS = ", ".join(f"{library.__name__} {library.__version__}" for library in (np, PIL, scipy, skimage))


class SelfBlendParameters(Parameters):
    """Which real faces are blended with themselves, how often, and how."""

    of: str = Field("", description="folder or dataset of real faces with landmarks, e.g. (demo:identities=8)")
    seed: int = Field(0, ge=0, description="other seeds give other pseudo-fakes")
    draws: int = Field(1, ge=1, le=10_000, description="pseudo-fakes of each real picture")
    split: str = Field("", description="take the real pictures of this split only; empty: all")
    augment: Literal["either", "source"] = Field(
        "either",
        description="the copy that is augmented: either, as published (a target that is becomes a real sample of "
        "its own), or always the source",
    )


@dataclass(frozen=True, slots=True)
class _Entry:
    """A sample, and the real one and the draw that it is made of; ``draw`` is None for the real picture itself."""

    sample: Sample
    real: Sample
    draw: int | None = None
    into_augmented: bool = False


class SelfBlendDataset:
    """Self-blended images (Shiohara & Yamasaki, *Detecting Deepfakes with Self-Blended Images*, CVPR 2022).

    Of a real picture two copies are taken and one, the source or the target, is changed in colour and sharpness. The
    source is scaled and moved a little and blended into the target through the convex hull of the landmarks (or of a
    part of them), deformed, eroded or dilated, and softened: ``target + ratio mask (source - target)``, ratio one of
    .25, .5, .75, 1, 1, 1. The sample's mask is ``ratio mask``, float32: where it is 0, the fake is its counterpart to
    the bit.

    Samples are the real pictures of ``of`` that have landmarks, under their own ids; ``self_blend/DRAW/ID`` for each
    draw; and, where a draw augmented the target, ``augmented/DRAW/ID``, that target: a real sample and the counterpart
    of the fake, as in the published training, so that traces of augmentation do not give the label away. Group, crossed
    group and split are the real picture's. Fakes of ``of`` are passed over. A draw depends on (seed, id, number) alone.

    Pictures without landmarks are left out, real or not: left in, a missing face would mean *real*. Errors:
    :class:`DatasetError` for no dataset, no real picture, no landmarks, or a dataset that is itself ``self-blend``;
    :class:`UsageError` for an unknown split; :class:`UnreadablePicture` for landmarks that span no area.

    Departures from the published code: hue, saturation and value move by amounts that can be seen, linearly in RGB;
    regions are hulls of iBUG points (68 or 81: whole face, features, upper, lower) rather than Face X-ray's unions;
    kernels scale with the face; the source is mirrored at the border where the published one is black; pictures are
    neither cropped nor re-compressed. Datasets of ``--plugin`` files cannot be wrapped, those of installed ones can.
    """

    Parameters = SelfBlendParameters

    def __init__(self, parameters: SelfBlendParameters) -> None:
        self.parameters = parameters

    def samples(self) -> Sequence[Sample]:
        return [entry.sample for entry in self._entries.values()]

    def read(self, sample: Sample) -> Native:
        """Decode the real picture and make of it what the sample is; equal bytes whenever it is done."""
        entry = self._entries[sample.id]
        native = self._wrapped.read(entry.real)
        if entry.draw is None:
            return native
        check_native(native, entry.real)
        recipe = draw_recipe(_streams(self.parameters.seed, entry.real.id, entry.draw).numpy("recipe"))
        if entry.sample.label == "real":
            return Native(augment(native.pixels, recipe.augmentation), None, native.landmarks)
        return _blended(native, recipe, entry)

    def fingerprint(self, sample: Sample) -> str | None:
        """That of the real picture, with the dataset it is of and what is made of it."""
        entry = self._entries[sample.id]
        fingerprint = getattr(self._wrapped, "fingerprint", None)
        real = fingerprint(entry.real) if fingerprint else None
        made = f"{self.parameters.seed} {entry.draw} {entry.sample.label} {entry.into_augmented}"
        return None if real is None else f"{made} of {self._source} {entry.real.id} {real}; {_VERSIONS}"

    def problems(self) -> Sequence[Problem]:
        lost = [Problem(s.id, "has no landmarks: no region to blend") for s in self._reals if not s.has_landmarks]
        return (*self._wrapped.problems(), *lost)

    @cached_property
    def _wrapped(self) -> Dataset:
        return wrapped(self.parameters.of)

    @cached_property
    def _source(self) -> str:
        """Digest of the wrapped dataset's name, code and parameters."""
        from xaibench import open_dataset, use_identity

        return digest(use_identity(open_dataset(self.parameters.of)))

    @cached_property
    def _reals(self) -> tuple[Sample, ...]:
        """Real samples of the split, with landmarks or without."""
        of, split = self.parameters.of, self.parameters.split
        reals = [s for s in _listed(self._wrapped) if s.label == "real"]
        if not reals:
            raise DatasetError(
                f"self-blend: {of} holds no real picture", "pseudo-fakes are made of real faces: add some"
            )
        splits = sorted({s.split for s in reals if s.split})
        if split and split not in splits:
            raise UsageError(
                f"self-blend: no real picture of split '{split}' in {of}", f"splits: {', '.join(splits) or 'none'}"
            )
        return tuple(s for s in reals if not split or s.split == split)

    @cached_property
    def _entries(self) -> Mapping[str, _Entry]:
        usable = [s for s in self._reals if s.has_landmarks]
        if not usable:
            raise DatasetError(
                f"self-blend: none of the {len(self._reals)} real pictures of {self.parameters.of} has landmarks",
                "add landmarks: a CSV of x,y per picture, see 'Use your own pictures'",
            )
        listed = sorted((e for s in usable for e in _entries(s, self.parameters)), key=lambda e: e.sample.id)
        entries = {e.sample.id: e for e in listed}
        if len(entries) < len(listed):
            raise DatasetError(
                f"self-blend: ids of {self.parameters.of} begin with {METHOD}/ or {TARGET}/", "rename them"
            )
        return entries


def wrapped(of: str) -> Dataset:
    """The dataset that ``of`` means. Raises :class:`DatasetError` or what that dataset's name or parameters deserve."""
    from xaibench import open_dataset

    if not of:
        raise DatasetError("self-blend needs a dataset of real faces", "write --dataset self-blend:of=FOLDER")
    found: Dataset = open_dataset(of).instance
    if isinstance(found, SelfBlendDataset):
        raise DatasetError(f"self-blend of '{of}': its fakes are self-blends already", "name the dataset of real faces")
    return found


def _listed(dataset: Dataset) -> Sequence[Sample]:
    """All samples; folders and tables are read though they hold no fake, which alone they would refuse."""
    return dataset.listed() if isinstance(dataset, ListedDataset) else dataset.samples()


def _entries(real: Sample, parameters: SelfBlendParameters) -> Iterator[_Entry]:
    yield _Entry(real, real)
    for draw in range(parameters.draws):
        streams = _streams(parameters.seed, real.id, draw)
        into_augmented = parameters.augment == "either" and streams.numpy("augmented").random() < 0.5
        target = replace(real, id=f"{TARGET}/{draw}/{real.id}") if into_augmented else real
        if into_augmented:
            yield _Entry(target, real, draw)
        fake = replace(
            real, id=f"{METHOD}/{draw}/{real.id}", label="fake", method=METHOD, pair=target.id, has_mask=True
        )
        yield _Entry(fake, real, draw, into_augmented)


def _streams(seed: int, real: str, draw: int) -> Streams:
    return Streams(("self-blend", str(seed), real, str(draw)))


def _blended(native: Native, recipe: Recipe, entry: _Entry) -> Native:
    if native.landmarks is None:
        raise UnreadablePicture(f"sample {entry.sample.id}: its real picture came without landmarks")
    try:
        made = self_blend(native.pixels, native.landmarks, recipe, into_augmented=entry.into_augmented)
    except NoRegion as reason:
        raise UnreadablePicture(f"sample {entry.sample.id}: {reason}") from None
    return Native(made.pixels, made.weights, native.landmarks)
