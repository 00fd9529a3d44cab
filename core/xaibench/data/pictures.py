"""Resizing native pictures, masks and landmarks to a detector's input, and views of pictures.

Pure functions. Pixels are areas: the centre of the first one is (0, 0) and its left edge is at -0.5. A landmark moves
with the area in which it lies.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from xaibench.api import (
    Dataset,
    Facts,
    Native,
    Picture,
    Resize,
    Sample,
    UnreadablePicture,
    View,
    check_native,
    digest_shown,
)
from xaibench.data.doubts import in_doubt, mask_finding
from xaibench.data.masks import binarise

MAX_ASPECT = 64
"""Largest ratio of the sides of a picture that is scaled and cropped."""


@dataclass(frozen=True, slots=True)
class _Geometry:
    """A picture of size ``native`` (H, W) is scaled to ``scaled``; then ``size`` is cut out at ``offset`` (y, x)."""

    native: tuple[int, int]
    scaled: tuple[int, int]
    offset: tuple[int, int]
    size: tuple[int, int]


def show_picture(
    dataset: Dataset,
    sample: Sample,
    facts: Facts,
    *,
    counterpart: Callable[[], Picture | None] = lambda: None,
    stranger: Callable[[], Picture | None] = lambda: None,
) -> Picture:
    """Decode a sample and resize it for the detector with these facts.

    ``counterpart`` and ``stranger`` are those of the :class:`~xaibench.api.Picture`; by default there are none. Raises
    :class:`UnreadablePicture`. A mask that is in doubt, of a sample that no survey has looked at, is withdrawn as the
    survey would do it.
    """
    native = dataset.read(sample)
    image, mask, landmarks = show(native, sample, facts.input_size, facts.resize)
    if mask is None and sample.has_mask and (finding := mask_finding(native, sample)):
        sample = in_doubt(sample, finding, "", ())
    return Picture(
        sample=sample,
        image=image,
        mask=mask,
        landmarks=landmarks,
        digest=digest_shown(image, mask, landmarks),
        native=lambda: dataset.read(sample),
        counterpart=counterpart,
        stranger=stranger,
    )


def show(
    native: Native, sample: Sample, size: tuple[int, int], resize: Resize
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Resize a picture, its mask and its landmarks to a detector's input size ``(H, W)``.

    Returns new tensors:

    * the image, ``(3, H, W)`` float32 in [0, 1]; exactly ``uint8 / 255`` where the sizes agree.
    * the mask, ``(H, W)`` bool, or None: of a real picture, and where it is missing, in doubt
      (:func:`~xaibench.data.masks.mark`) or cropped away. It is True where the weight is at least half of the mask's
      maximum, and is binarised before it is resized (nearest pixel).
    * the landmarks, ``(L, 2)`` float32 x, y, or None. They may lie outside a cropped image.

    Raises :class:`UnreadablePicture` where pixels, mask and landmarks do not fit together.
    """
    check_native(native, sample)
    geometry = _native_geometry(native, sample, size, resize)
    pixels = torch.from_numpy(np.ascontiguousarray(native.pixels.transpose(2, 0, 1))).to(torch.float32) / 255
    image = _cut(_interpolate(pixels, geometry.scaled, resize), geometry).clamp(0, 1).contiguous()
    mask = None if sample.label == "real" or sample.mask_doubt else _resized_mask(native, geometry)
    if mask is not None and not mask.any():
        mask = None
    landmarks = None if native.landmarks is None else _resized_landmarks(native.landmarks, geometry)
    return image, mask, landmarks


def shown_box(height: int, width: int, size: tuple[int, int], resize: Resize) -> tuple[float, float, float, float]:
    """Top, left, height and width of the part of a native picture of this size that a detector sees, in its pixels."""
    geometry = _geometry(height, width, size, resize)
    down, right = height / geometry.scaled[0], width / geometry.scaled[1]
    (top, left), (rows, columns) = geometry.offset, geometry.size
    return top * down, left * right, rows * down, columns * right


