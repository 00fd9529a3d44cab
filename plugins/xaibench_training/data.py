"""Training pictures: decoded once, resized as a detector is shown them, and kept as bytes where they fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import overload

import torch
from torch import Tensor

from xaibench.api import (
    FAKE,
    REAL,
    Dataset,
    Facts,
    Native,
    Picture,
    PluginError,
    Problem,
    Sample,
    UnreadablePicture,
    digest,
    digest_native,
)

MEMORY = 4 * 2**30
"""Bytes of pictures that are kept; where there are more, each is decoded again whenever it is needed."""


@dataclass(frozen=True, eq=False)
class Pictures(Sequence[Picture]):
    """Samples as squares of ``size`` pixels. Pixels are rounded to 8 bits, kept or not, so that both give the same.

    ``labels``: ``(N,)`` int64. ``digest`` covers ids, labels and native contents. ``kept``: ``(N, 3, size, size)``
    uint8, or None where they do not fit.
    """

    dataset: Dataset
    samples: tuple[Sample, ...]
    size: int
    labels: Tensor
    digest: str
    kept: Tensor | None

    def __len__(self) -> int:
        return len(self.samples)

    @overload
    def __getitem__(self, index: int) -> Picture: ...
    @overload
    def __getitem__(self, index: slice) -> list[Picture]: ...
    def __getitem__(self, index: int | slice) -> Picture | list[Picture]:
        """The sample as a picture, decoded anew, with mask and landmarks; its counterpart where it is in the data."""
        if isinstance(index, slice):
            return [self._show(sample) for sample in self.samples[index]]
        return self._show(self.samples[index])

    def images(self, indices: Tensor) -> Tensor:
        """``(n, 3, size, size)`` float32 in [0, 1]."""
        if self.kept is not None:
            return self.kept[indices].float() / 255
        return torch.stack([_bytes(self[i]) for i in indices.tolist()]).float() / 255

    def _show(self, sample: Sample) -> Picture:
        from xaibench import show_picture

        return show_picture(
            self.dataset, sample, shown_as(self.size), counterpart=partial(self._counterpart, sample.pair)
        )

    def _counterpart(self, pair: str | None) -> Picture | None:
        found = next((s for s in self.dataset.samples() if s.id == pair), None) if pair else None
        return None if found is None else self._show(found)


def shown_as(size: int) -> Facts:
    """A detector that is yet to be trained, as far as showing pictures to it goes."""
    return Facts(name="training", classes=("real", "fake"), real_class=REAL, input_size=(size, size), digest="")


def load(
    dataset: Dataset, samples: Sequence[Sample], size: int, *, limit: int | None = None, memory: int = MEMORY
) -> tuple[Pictures, tuple[Problem, ...]]:
    """Decode the first ``limit`` readable samples; the unreadable ones come back with the reason."""
    from xaibench import show_picture

    found: list[tuple[Sample, str]] = []
    held: list[Tensor] = []
    problems: list[Problem] = []
    keep = min(len(samples), limit or len(samples)) * 3 * size * size <= memory
    for sample in samples:
        if limit is not None and len(found) >= limit:
            break
        try:
            native = dataset.read(sample)
            picture = show_picture(_Decoded(native), sample, shown_as(size))
        except UnreadablePicture as error:
            problems.append(Problem(sample.id, error.what))
            continue
        found.append((sample, digest_native(native)))
        if keep:
            held.append(_bytes(picture))
    chosen = tuple(sample for sample, _ in found)
    labels = torch.tensor([FAKE if s.label == "fake" else REAL for s in chosen], dtype=torch.int64)
    identity = digest([(s.id, s.label, content) for s, content in found])
    kept = torch.stack(held) if held else None
    return Pictures(dataset, chosen, size, labels, identity, kept), tuple(problems)


@dataclass(frozen=True)
class _Decoded:
    """A dataset of one picture that is decoded already."""

    native: Native

    def samples(self) -> Sequence[Sample]:
        return ()

    def read(self, sample: Sample) -> Native:
        return self.native

    def problems(self) -> Sequence[Problem]:
        return ()


def _bytes(picture: Picture) -> Tensor:
    return (picture.image * 255).round().to(torch.uint8)


# ---- guides ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Guides:
    """Where to look, for some of the pictures. ``maps``: ``(M, size, size)`` uint8, guides rounded to 255ths;
    ``place``: ``(N,)`` int64, each picture's row in ``maps``, -1 where nobody says."""

    maps: Tensor
    place: Tensor

    def take(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """``(n, size, size)`` float32 in [0, 1], zero where there is none, and ``(n,)`` bool: whether there is one."""
        place = self.place[indices]
        guided = place >= 0
        guides = torch.zeros((len(indices), *self.maps.shape[1:]), dtype=torch.float32)
        guides[guided] = self.maps[place[guided]].float() / 255
        return guides, guided

    @property
    def count(self) -> int:
        return len(self.maps)


def no_guides(pictures: Pictures) -> Guides:
    """Nobody says anything about any picture."""
    empty = torch.empty((0, pictures.size, pictures.size), dtype=torch.uint8)
    return Guides(empty, torch.full((len(pictures),), -1, dtype=torch.int64))


def pack_guides(found: Sequence[Tensor | None], pictures: Pictures, recipe: str) -> Guides:
    """A recipe's guides, checked. Raises :class:`PluginError` for one that is no map in [0, 1] or is zero all over."""
    if len(found) != len(pictures):
        raise PluginError(f"recipe {recipe} gave {len(found)} guides for {len(pictures)} pictures")
    guides = no_guides(pictures)
    maps: list[Tensor] = []
    for i, guide in enumerate(found):
        if guide is None:
            continue
        _check_guide(guide, pictures, i, recipe)
        guides.place[i] = len(maps)
        maps.append(_rounded(guide))
    return Guides(torch.stack(maps), guides.place) if maps else guides


def _rounded(guide: Tensor) -> Tensor:
    return (guide.detach().cpu().float() * 255).round().to(torch.uint8)


def _check_guide(guide: Tensor, pictures: Pictures, index: int, recipe: str) -> None:
    wants: tuple[tuple[bool, str], ...] = (
        (tuple(guide.shape) != (pictures.size, pictures.size), f"is {tuple(guide.shape)}, not the picture's size"),
        (not bool(((guide >= 0) & (guide <= 1)).all()), "leaves [0, 1]"),
        (not bool((guide > 0).any()), "is zero all over; 'nobody says' is None"),
        (not bool(_rounded(guide).any()), "is zero all over in 255ths, as it is kept: stretch it to [0, 1]"),
    )
    reason = next((text for wrong, text in wants if wrong), None)
    if reason:
        raise PluginError(f"recipe {recipe}: the guide of {pictures.samples[index].id} {reason}")
