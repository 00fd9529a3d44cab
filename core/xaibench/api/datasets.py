"""Samples, pictures and datasets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from xaibench.api.vocabulary import Label

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One picture of a dataset, described without decoding it.

    ``group`` is the statistical cluster: all that shares source material with this picture. ``cross_group`` is the
    second of two crossed factors (the donor) where one component of the graph would hold more than a fifth of the
    samples; intervals then use the two-way bootstrap. ``pair`` is the id of the real counterpart, a sample of the
    same dataset. ``method`` is the manipulation, None when real.
    """

    id: str
    label: Label
    group: str
    method: str | None = None
    cross_group: str | None = None
    pair: str | None = None
    split: str | None = None
    has_mask: bool = False
    has_landmarks: bool = False


@dataclass(frozen=True, slots=True)
class Native:
    """One decoded picture before resizing.

    ``pixels``: ``(H, W, 3)`` uint8 RGB. ``mask``: ``(H, W)`` uint8 or float blending weights of the manipulation, or
    None; it is binarised at half of its own maximum when it is shown. ``landmarks``: ``(L, 2)`` float32 x, y in
    pixels, or None.
    """

    pixels: np.ndarray
    mask: np.ndarray | None = None
    landmarks: np.ndarray | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """A file that a dataset had to leave out, and why."""

    file: str
    reason: str


class Dataset(Protocol):
    """A source of samples. Built from its parameters; heavy work belongs in the methods.

    ``samples`` lists the samples in a stable order without decoding pictures. ``read`` decodes one and raises
    :class:`xaibench.api.UnreadablePicture` for a broken file. ``problems`` are files found unusable while listing.
    """

    def samples(self) -> Sequence[Sample]: ...
    def read(self, sample: Sample) -> Native: ...
    def problems(self) -> Sequence[Problem]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Resize:
    """How a native picture becomes a detector's input: squashed to it, or scaled and cropped in the middle."""

    interpolation: Literal["nearest", "bilinear", "bicubic", "area"] = "bilinear"
    antialias: bool = True
    mode: Literal["squash", "crop"] = "squash"


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A sample as it is shown to one detector, under one view.

    ``image``: ``(3, H, W)`` float32 in [0, 1]. ``mask``: ``(H, W)`` bool, True where manipulated, or None.
    ``landmarks``: ``(L, 2)`` float32 in the coordinates of ``image``. ``digest`` identifies the pixels, mask and
    landmarks as shown. ``view`` names the transformation (``""`` is the picture itself).
    ``native()`` decodes the file again; ``counterpart()`` gives the real counterpart under the same view, or None;
    ``stranger()`` a fake with a mask that shares no person with this one (of the same method if there is one), drawn
    from the whole dataset once a run, for components that need ``stranger``, or None.
    Never change these tensors in place.
    """

    sample: Sample
    image: Tensor
    mask: Tensor | None
    landmarks: Tensor | None
    digest: str
    view: str = ""
    native: Callable[[], Native]
    counterpart: Callable[[], Picture | None]
    stranger: Callable[[], Picture | None] = lambda: None


@dataclass(frozen=True, slots=True)
class View:
    """A named change of a picture: transforms image, mask and landmarks together.

    ``apply(image, mask, landmarks) -> (image, mask, landmarks)`` keeps shapes and ranges. Two views of one name must
    be the same change: maps and artefacts are keyed by it.
    """

    name: str
    apply: Callable[[Tensor, Tensor | None, Tensor | None], tuple[Tensor, Tensor | None, Tensor | None]]
