"""Pictures in memory as a dataset."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xaibench.api import (
    DatasetError,
    Label,
    Native,
    Problem,
    Sample,
    UnreadablePicture,
    canonical_json,
    check_columns,
    check_native,
    digest,
    digest_native,
)


class PictureArrays:
    """Labelled pictures in memory, as a dataset.

    A column is a list, an array, a tensor or a column of a data frame, read in its order; NaN in it is None.

    Parameters
    ----------
    images: one array or tensor a picture: ``(H, W, 3)`` or ``(3, H, W)`` RGB, uint8 or floats in [0, 1], which are
        rounded to 8 bits. Sizes may differ.
    labels: ``"real"`` or ``"fake"``, or 0 (real) and 1 (fake), one a picture.
    ids: ids of the samples; default ``0000``, ``0001`` ...
    methods: the manipulation method of each fake; those of real pictures are ignored.
    masks: the mask of each fake, ``(H, W)`` blending weights, which are binarised at half of their maximum; None where
        it is not known.
    pairs: the index of the real counterpart of each fake, or None; those of real pictures are ignored.
    groups: the statistical group of each picture, such as the person; default: a fake and its counterpart are a group.
    landmarks: ``(L, 2)`` points x, y of each picture in pixels, or None.
    columns: further columns by name, such as ``{"generator": [...]}``: text or numbers, one a picture, None where it is
        not known. ``True`` and ``False`` are text.

    Raises :class:`DatasetError` for lists of different lengths, labels of other values, and arrays of other shapes.
    """

    def __init__(
        self,
        images: Iterable[Any],
        labels: Iterable[Any],
        *,
        ids: Iterable[Any] | None = None,
        methods: Iterable[Any] | None = None,
        masks: Iterable[Any] | None = None,
        pairs: Iterable[Any] | None = None,
        groups: Iterable[Any] | None = None,
        landmarks: Iterable[Any] | None = None,
        columns: Mapping[str, Iterable[Any]] | None = None,
    ) -> None:
        pictures = _column("images", images)
        n = len(pictures)
        given = {"ids": ids, "methods": methods, "masks": masks, "pairs": pairs, "groups": groups,
                 "landmarks": landmarks}  # fmt: skip
        lists = {name: [None] * n if column is None else _column(name, column) for name, column in given.items()}
        lists["labels"] = _column("labels", labels)
        further = {name: _column(name, column) for name, column in sorted((columns or {}).items())}
        for name, column in (*lists.items(), *further.items()):
            if len(column) != n:
                raise DatasetError(f"{name} holds {len(column)} entries for {n} images", "give one an image")
        self._columns = [_further(further, i) for i in range(n)]
        self._ids = [f"{i:04d}" if ids is None else str(name) for i, name in enumerate(lists["ids"])]
        if len(set(self._ids)) < n:
            raise DatasetError("two pictures have the same id", "give each its own")
        self._labels = [_label(value) for value in lists["labels"]]
        self._methods = [None if method is None else str(method) for method in lists["methods"]]
        self._pairs = [self._pair(i, pair) for i, pair in enumerate(lists["pairs"])]
        own = [pair or name for pair, name in zip(self._pairs, self._ids, strict=True)]
        self._groups = own if groups is None else [_group(i, group) for i, group in enumerate(lists["groups"])]
        self._natives = {
            name: _native(name, *arrays)
            for name, *arrays in zip(self._ids, pictures, lists["masks"], lists["landmarks"], strict=True)
        }
        check_columns(self.samples(), "PictureArrays")
        for sample in self.samples():
            try:
                check_native(self.read(sample), sample)
            except UnreadablePicture as error:
                raise DatasetError(error.what, "give it as PictureArrays takes it") from None

    def samples(self) -> Sequence[Sample]:
        return tuple(
            Sample(
                id=name,
                label=self._labels[i],
                group=self._groups[i],
                pair=self._pairs[i],
                method=self._methods[i] if self._labels[i] == "fake" else None,
                has_mask=self._natives[name].mask is not None,
                has_landmarks=self._natives[name].landmarks is not None,
                columns=self._columns[i],
            )
            for i, name in enumerate(self._ids)
        )

    def read(self, sample: Sample) -> Native:
        return self._natives[sample.id]

    def problems(self) -> Sequence[Problem]:
        return ()

    def content_digest(self) -> str:
        """Digest of samples, pictures, masks and landmarks."""
        rows = [repr(s) for s in self.samples()]
        return digest(canonical_json([rows, [digest_native(n) for n in self._natives.values()]]))

    def _pair(self, index: int, pair: Any) -> str | None:
        if pair is None or self._labels[index] == "real":
            return None
        if pair not in range(len(self._ids)) or self._labels[int(pair)] != "real":
            raise DatasetError(f"pairs[{index}] = {pair} is no real picture", "give the index of the real counterpart")
        return self._ids[int(pair)]


_REAL, _FAKE = ("real", "0", "0.0", "false"), ("fake", "1", "1.0", "true")


def _column(name: str, values: Iterable[Any]) -> list[Any]:
    """The entries of a column; a number or a text of any library as Python's own, None for what is not known."""
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise DatasetError(f"{name} is a {type(values).__name__}, not a list", "give a list with one entry an image")
    return [_plain(value) for value in values]


