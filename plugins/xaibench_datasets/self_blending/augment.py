"""Colour and frequency changes that set one copy of a picture apart from the other.

Limits are those of Shiohara & Yamasaki (CVPR 2022) as published, but for hue, saturation and value: the published
ones are 0.3 of 255 steps, which changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import uniform_filter

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

_GREY = np.full((3, 3), 1 / 3)
_LEAST_SIDE = 32


@dataclass(frozen=True, slots=True)
class Colour:
    """``p -> (1 + contrast) (1 + value) S R (p + shift) + 255 brightness`` on RGB values 0 to 255.

    ``R`` turns hues by ``hue`` radians about the grey axis, ``S`` scales the distance from it by ``1 + saturation``.
    One linear map in place of a conversion to 8-bit HSV, whose steps would mark every augmented picture.
    """

    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)
    hue: float = 0.0
    saturation: float = 0.0
    value: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0


@dataclass(frozen=True, slots=True)
class Detail:
    """``factor`` above 1: scaled down by it and up again. ``sharpening`` above 0: ``a`` of the picture is replaced by
    ``lightness`` times it plus its difference from its eight neighbours."""

    factor: int = 1
    sharpening: float = 0.0
    lightness: float = 1.0


@dataclass(frozen=True, slots=True)
class Augmentation:
    """What is done to one of the two copies: colour, then frequency. The default is the identity."""

    colour: Colour = Colour()
    detail: Detail = Detail()


def draw_augmentation(rng: np.random.Generator) -> Augmentation:
    """RGB shifts up to 20 in three of ten cases; hue to 0.07 radians, saturation to 10 %, value to 5 %; brightness and
    contrast to 10 %; then either coarser by 2 or 4, or sharpened. The number of draws is always the same."""
    shifted = bool(rng.random() < 0.3)
    red, green, blue = (float(v) * shifted for v in rng.uniform(-20, 20, 3))
    hue, saturation, value, brightness, contrast = map(float, rng.uniform(-1, 1, 5) * (0.07, 0.1, 0.05, 0.1, 0.1))
    coarse, factor = bool(rng.random() < 0.5), int(rng.choice((2, 4)))
    sharpening, lightness = float(rng.uniform(0.2, 0.5)), float(rng.uniform(0.5, 1))
    return Augmentation(
        Colour((red, green, blue), hue, saturation, value, brightness, contrast),
        Detail(factor=factor) if coarse else Detail(sharpening=sharpening, lightness=lightness),
    )


def augment(pixels: Pixels, augmentation: Augmentation) -> Pixels:
    """``(H, W, 3)`` uint8 changed; a new array, equal to the old one for the identity."""
    coloured = recoloured(pixels, augmentation.colour)
    detail = augmentation.detail
    if detail.factor > 1:
        return coarsened(coloured, detail.factor)
    return sharpened(coloured, detail.sharpening, detail.lightness)


def recoloured(pixels: Pixels, colour: Colour) -> Pixels:
    matrix, offset = linear_map(colour)
    red, green, blue = (pixels[:, :, c].astype(np.float32) for c in range(3))
    # sums spelt out: a matrix product may round otherwise on other machines
    planes = [to_bytes(m[0] * red + m[1] * green + m[2] * blue + by) for m, by in zip(matrix, offset, strict=True)]
    return np.stack(planes, axis=2)


def linear_map(colour: Colour) -> tuple[Floats, Floats]:
    """``(3, 3)`` and ``(3,)`` so that a colour becomes ``matrix @ colour + offset``."""
    one, cross = np.eye(3), np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / np.sqrt(3)
    turned = np.cos(colour.hue) * one + np.sin(colour.hue) * cross + (1 - np.cos(colour.hue)) * _GREY
    saturated = _GREY + (1 + colour.saturation) * (one - _GREY)
    matrix = (1 + colour.contrast) * (1 + colour.value) * saturated @ turned
    offset = matrix @ np.array(colour.shift) + 255 * colour.brightness
    return matrix.astype(np.float32), offset.astype(np.float32)


def coarsened(pixels: Pixels, factor: int) -> Pixels:
    """Every ``factor``-th pixel, interpolated linearly. By 2 where 4 would leave fewer than 32 pixels on a side."""
    height, width = pixels.shape[:2]
    factor = factor if min(height, width) >= _LEAST_SIDE * factor else min(factor, 2)
    image = Image.fromarray(pixels)
    small = image.resize((max(1, width // factor), max(1, height // factor)), Image.Resampling.NEAREST)
    return np.array(small.resize((width, height), Image.Resampling.BILINEAR))


def sharpened(pixels: Pixels, alpha: float, lightness: float) -> Pixels:
    """``(1 - a) p + a (lightness p + sum over 8 neighbours of (p - neighbour))``; beyond the border is the border."""
    values = pixels.astype(np.float32)
    around = 9 * (values - uniform_filter(values, size=(3, 3, 1), mode="nearest"))
    return to_bytes((1 - alpha + alpha * lightness) * values + alpha * around)


def to_bytes(values: Floats) -> Pixels:
    """Rounded to the nearest of 0 to 255."""
    rounded: Pixels = np.rint(values).clip(0, 255).astype(np.uint8)
    return rounded
