"""Manipulations of one known part of a face, and the camera that real and fake pictures share.

A picture is taken (painted, blurred by the lens, covered with sensor noise), a fake has one part of the taken picture
replaced, and both are then published through the same point-wise chain (gain, gamma, a little noise, 8 bits) with the
same random numbers. Because nothing after the manipulation mixes neighbouring pixels, a fake equals its real
counterpart bit for bit wherever its mask is 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from xaibench_datasets.demo_faces.faces import (
    SIZE,
    Array,
    Identity,
    Pose,
    identity_of,
    paint_face,
    pixel_grid,
    pose_of,
    to_pixels,
)
from xaibench_datasets.demo_faces.streams import stream

METHODS = ("swap", "blend", "retexture", "warp")

PARTS = (
    "left-eye", "right-eye", "left-brow", "right-brow", "nose", "mouth", "left-cheek", "right-cheek", "left-jaw",
    "right-jaw", "chin", "forehead", "left-temple", "right-temple", "hair", "left-ear", "right-ear",
)  # fmt: skip

_MARGIN = 5.0
_FEATHER = 1.6


@dataclass(frozen=True)
class DemoPicture:
    """One demo picture.

    `image` is float32 `(3, 64, 64)`, RGB, multiples of 1/255 in [0, 1]. `mask` is float32 `(64, 64)`, the blending
    weight in multiples of 1/255 (all 0 for a real picture). `landmarks` is float32 `(17, 2)`: the (x, y) pixel centres
    of `PARTS`, which may lie outside the frame. `method` and `part` are None for a real picture, `donor` for all but a
    swap.
    """

    image: Array
    mask: Array
    landmarks: Array
    identity: int
    method: str | None = None
    part: str | None = None
    donor: int | None = None


@dataclass(frozen=True)
class _Region:
    """The part to manipulate: blending weight `(64, 64)`, centre and radii in pixels."""

    part: str
    weight: Array
    x: float
    y: float
    radius: float


@dataclass(frozen=True)
class _Job:
    """What a manipulation works on; `taken` is `(3, 64, 64)`, float32, before publishing."""

    seed: int
    identity: int
    person: Identity
    pose: Pose
    taken: Array
    region: _Region
    rng: np.random.Generator


def donor_of(identity: int) -> int:
    """Return the fixed swap partner: 2k and 2k + 1 are each other's donors."""
    return identity ^ 1


def render_real(seed: int, identity: int) -> DemoPicture:
    """Render the real picture of person `identity` (>= 0) in the population `seed` (>= 0)."""
    person, pose = identity_of(seed, identity), pose_of(seed, identity)
    image = _publish(_take(paint_face(person, pose, seed, identity), seed, identity, "sensor"), seed, identity)
    return DemoPicture(image, np.zeros((SIZE, SIZE), np.float32), _landmarks(person, pose), identity)


def render_fake(seed: int, identity: int, method: str) -> DemoPicture:
    """Render the fake that `method` (one of `METHODS`) makes of `render_real(seed, identity)`.

    Raises ValueError for an unknown method.
    """
    if method not in _MANIPULATE:
        raise ValueError(f"no manipulation called {method!r}; there are {', '.join(METHODS)}")
    person, pose = identity_of(seed, identity), pose_of(seed, identity)
    taken = _take(paint_face(person, pose, seed, identity), seed, identity, "sensor")
    rng = stream(seed, identity, "manipulation", method)
    region = _choose_region(person, pose, rng)
    changed = _MANIPULATE[method](_Job(seed, identity, person, pose, taken, region, rng))
    image = _publish(taken + region.weight * (changed - taken), seed, identity)
    donor = donor_of(identity) if method == "swap" else None
    return DemoPicture(image, region.weight, _landmarks(person, pose), identity, method, region.part, donor)


def _take(clean: Array, seed: int, identity: int, sensor: str) -> Array:
    """Photograph a clean picture: lens blur, then sensor noise that grows with brightness."""
    camera = stream(seed, identity, "camera")
    sigma, level = camera.uniform(0.30, 0.50), np.float32(camera.uniform(0.018, 0.030))
    seen = gaussian_filter(clean, (0, sigma, sigma))
    noise = stream(seed, identity, sensor).standard_normal(clean.shape, np.float32)
    taken: Array = seen + level * np.sqrt(0.4 + seen) * noise
    return taken


