"""Pictures in memory as a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xaibench.api import DatasetError, Label, Native, Problem, Sample, canonical_json, digest, digest_native


class PictureArrays:
    """Labelled pictures in memory, as a dataset.

    Parameters
    ----------
    images: one array or tensor a picture: ``(H, W, 3)`` or ``(3, H, W)`` RGB, uint8 or floats in [0, 1], which are
        rounded to 8 bits. Sizes may differ.
    labels: ``"real"`` or ``"fake"``, or 0 (real) and 1 (fake), one a picture.
    ids: ids of the samples; default ``0000``, ``0001`` ...
    methods: the manipulation method of each fake; None for real pictures.
    masks: the mask of each fake, ``(H, W)`` blending weights, which are binarised at half of their maximum; None where
        it is not known.
    pairs: the index of the real counterpart of each fake, or None.
    groups: the statistical group of each picture, such as the person; default: a fake and its counterpart are a group.
    landmarks: ``(L, 2)`` points x, y of each picture in pixels, or None.

    Raises :class:`DatasetError` for lists of different lengths, labels of other values, and arrays of other shapes.
    """

    def __init__(
        self,
        images: Sequence[Any],
        labels: Sequence[Any],
        *,
        ids: Sequence[str] | None = None,
        methods: Sequence[str | None] | None = None,
        masks: Sequence[Any] | None = None,
        pairs: Sequence[int | None] | None = None,
        groups: Sequence[str] | None = None,
        landmarks: Sequence[Any] | None = None,
    ) -> None:
        n = len(images)
        columns = {
            "labels": labels,
            "ids": ids,
            "methods": methods,
            "masks": masks,
            "pairs": pairs,
            "groups": groups,
            "landmarks": landmarks,
        }
        for name, column in columns.items():
            if column is not None and len(column) != n:
                raise DatasetError(f"{name} holds {len(column)} entries for {n} images", "give one an image")
        self._ids = [str(i) for i in ids] if ids is not None else [f"{i:04d}" for i in range(n)]
        if len(set(self._ids)) < n:
            raise DatasetError("two pictures have the same id", "give each its own")
        self._labels = [_label(value) for value in labels]
        self._methods = list(methods) if methods is not None else [None] * n
        self._pairs = [self._pair(i, pair) for i, pair in enumerate(pairs)] if pairs is not None else [None] * n
        own = [pair or name for pair, name in zip(self._pairs, self._ids, strict=True)]
        self._groups = own if groups is None else [str(g) for g in groups]
        self._natives = {
            name: Native(
                _pixels(image, name),
                None if masks is None or masks[i] is None else _array(masks[i]),
                None if landmarks is None or landmarks[i] is None else _array(landmarks[i]).astype(np.float32),
            )
            for i, (name, image) in enumerate(zip(self._ids, images, strict=True))
        }

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

    def _pair(self, index: int, pair: int | None) -> str | None:
        if pair is None:
            return None
        if not 0 <= pair < len(self._ids) or self._labels[pair] != "real":
            raise DatasetError(f"pairs[{index}] = {pair} is no real picture", "give the index of the real counterpart")
        return self._ids[pair]


_REAL, _FAKE = ("real", "0", "false"), ("fake", "1", "true")


def _label(value: Any) -> Label:
    text = str(value.item() if hasattr(value, "item") else value).lower()
    if text not in (*_REAL, *_FAKE):
        raise DatasetError(f"the label {value!r} is neither real nor fake", "give 'real' and 'fake', or 0 and 1")
    return "real" if text in _REAL else "fake"


def _array(value: Any) -> NDArray[Any]:
    return np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)


def _pixels(value: Any, name: str) -> NDArray[np.uint8]:
    pixels = _array(value)
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
