"""Procedural faces: identity and pose parameters, and the painter that turns them into a clean picture.

Pictures are float32 `(3, 64, 64)`, RGB in [0, 1]. Pixel coordinates are (x right, y down), the centre of the first
pixel at (0, 0). Face coordinates (u, v) have their origin between nose bridge and nose tip; one unit is about half
the width of a face. "Left" and "right" are the viewer's.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from xaibench_datasets.demo_faces.streams import stream

SIZE = 64

Array = NDArray[np.float32]
Colour = tuple[float, float, float]

_SKINS: tuple[Colour, ...] = (
    (0.95, 0.80, 0.70), (0.90, 0.71, 0.58), (0.82, 0.62, 0.47), (0.70, 0.50, 0.36),
    (0.55, 0.38, 0.27), (0.40, 0.27, 0.20),
)  # fmt: skip
_HAIRS: tuple[Colour, ...] = (
    (0.10, 0.08, 0.07), (0.22, 0.14, 0.09), (0.38, 0.24, 0.13), (0.60, 0.42, 0.22),
    (0.80, 0.66, 0.40), (0.55, 0.22, 0.10), (0.62, 0.60, 0.58),
)  # fmt: skip
_IRISES: tuple[Colour, ...] = (
    (0.25, 0.15, 0.08),
    (0.38, 0.26, 0.12),
    (0.22, 0.40, 0.55),
    (0.28, 0.42, 0.26),
    (0.40, 0.44, 0.46),
)


@dataclass(frozen=True)
class Identity:
    """What stays the same about a person; lengths in face units."""

    skin: Colour
    hair: Colour
    iris: Colour
    lips: Colour
    width: float
    height: float
    jaw: float
    eye_gap: float
    eye_width: float
    eye_height: float
    brow_lift: float
    brow_weight: float
    brow_arch: float
    nose_width: float
    nose_length: float
    mouth_width: float
    mouth_height: float
    hairline: float
    parting: float
    hair_length: float
    ear_size: float
    texture: float
    texture_scale: float
    stubble: float
    freckles: float


@dataclass(frozen=True)
class Pose:
    """Where the face lies: centre in pixels, scale in pixels a unit, roll in radians, turn of the inner features in
    units, smile, opening of the eyes, and the direction (2,) and strength of the light."""

    x: float
    y: float
    scale: float
    roll: float
    yaw: float
    pitch: float
    smile: float
    eyes_open: float
    light: tuple[float, float]
    light_strength: float


def identity_of(seed: int, identity: int) -> Identity:
    """Draw the person `identity` of the population `seed`."""
    rng = stream(seed, identity, "identity")

    def between(low: float, high: float) -> float:
        return float(rng.uniform(low, high))

    def near(palette: tuple[Colour, ...]) -> Colour:
        red, green, blue = np.asarray(palette[rng.integers(len(palette))]) * rng.uniform(0.88, 1.08, 3)
        return float(red), float(green), float(blue)

    skin, hair, iris = near(_SKINS), near(_HAIRS), near(_IRISES)
    redness = between(0.5, 1.0)
    lips = (skin[0] * (1 - 0.1 * redness), skin[1] * (1 - 0.4 * redness), skin[2] * (1 - 0.35 * redness))
    return Identity(
        skin=skin, hair=hair, iris=iris, lips=lips,
        width=between(0.92, 1.06), height=between(1.20, 1.36), jaw=between(0.08, 0.30),
        eye_gap=between(0.38, 0.47), eye_width=between(0.19, 0.26), eye_height=between(0.09, 0.14),
        brow_lift=between(0.25, 0.36), brow_weight=between(0.04, 0.09), brow_arch=between(-0.05, 0.35),
        nose_width=between(0.14, 0.24), nose_length=between(0.30, 0.46),
        mouth_width=between(0.28, 0.46), mouth_height=between(0.07, 0.14),
        hairline=between(0.55, 0.82), parting=between(-0.5, 0.5), hair_length=between(-0.3, 1.3),
        ear_size=between(0.20, 0.30),
        texture=between(0.035, 0.075), texture_scale=between(0.5, 0.8),
        stubble=max(0.0, between(-0.3, 0.22)), freckles=max(0.0, between(-0.5, 0.25)),
    )  # fmt: skip


def pose_of(seed: int, identity: int) -> Pose:
    """Draw the pose of a person's picture; the face lies 15 to 20 pixels off the picture's centre."""
    rng = stream(seed, identity, "pose")
    angle, away = rng.uniform(0, 2 * np.pi), rng.uniform(15, 19.5)
    light = rng.uniform(0, 2 * np.pi)
    return Pose(
        x=float((SIZE - 1) / 2 + away * np.cos(angle)),
        y=float((SIZE - 1) / 2 + 1 + 0.9 * away * np.sin(angle)),
        scale=float(rng.uniform(13.5, 16.5)),
        roll=float(rng.uniform(-0.22, 0.22)),
        yaw=float(rng.uniform(-0.13, 0.13)),
        pitch=float(rng.uniform(-0.07, 0.07)),
        smile=float(rng.uniform(-0.25, 0.7)),
        eyes_open=float(rng.uniform(0.75, 1.15)),
        light=(float(np.cos(light)), float(np.sin(light))),
        light_strength=float(rng.uniform(0.05, 0.28)),
    )


@lru_cache(maxsize=1)
def pixel_grid() -> tuple[Array, Array]:
    """Return the x and y coordinates of all pixels, each `(64, 64)`."""
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)
    return x, y


def to_face(pose: Pose) -> tuple[Array, Array]:
    """Return the face coordinates (u, v) of all pixels, each `(64, 64)`."""
    x, y = pixel_grid()
    cos, sin = np.float32(np.cos(pose.roll) / pose.scale), np.float32(np.sin(pose.roll) / pose.scale)
    dx, dy = x - np.float32(pose.x), y - np.float32(pose.y)
    return cos * dx + sin * dy, cos * dy - sin * dx


def to_pixels(pose: Pose, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Map points `(L, 2)` from face coordinates to pixel coordinates."""
    cos, sin = np.cos(pose.roll), np.sin(pose.roll)
    turn = np.array([[cos, sin], [-sin, cos]])
    return np.asarray([pose.x, pose.y] + pose.scale * (points @ turn))