def _publish(taken: Array, seed: int, identity: int) -> Array:
    """Apply the point-wise chain that real and fake share."""
    rng = stream(seed, identity, "publish")
    gain, gamma, noise_level = rng.uniform((0.9, 0.88, 0.002), (1.08, 1.14, 0.006)).astype(np.float32)
    toned = (gain * np.clip(taken, 0, 1)) ** gamma
    noisy = toned + noise_level * rng.standard_normal(taken.shape, np.float32)
    return _in_8_bits(noisy)


def _part_shapes(person: Identity, pose: Pose) -> NDArray[np.float64]:
    """Return centre and radii (u, v, a, b) of every part in face units, `(17, 4)`, in the order of `PARTS`."""
    w, h, gap = person.width, person.height, person.eye_gap
    turn, nod = pose.yaw, pose.pitch
    brow, tip = -0.15 - person.brow_lift + nod, person.nose_length + nod
    return np.array(
        [
            (turn - gap, -0.15 + nod, 0.36, 0.27), (turn + gap, -0.15 + nod, 0.36, 0.27),
            (turn - gap, brow, 0.42, 0.22), (turn + gap, brow, 0.42, 0.22),
            (1.4 * turn, tip - 0.12, 0.32, 0.38), (1.1 * turn, tip + 0.34, 0.52, 0.27),
            (turn - 0.55, 0.38 + nod, 0.32, 0.34), (turn + 0.55, 0.38 + nod, 0.32, 0.34),
            (-0.62, 0.78, 0.30, 0.36), (0.62, 0.78, 0.30, 0.36), (0.0, 0.88 * h, 0.44, 0.26),
            (0.0, -0.62 * h, 0.48, 0.26), (-0.74 * w, -0.42 * h, 0.28, 0.40), (0.74 * w, -0.42 * h, 0.28, 0.40),
            (0.0, -0.97 * h, 0.52, 0.26),
            (-w - 0.05, 0.02, 0.28, 0.40), (w + 0.05, 0.02, 0.28, 0.40),
        ]
    )  # fmt: skip


def _landmarks(person: Identity, pose: Pose) -> Array:
    return to_pixels(pose, _part_shapes(person, pose)[:, :2]).astype(np.float32)


def _choose_region(person: Identity, pose: Pose, rng: np.random.Generator) -> _Region:
    """Draw a part that lies in the frame and an irregular outline for it.

    Parts far from the picture's centre are drawn more often, else a map of nothing but the distance to the centre
    would find the manipulation.
    """
    shapes = _part_shapes(person, pose)
    centres = to_pixels(pose, shapes[:, :2])
    visible = ((centres > _MARGIN) & (centres < SIZE - 1 - _MARGIN)).all(1)
    odds = visible * np.hypot(*(centres - (SIZE - 1) / 2).T) ** 4
    chosen = int(rng.choice(len(PARTS), p=odds / odds.sum()))
    (x, y), (a, b) = centres[chosen], shapes[chosen, 2:] * pose.scale * rng.uniform(1.05, 1.3)
    return _Region(PARTS[chosen], _outline(x, y, a, b, roll=pose.roll, rng=rng), float(x), float(y), float((a + b) / 2))


def _outline(x: float, y: float, a: float, b: float, *, roll: float, rng: np.random.Generator) -> Array:
    """Return a blending weight `(64, 64)`: 1 in a wobbly ellipse with radii a, b (pixels), its edge soft but narrow."""
    columns, rows = pixel_grid()
    dx, dy = columns - x, rows - y
    p, q = (np.cos(roll) * dx + np.sin(roll) * dy) / a, (np.cos(roll) * dy - np.sin(roll) * dx) / b
    angle = np.arctan2(q, p)
    wobble = sum(
        size * np.cos(k * angle + phase)
        for k, size, phase in zip((2, 3, 5), rng.uniform(0, 0.08, 3), rng.uniform(0, 6.3, 3), strict=True)
    )
    distance = (np.hypot(p, q) - 1 - wobble) * min(a, b)
    return _in_8_bits(0.5 - distance / _FEATHER)


