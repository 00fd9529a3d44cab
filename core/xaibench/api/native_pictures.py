"""Checks and digests of pictures as arrays. Pure functions on numpy arrays and on tensors."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from xaibench.api.datasets import Native, Sample
from xaibench.api.errors import UnreadablePicture

if TYPE_CHECKING:
    from hashlib import _Hash

    from torch import Tensor


def check_native(native: Native, sample: Sample) -> None:
    """Raise :class:`UnreadablePicture`, which names the sample, unless the arrays are what :class:`Native` says."""
    pixels, mask, landmarks = native.pixels, native.mask, native.landmarks
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise _unfit(sample, f"pixels are {pixels.dtype} {pixels.shape}, not uint8 (H, W, 3)")
    if mask is not None and mask.ndim != 2:
        raise _unfit(sample, f"the mask's shape is {mask.shape}, not (H, W)")
    if mask is not None and mask.shape != pixels.shape[:2]:
        raise _unfit(sample, f"the mask is {_size(mask)} pixels, the picture {_size(pixels)}")
    if mask is not None and (not np.isfinite(mask).all() or mask.min() < 0):
        raise _unfit(sample, "the mask holds weights that are negative or not finite")
    if landmarks is not None and (landmarks.ndim != 2 or landmarks.shape[1] != 2 or not np.isfinite(landmarks).all()):
        raise _unfit(sample, "the landmarks are not finite points (L, 2)")


def digest_native(native: Native) -> str:
    """sha256 (hex) of types, shapes and values of pixels, mask and landmarks; equal on every platform."""
    return digest_pixels(native)[1]


def digest_pixels(native: Native) -> tuple[str, str]:
    """sha256 (hex) of type, shape and values of the pixels alone, and :func:`digest_native`, read once."""
    hashed = hashlib.sha256()
    _update(hashed, native.pixels)
    pixels = hashed.hexdigest()
    _update(hashed, native.mask)
    _update(hashed, native.landmarks)
    return pixels, hashed.hexdigest()


def digest_shown(image: Tensor, mask: Tensor | None, landmarks: Tensor | None) -> str:
    """sha256 (hex) of types, shapes and values of a picture as shown, independent of device and memory layout."""
    return _digest(None if t is None else t.detach().cpu().numpy() for t in (image, mask, landmarks))


def _digest(arrays: Iterable[NDArray[np.generic] | None]) -> str:
    hashed = hashlib.sha256()
    for array in arrays:
        _update(hashed, array)
    return hashed.hexdigest()


def _update(hashed: _Hash, array: NDArray[np.generic] | None) -> None:
    if array is None:
        hashed.update(b"none;")
        return
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    hashed.update(f"{little.dtype.str}{little.shape};".encode())
    hashed.update(little.data)


def _unfit(sample: Sample, reason: str) -> UnreadablePicture:
    return UnreadablePicture(f"sample {sample.id}: {reason}")


def _size(array: NDArray[np.generic]) -> str:
    return f"{array.shape[1]} x {array.shape[0]}"
