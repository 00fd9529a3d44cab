"""Samples, pictures and datasets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from xaibench.api.safe_text import one_line
from xaibench.api.vocabulary import Label

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One picture of a dataset, described without decoding it.

    Parameters
    ----------
    id: unique within the dataset.
    label: ``real`` or ``fake``.
    group: the statistical cluster, all samples that share source material (:func:`statistical_groups`).
    method: the manipulation method; None for real pictures.
    cross_group: the second of two crossed factors (the donor), where one cluster would hold more than a fifth of the
        samples; intervals then take both into account. None where groups are not crossed.
    pair: id of the real counterpart, a sample of the same dataset; None where there is none.
    split: name of the split (``test``); None where the dataset has no splits.
    has_mask, has_landmarks: whether ``Dataset.read`` gives a mask and landmarks. A mask of a real picture is looked
        at and never shown.
    columns: further columns as (name, value), sorted by name, such as ``("compression", "c23")``. They stand in the
        table ``samples``, and results can be split by them; they change no number of a row. A column holds text or
        finite numbers; its name is none of :data:`SAMPLE_COLUMNS`. A sample without a value leaves the column out.
    doubt: findings that put mask, counterpart or label in doubt, joined by ``; ``. A dataset may give one of its own,
        ``label: WHAT (details)``; the survey adds what it finds in the pictures.
    mask_doubt, pair_doubt: why the mask and the counterpart that the sample has were withdrawn; the survey sets them.
        ``has_mask`` is then False and ``pair`` None. Components give these as the reason.
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
    columns: tuple[tuple[str, str | int | float], ...] = ()
    doubt: str = ""
    mask_doubt: str = ""
    pair_doubt: str = ""


@dataclass(frozen=True, slots=True)
class Native:
    """One decoded picture before resizing.

    Parameters
    ----------
    pixels: ``(H, W, 3)`` uint8 RGB.
    mask: ``(H, W)`` uint8 or float blending weights of the manipulation, 0 or above, or None. Their unit is 1, 255 or
        65535, the least of these that is not below the maximum. The mask is binarised at half of its own maximum before
        it is resized. It marks nothing where the maximum is below an eighth of the unit, where all weights are equal,
        and where it marks nearly all of the picture or single pixels alone.
    landmarks: ``(L, 2)`` float32 x, y in pixels, or None. The centre of the first pixel is (0, 0).
    """

    pixels: np.ndarray
    mask: np.ndarray | None = None
    landmarks: np.ndarray | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """A file that a dataset leaves out, and the reason. Control characters in either are written out."""

    file: str
    reason: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "file", one_line(str(self.file)))
        object.__setattr__(self, "reason", one_line(str(self.reason)))


class Dataset(Protocol):
    """A source of samples. It is built from its parameters; heavy work belongs in the methods.

    ``samples`` lists the samples in a stable order without decoding pictures. ``read`` decodes one sample and raises
    :class:`xaibench.api.UnreadablePicture` for a broken file. ``problems`` lists the files that could not be listed as
    samples.

    ``fingerprint(sample) -> str | None`` is optional. It tells without decoding whether what ``read`` gives may have
    changed: parameters, paths, sizes and times of all files of the sample, and versions of the libraries that decode
    them; not the dataset's own code, which is compared beside it. A sample whose fingerprint is that of an earlier
    start is not decoded again before a run. None, and no such method, mean that it always is.

    ``expect(samples: Iterable[Sample]) -> None`` is optional. It is called before these samples are read in about this
    order, so that files which are slow to come are fetched ahead. Some of them may never be read, and others may be
    read between them; a further call takes the place of the last one.
    """

    def samples(self) -> Sequence[Sample]: ...
    def read(self, sample: Sample) -> Native: ...
    def problems(self) -> Sequence[Problem]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Resize:
    """How a native picture is resized to a detector's input.

    ``mode="squash"`` scales both sides to the input size. ``mode="crop"`` scales the shorter side to it and cuts out
    the middle. ``antialias`` applies to ``bilinear`` and ``bicubic``.
    """

    interpolation: Literal["nearest", "bilinear", "bicubic", "area"] = "bilinear"
    antialias: bool = True
    mode: Literal["squash", "crop"] = "squash"


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A sample as it is shown to one detector, under one view. The tensors must not be changed in place.

    Parameters
    ----------
    sample: the sample that is shown.
    image: ``(3, H, W)`` float32 RGB in [0, 1].
    mask: ``(H, W)`` bool, True where the picture is manipulated, or None: of a real picture, and of a fake without a
        mask or with one that is in doubt (``sample.mask_doubt``).
    landmarks: ``(L, 2)`` float32 x, y in the coordinates of ``image``, or None. They may lie outside a cropped image.
    digest: sha256 of image, mask and landmarks as shown.
    view: name of the transformation; ``""`` is the picture itself.
    native: decodes the file again.
    counterpart: gives the real counterpart under the same view, or None. ``sample.pair_doubt`` says why it was
        withdrawn.
    stranger: gives a fake with a mask that shares no person with this sample, under the same view, or None. It has the
        same method where possible and is drawn once a run from the whole dataset, for components that need
        ``stranger``.
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
    """A named transformation of a picture, its mask and its landmarks.

    ``apply(image, mask, landmarks) -> (image, mask, landmarks)`` keeps shapes, types and ranges; None stays None. Two
    views of one name must be the same transformation, since maps are identified by the name. ``bounded`` False: pixels
    may leave [0, 1], as in the pictures of a published attack that does not clip.
    """

    name: str
    apply: Callable[[Tensor, Tensor | None, Tensor | None], tuple[Tensor, Tensor | None, Tensor | None]]
    bounded: bool = True