class Canvas:
    """A picture being painted, back to front, with soft edges of one pixel."""

    def __init__(self, pose: Pose) -> None:
        self.pose = pose
        self.u, self.v = to_face(pose)
        self.image = np.zeros((3, SIZE, SIZE), np.float32)

    def inside(self, distance: Array, softness: float = 1.0) -> Array:
        """Turn a signed distance in face units (negative inside) into coverage; `softness` is the edge in pixels."""
        coverage: Array = np.clip(0.5 - distance * np.float32(self.pose.scale / softness), 0, 1)
        return coverage

    def ellipse(self, u: float, v: float, a: float, b: float, softness: float = 1.0) -> Array:
        return self.inside((np.hypot((self.u - u) / a, (self.v - v) / b) - 1) * min(a, b), softness)

    def glow(self, u: float, v: float, a: float, b: float) -> Array:
        return np.exp(-(((self.u - u) / a) ** 2) - ((self.v - v) / b) ** 2)

    def paint(self, coverage: Array, colour: Colour) -> None:
        self.image += coverage * (np.asarray(colour, np.float32)[:, None, None] - self.image)

    def shade(self, amount: Array) -> None:
        self.image *= 1 + amount


def paint_face(person: Identity, pose: Pose, seed: int, identity: int) -> Array:
    """Paint `person` in `pose` before the background and with the skin texture of picture (seed, identity).

    Returns a clean `(3, 64, 64)` picture. A donor is painted with the host's pose, seed and identity, so that light and
    background are the host's.
    """
    canvas = Canvas(pose)
    _paint_background(canvas, stream(seed, identity, "background"))
    rng = stream(seed, identity, "surface")
    skin = _paint_head(canvas, person, rng)
    _paint_features(canvas, person)
    _paint_skin_texture(canvas, person, skin, rng)
    _paint_fringe(canvas, person, rng)
    _light(canvas)
    return np.clip(canvas.image, 0, 1)


def _paint_background(canvas: Canvas, rng: np.random.Generator) -> None:
    x, y = pixel_grid()
    first, second = (rng.uniform(0.2, 0.8, (2, 1)) + rng.uniform(-0.16, 0.16, (2, 3))).astype(np.float32)
    second = first + 0.5 * (second - first)
    angle = rng.uniform(0, 2 * np.pi)
    ramp = np.clip(((x - 32) * np.cos(angle) + (y - 32) * np.sin(angle)) / 64 + 0.5, 0, 1).astype(np.float32)
    canvas.image[:] = first[:, None, None] + ramp * (second - first)[:, None, None]
    for _ in range(rng.integers(1, 5)):
        colour = np.clip(first + rng.uniform(-0.3, 0.3) + rng.uniform(-0.1, 0.1, 3), 0, 1)
        left, top, width, height = rng.uniform((-10, -10, 6, 6), (60, 60, 34, 34))
        blur = rng.uniform(0.6, 4)
        distance = np.maximum(np.abs(x - left) - width / 2, np.abs(y - top) - height / 2)
        canvas.paint(np.clip(0.5 - distance / blur, 0, 1).astype(np.float32), tuple(colour))
    grain = gaussian_filter(rng.standard_normal((SIZE, SIZE), np.float32), rng.uniform(0.5, 1.2))
    canvas.shade(np.float32(rng.uniform(0.02, 0.12)) * grain)