def _swap(job: _Job) -> Array:
    """The donor's part in the host's pose and light, drawn towards the host's colours, as a 2x decoder renders it."""
    donor = identity_of(job.seed, donor_of(job.identity))
    clean = paint_face(donor, job.pose, job.seed, job.identity)
    taken = _take(clean, job.seed, job.identity, "donor-sensor")
    host_mean, donor_mean = (_weighted_mean(picture, job.region.weight) for picture in (job.taken, taken))
    matched = taken + np.float32(job.rng.uniform(0.7, 0.9)) * (host_mean - donor_mean)
    rows, columns = job.rng.integers(0, 2, 2)
    coarse = np.roll(matched, (-rows, -columns), (1, 2)).reshape(3, SIZE // 2, 2, SIZE // 2, 2).mean((2, 4))
    x, y = pixel_grid()
    at = np.stack([(y - rows - 0.5) / 2, (x - columns - 0.5) / 2])
    smooth = _sample(coarse, at)
    checker = ((x + y) % 2 * 2 - 1) * np.float32(job.rng.uniform(0.010, 0.020))
    return smooth + checker


def _blend(job: _Job) -> Array:
    """The same part, softened, scaled and recoloured (a self-blended image)."""
    zoom = 1 + job.rng.choice([-1, 1]) * job.rng.uniform(0.10, 0.22)
    x, y = pixel_grid()
    at = np.stack([job.region.y + (y - job.region.y) / zoom, job.region.x + (x - job.region.x) / zoom])
    gain = 1 + job.rng.choice([-1, 1]) * job.rng.uniform(0.08, 0.16) + job.rng.uniform(-0.05, 0.05, 3)
    sigma = job.rng.uniform(0.6, 0.9)
    copy: Array = _sample(gaussian_filter(job.taken, (0, sigma, sigma)), at) * gain.astype(np.float32)[:, None, None]
    return copy


def _retexture(job: _Job) -> Array:
    """The same coarse content under a coarser, synthetic fine texture of similar energy."""
    sigma = job.rng.uniform(1.1, 1.5)
    coarse = gaussian_filter(job.taken, (0, sigma, sigma))
    energy = np.sqrt(_weighted_mean((job.taken - coarse) ** 2, job.region.weight))
    grain = gaussian_filter(job.rng.standard_normal((SIZE, SIZE), np.float32), job.rng.uniform(0.9, 1.2))
    strength = np.float32(job.rng.uniform(0.8, 1.1) / grain.std()) * np.minimum(energy, 0.06)
    textured: Array = coarse + strength * grain
    return textured


def _warp(job: _Job) -> Array:
    """The part twisted and swollen about its centre by some pixels, resampled twice."""
    x, y = pixel_grid()
    dx, dy = x - np.float32(job.region.x), y - np.float32(job.region.y)
    fade = np.exp(-(dx**2 + dy**2) / np.float32(job.region.radius**2))
    twist = job.rng.choice([-1, 1]) * job.rng.uniform(0.3, 0.7) * fade
    swell = 1 + job.rng.choice([-1, 1]) * job.rng.uniform(0.15, 0.35) * fade
    at_x = job.region.x + swell * (np.cos(twist) * dx - np.sin(twist) * dy)
    at_y = job.region.y + swell * (np.sin(twist) * dx + np.cos(twist) * dy)
    moved = _sample(job.taken, np.stack([at_y - 0.5, at_x - 0.5]))
    return _sample(moved, np.stack([y + 0.5, x + 0.5]))


_MANIPULATE: dict[str, Callable[[_Job], Array]] = {
    "swap": _swap,
    "blend": _blend,
    "retexture": _retexture,
    "warp": _warp,
}


def _sample(picture: Array, at: NDArray[np.floating]) -> Array:
    """Sample `(3, h, w)` bilinearly at row and column coordinates `(2, 64, 64)`."""
    return np.stack([map_coordinates(channel, at, order=1, mode="nearest") for channel in picture]).astype(np.float32)


def _in_8_bits(values: NDArray[np.floating]) -> Array:
    """Clip to [0, 1] and round to multiples of 1/255."""
    rounded: Array = np.rint(np.clip(values, 0, 1) * 255).astype(np.float32) / np.float32(255)
    return rounded


def _weighted_mean(picture: Array, weight: Array) -> Array:
    """Return the mean of each channel under `weight`, `(3, 1, 1)`."""
    return np.asarray((picture * weight).sum((1, 2), keepdims=True) / weight.sum())
