"""One self-blended image: what is drawn for it, and how it is put together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import affine_transform

from xaibench_datasets.self_blending.augment import Augmentation, Floats, Pixels, augment, draw_augmentation, to_bytes
from xaibench_datasets.self_blending.regions import (
    Softening,
    deformed,
    draw_softening,
    filled,
    hull_of,
    region_names,
    softened,
    unit_of,
)

Box = tuple[slice, slice]
"""Rows and columns, with start and stop."""

RATIOS = (0.25, 0.5, 0.75, 1.0, 1.0, 1.0)
CROP_SIDE = 256
_MASK_SIDE = 256


@dataclass(frozen=True, slots=True)
class Placement:
    """The source scaled about the middle of the face by ``scale``, then moved by shares ``dx``, ``dy`` of a crop."""

    scale: float = 1.0
    dx: float = 0.0
    dy: float = 0.0


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that is drawn for one self-blend. ``region`` in [0, 1) chooses among those that the landmarks allow;
    ``elastic`` seeds the deformation of the mask, None: there is none."""

    augmentation: Augmentation
    placement: Placement
    region: float
    elastic: int | None
    softening: Softening
    ratio: float


@dataclass(frozen=True, slots=True)
class Blend:
    """``target``: ``(H, W, 3)`` uint8, the picture blended into. ``values``: the blend before it is rounded, float32
    in [0, 255]. ``weights``: ``(H, W)`` float32 in [0, 1], the share of the source in it."""

    target: Pixels
    values: Floats
    weights: Floats

    @property
    def pixels(self) -> Pixels:
        return to_bytes(self.values)


def draw_recipe(rng: np.random.Generator) -> Recipe:
    """Scale 0.95 to 1/0.95, moves to 3 % across and 1.5 % down of a crop, a ratio out of :data:`RATIOS`."""
    return Recipe(
        draw_augmentation(rng),
        Placement(
            float(rng.uniform(0.95, 1 / 0.95)), float(rng.uniform(-0.03, 0.03)), float(rng.uniform(-0.015, 0.015))
        ),
        float(rng.random()),
        int(rng.integers(2**62)),
        draw_softening(rng),
        float(rng.choice(RATIOS)),
    )


def self_blend(pixels: Pixels, landmarks: NDArray[np.floating], recipe: Recipe, *, into_augmented: bool) -> Blend:
    """Blend a picture with a copy of itself: ``target + weights (source - target)``.

    ``pixels``: ``(H, W, 3)`` uint8; ``landmarks``: ``(L, 2)`` x, y. With ``into_augmented`` the target is the copy
    that was augmented, else the source is. Where the weight is 0, the blend is the target to the bit. Raises
    :class:`~xaibench_datasets.self_blending.regions.NoRegion`.
    """
    changed = augment(pixels, recipe.augmentation)
    source, target = (pixels, changed) if into_augmented else (changed, pixels)
    move = move_of(landmarks, recipe.placement)
    weights = blend_weights(landmarks, recipe, move, (pixels.shape[0], pixels.shape[1]))
    box = _box(weights > 0)
    values = target.astype(np.float32)
    values[box] += weights[box][:, :, None] * (moved_picture(source, move, box) - values[box])
    return Blend(target, values, weights)


@dataclass(frozen=True, slots=True)
class Move:
    """A point p (x, y), in pixels, comes to ``scale * p + by``."""

    scale: float
    by: tuple[float, float]


def move_of(landmarks: NDArray[np.floating], placement: Placement) -> Move:
    """A placement in the pixels of a picture with these landmarks."""
    middle = hull_of(landmarks).mean(axis=0) * (1 - placement.scale)
    x, y = middle + np.array([placement.dx, placement.dy]) * unit_of(landmarks) * CROP_SIDE
    return Move(placement.scale, (float(x), float(y)))


def moved_picture(pixels: Pixels, move: Move, box: Box) -> Floats:
    """``(h, w, 3)`` float32: the part ``box`` of the picture moved; mirrored at the borders, so that none is
    uncovered. Linear interpolation."""
    corner = np.array([box[0].start, box[1].start])
    size = (box[0].stop - box[0].start, box[1].stop - box[1].start)
    offset = (corner - np.array(move.by[::-1])) / move.scale
    inverse = np.full(2, 1 / move.scale)
    channels = (
        affine_transform(pixels[:, :, c], inverse, offset, size, np.float32, order=1, mode="mirror") for c in range(3)
    )
    return np.stack(tuple(channels), axis=2)


def blend_weights(landmarks: NDArray[np.floating], recipe: Recipe, move: Move, size: tuple[int, int]) -> Floats:
    """``(H, W)`` float32: the soft mask times the ratio. Made on a grid of at most 256 pixels, since its finest
    structure is wider than theirs, and scaled up linearly."""
    names = region_names(len(landmarks))
    corners = hull_of(landmarks, names[int(recipe.region * len(names))]) * move.scale + move.by
    grid = min(1.0, _MASK_SIDE / max(size))
    height, width = (max(1, round(n * grid)) for n in size)
    unit = unit_of(landmarks) * grid
    mask = filled((corners + 0.5) * grid - 0.5, (height, width))
    if recipe.elastic is not None:
        mask = deformed(mask, unit, np.random.Generator(np.random.PCG64(recipe.elastic)))
    soft = softened(mask, recipe.softening, unit)
    if (height, width) != size:
        soft = np.array(Image.fromarray(soft).resize(size[::-1], Image.Resampling.BILINEAR)).clip(0, 1)
    return soft * np.float32(recipe.ratio)


def _box(inside: NDArray[np.bool_]) -> Box:
    """The rows and columns that hold all True places."""
    first, last = zip(*((at[0], at[-1]) for at in (np.flatnonzero(inside.any(axis=a)) for a in (1, 0))), strict=True)
    return slice(int(first[0]), int(last[0]) + 1), slice(int(first[1]), int(last[1]) + 1)