def _paint_head(canvas: Canvas, person: Identity, rng: np.random.Generator) -> Array:
    """Paint shoulders, neck, back hair, ears and the bare face; return the coverage of skin."""
    u, v, w, h = canvas.u, canvas.v, person.width, person.height
    cloth = np.clip(rng.uniform(0.15, 0.8) + rng.uniform(-0.22, 0.22, 3), 0, 1)
    dark_skin = _scaled(person.skin, 0.74)
    reach = np.where(
        v < 0, np.hypot(u / (w + 0.2), (v + 0.2) / (0.98 * h)) - 1, np.abs(u) / (w + 0.2) - 1 + 0.06 * np.sin(5 * v)
    )
    canvas.paint(canvas.inside(np.maximum(reach, v - person.hair_length)), _scaled(person.hair, 0.72))
    canvas.paint(canvas.ellipse(0, 2.25, 1.75, 0.95), tuple(cloth))
    neck = canvas.inside(np.maximum(np.abs(u) - 0.5 * w, np.abs(v - 1.1) - 0.55))
    canvas.paint(neck, dark_skin)
    for side in (-1, 1):
        canvas.paint(
            canvas.ellipse(side * (w + 0.05), 0.02, person.ear_size * 0.7, person.ear_size * 1.15),
            _scaled(person.skin, 0.92),
        )
        canvas.paint(
            0.6 * canvas.ellipse(side * (w + 0.07), 0.02, person.ear_size * 0.32, person.ear_size * 0.7),
            _scaled(person.skin, 0.66),
        )
    narrowing = w * (1 - person.jaw * np.clip(v, 0, 1.4) ** 2)
    face = canvas.inside((np.hypot(u / narrowing, v / h) - 1) * w)
    canvas.paint(face, person.skin)
    canvas.shade(-0.22 * face * np.clip(np.hypot(u / w, v / h), 0, 1) ** 4)
    return np.maximum(face, neck)


def _paint_features(canvas: Canvas, person: Identity) -> None:
    pose = canvas.pose
    for side in (-1, 1):
        canvas.shade(-0.20 * canvas.glow(side * person.eye_gap + pose.yaw, -0.17 + pose.pitch, 0.30, 0.20))
        cheek = canvas.glow(side * 0.52 + pose.yaw, 0.38 + pose.pitch, 0.26, 0.22)
        canvas.image[1:] *= 1 - 0.10 * cheek
        _paint_eye(canvas, person, side)
    _paint_nose(canvas, person)
    _paint_mouth(canvas, person)


def _paint_eye(canvas: Canvas, person: Identity, side: int) -> None:
    pose = canvas.pose
    u, v = side * person.eye_gap + pose.yaw, -0.15 + pose.pitch
    a, b = person.eye_width, person.eye_height * pose.eyes_open
    canvas.paint(0.75 * canvas.ellipse(u, v - 0.03, a * 1.12, b * 1.3), _scaled(person.skin, 0.45))
    white = canvas.ellipse(u, v, a, b)
    canvas.paint(white, (0.93, 0.92, 0.90))
    iris = np.minimum(white, canvas.ellipse(u + 0.4 * pose.yaw, v, b * 1.05, b * 1.05))
    canvas.paint(iris, person.iris)
    canvas.paint(np.minimum(iris, canvas.ellipse(u + 0.4 * pose.yaw, v, b * 0.5, b * 0.5)), (0.04, 0.03, 0.03))
    canvas.paint(0.8 * canvas.ellipse(u + 0.4 * pose.yaw - 0.05, v - 0.05, 0.035, 0.035), (1.0, 1.0, 1.0))
    du = (canvas.u - u) * side
    middle = v - person.brow_lift + person.brow_arch * (du - 0.05) ** 2 - 0.06 * du
    brow = np.maximum(np.abs(canvas.v - middle) - person.brow_weight * (1 - 0.8 * du), np.abs(du) - 1.25 * a)
    canvas.paint(0.9 * canvas.inside(brow), _scaled(person.hair, 0.75))