def _plain(value: Any) -> Any:
    if getattr(value, "ndim", None) == 0:
        value = value.item()
    unknown = math.isnan(value) if isinstance(value, float) else type(value).__name__ == "NAType"  # of pandas
    return None if unknown else value


def _further(columns: Mapping[str, list[Any]], index: int) -> tuple[tuple[str, Any], ...]:
    values = ((name, column[index]) for name, column in columns.items())
    return tuple((name, str(v) if isinstance(v, bool) else v) for name, v in values if v is not None)


def _label(value: Any) -> Label:
    text = str(value).lower()
    if text not in (*_REAL, *_FAKE):
        raise DatasetError(f"the label {value!r} is neither real nor fake", "give 'real' and 'fake', or 0 and 1")
    return "real" if text in _REAL else "fake"


def _group(index: int, value: Any) -> str:
    if value is None:
        raise DatasetError(f"groups[{index}] is not given", "name the group of every picture, or leave groups out")
    return str(value)


def _native(name: str, image: Any, mask: Any, landmarks: Any) -> Native:
    return Native(
        _read_only(_pixels(_array(image, f"picture {name}"), name)),
        None if mask is None else _read_only(_array(mask, f"the mask of {name}")),
        None if landmarks is None else _read_only(_array(landmarks, f"landmarks of {name}").astype(np.float32)),
    )


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    """The same values, which components are handed and cannot change. The caller's array stays as it is."""
    view = array.view()
    view.flags.writeable = False
    return view


def _array(value: Any, what: str) -> NDArray[Any]:
    try:
        array = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
    except (TypeError, ValueError) as error:  # lists of unequal lengths, types that numpy does not have
        raise DatasetError(f"{what} is no array: {error}", "give a NumPy array or a tensor") from None
    if array.dtype.kind not in "buif":
        raise DatasetError(f"{what} is a {type(value).__name__}, no array of numbers", "give an array or a tensor")
    return array


def _pixels(pixels: NDArray[Any], name: str) -> NDArray[np.uint8]:
    if pixels.ndim == 3 and pixels.shape[2] != 3 and pixels.shape[0] == 3:
        pixels = pixels.transpose(1, 2, 0)
    if pixels.ndim != 3 or pixels.shape[2] != 3:
        raise DatasetError(f"picture {name} has shape {pixels.shape}", "give (H, W, 3), or (3, H, W)")
    if pixels.dtype == np.uint8:
        return np.ascontiguousarray(pixels)
    inside = np.issubdtype(pixels.dtype, np.floating) and bool(((pixels >= 0) & (pixels <= 1)).all())
    if not inside:
        raise DatasetError(
            f"picture {name} holds {pixels.dtype} values outside [0, 1]", "give uint8, or floats in [0, 1]"
        )
    return np.ascontiguousarray(np.rint(pixels * 255).astype(np.uint8))