def apply_view(picture: Picture, view: View) -> Picture:
    """The picture under a view. The names of successive views are joined by ``+``.

    ``native()`` still decodes the file. Counterpart and stranger are shown under the same view. Raises ``ValueError``
    for a view that changes shapes or types, adds or drops a mask or landmarks, is not finite, or leaves [0, 1] although
    it is ``bounded``.
    """
    image, mask, landmarks = view.apply(picture.image, picture.mask, picture.landmarks)
    _check_view(view, picture, image, mask, landmarks)

    def under_view(get_picture: Callable[[], Picture | None]) -> Picture | None:
        other = get_picture()
        return None if other is None else apply_view(other, view)

    return replace(
        picture,
        image=image,
        mask=mask,
        landmarks=landmarks,
        digest=digest_shown(image, mask, landmarks),
        view=f"{picture.view}+{view.name}" if picture.view else view.name,
        counterpart=lambda: under_view(picture.counterpart),
        stranger=lambda: under_view(picture.stranger),
    )


def _native_geometry(native: Native, sample: Sample, size: tuple[int, int], resize: Resize) -> _Geometry:
    height, width = native.pixels.shape[:2]
    if resize.mode != "squash" and max(height, width) > MAX_ASPECT * min(height, width):
        raise UnreadablePicture(
            f"sample {sample.id}: a picture of {width} x {height} pixels is too narrow to be scaled and cropped"
        )
    return _geometry(height, width, size, resize)


def _geometry(height: int, width: int, size: tuple[int, int], resize: Resize) -> _Geometry:
    if resize.mode == "squash":
        return _Geometry((height, width), size, (0, 0), size)
    if size[0] * width >= size[1] * height:
        scaled = (size[0], size[0] * width // height)
    else:
        scaled = (size[1] * height // width, size[1])
    return _Geometry((height, width), scaled, ((scaled[0] - size[0]) // 2, (scaled[1] - size[1]) // 2), size)


def _interpolate(image: Tensor, size: tuple[int, int], resize: Resize) -> Tensor:
    """``(C, h, w)`` to ``(C, H, W)``; unchanged where the sizes agree."""
    if tuple(image.shape[-2:]) == size:
        return image
    batch = image[None]
    if resize.interpolation == "nearest":
        return functional.interpolate(batch, size, mode="nearest-exact")[0]
    if resize.interpolation == "area":
        return functional.interpolate(batch, size, mode="area")[0]
    mode, antialias = resize.interpolation, resize.antialias
    return functional.interpolate(batch, size, mode=mode, align_corners=False, antialias=antialias)[0]


def _cut(image: Tensor, geometry: _Geometry) -> Tensor:
    (top, left), (height, width) = geometry.offset, geometry.size
    return image[..., top : top + height, left : left + width]


def _resized_mask(native: Native, geometry: _Geometry) -> Tensor | None:
    """The mask at the detector's size, which may be all False; None where the native one is missing or empty."""
    binary = None if native.mask is None else binarise(native.mask)
    if binary is None:
        return None
    weights = torch.from_numpy(binary.astype(np.float32))[None]
    scaled = _interpolate(weights, geometry.scaled, Resize(interpolation="nearest"))
    return (_cut(scaled, geometry)[0] > 0.5).contiguous()


def _resized_landmarks(landmarks: NDArray[np.generic], geometry: _Geometry) -> Tensor:
    scale = np.array(geometry.scaled[::-1]) / np.array(geometry.native[::-1])
    offset = np.array(geometry.offset[::-1])
    points = landmarks.astype(np.float64)
    if (scale != 1).any():
        points = (points + 0.5) * scale - 0.5
    return torch.from_numpy((points - offset).astype(np.float32))


def _check_view(view: View, before: Picture, image: Tensor, mask: Tensor | None, landmarks: Tensor | None) -> None:
    pairs = (("image", before.image, image), ("mask", before.mask, mask), ("landmarks", before.landmarks, landmarks))
    for name, old, new in pairs:
        if (old is None) != (new is None):
            raise ValueError(f"view {view.name!r} adds or drops the {name}")
        if old is not None and new is not None and (old.shape, old.dtype) != (new.shape, new.dtype):
            raise ValueError(f"view {view.name!r} makes the {name} {new.dtype} {tuple(new.shape)}")
    if view.bounded and not bool(((image >= 0) & (image <= 1)).all()):
        raise ValueError(f"view {view.name!r} gives pixels that are not in [0, 1]")
    if not bool(image.isfinite().all()):
        raise ValueError(f"view {view.name!r} gives pixels that are not finite")