def _paint_nose(canvas: Canvas, person: Identity) -> None:
    pose = canvas.pose
    u, tip = 1.4 * pose.yaw, person.nose_length + pose.pitch
    shadow_side = 1.0 if pose.light[0] < 0 else -1.0
    canvas.shade(0.14 * canvas.glow(u, tip - 0.25, 0.07, 0.34))
    canvas.shade(-0.24 * canvas.glow(u + shadow_side * 0.13, tip - 0.16, 0.07, 0.26))
    canvas.shade(-0.20 * canvas.glow(u, tip + 0.08, person.nose_width, 0.06))
    canvas.shade(0.12 * canvas.glow(u, tip - 0.04, 0.09, 0.08))
    for side in (-1, 1):
        canvas.paint(
            0.7 * canvas.ellipse(u + side * person.nose_width * 0.55, tip + 0.03, 0.055, 0.035),
            _scaled(person.skin, 0.35),
        )


def _paint_mouth(canvas: Canvas, person: Identity) -> None:
    pose = canvas.pose
    u0, v0 = 1.1 * pose.yaw, person.nose_length + 0.34 + pose.pitch
    du = canvas.u - u0
    line = v0 - pose.smile * (du**2 - 0.04)
    reach = np.sqrt(np.clip(1 - (du / person.mouth_width) ** 2, 0, 1))
    thickness = person.mouth_height * reach
    inside = np.abs(du) - person.mouth_width
    upper = np.maximum(np.maximum(line - 0.8 * thickness - canvas.v, canvas.v - line), inside)
    lower = np.maximum(np.maximum(canvas.v - line - thickness, line - canvas.v), inside)
    canvas.paint(canvas.inside(upper), _scaled(person.lips, 0.84))
    canvas.paint(canvas.inside(lower), person.lips)
    canvas.paint(0.85 * canvas.inside(np.maximum(np.abs(canvas.v - line) - 0.022, inside)), _scaled(person.lips, 0.35))
    canvas.shade(-0.16 * canvas.glow(u0, v0 + person.mouth_height + 0.08, 0.22, 0.05))


def _paint_skin_texture(canvas: Canvas, person: Identity, skin: Array, rng: np.random.Generator) -> None:
    noise = rng.standard_normal((2, SIZE, SIZE), np.float32)
    pores = gaussian_filter(noise[0], person.texture_scale) - gaussian_filter(noise[0], 2.2)
    canvas.shade(np.float32(person.texture / max(float(pores.std()), 1e-6)) * pores * skin)
    beard = canvas.glow(0, 0.95, 0.75, 0.5) * skin
    canvas.shade(-np.float32(person.stubble) * beard * (1 + 0.6 * noise[1]))
    spots = np.clip(gaussian_filter(noise[1], 0.7) - 0.45, 0, 1) * canvas.glow(0, 0.2, 0.75, 0.3) * skin
    canvas.shade(-np.float32(person.freckles) * spots)


def _paint_fringe(canvas: Canvas, person: Identity, rng: np.random.Generator) -> None:
    u, v = canvas.u, canvas.v
    edge = -person.hairline * person.height + 0.45 * (u - person.parting) ** 2 - 0.12
    edge = edge + np.float32(0.05) * np.sin(9 * u + np.float32(rng.uniform(0, 6)))
    cap = (np.hypot(u / (person.width + 0.14), (v + 0.22) / (person.height + 0.02)) - 1) * person.width
    hair = canvas.inside(np.maximum(cap, v - edge), 1.5)
    canvas.paint(hair, person.hair)
    strands = np.zeros_like(u)
    combed = u - person.parting + 0.5 * (v - edge) * (u - person.parting)
    for frequency, phase in zip(rng.uniform(7, 30, 5), rng.uniform(0, 6.3, 5), strict=True):
        strands += np.sin(np.float32(frequency) * combed + np.float32(phase))
    canvas.shade(hair * (0.055 * strands + 0.07 * rng.standard_normal((SIZE, SIZE), np.float32)))
    canvas.image += 0.09 * hair * canvas.glow(0.3 * canvas.pose.light[0], -1.0, 0.6, 0.16)


def _light(canvas: Canvas) -> None:
    pose = canvas.pose
    slope = np.clip(canvas.u * pose.light[0] + canvas.v * pose.light[1], -1.6, 1.6)
    canvas.shade(np.float32(pose.light_strength) * slope)


def _scaled(colour: Colour, factor: float) -> Colour:
    return colour[0] * factor, colour[1] * factor, colour[2] * factor
