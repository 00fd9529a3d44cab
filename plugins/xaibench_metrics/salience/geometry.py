"""Geometric following: whether the map goes along when the picture is flipped, shifted or turned."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import torch
from pydantic import Field
from torch import Tensor

from xaibench.api import Explanation, MapCase, Passes, PassQuery, Programme, Scores, View
from xaibench_metrics.salience.compare import MapSize, Measured, compare, shown_map
from xaibench_metrics.salience.responses import (
    Following,
    Response,
    ResponseParameters,
    clean_class,
    clean_map,
    flipped,
    following_scores,
    following_specs,
    moved,
    response_passes,
    responses,
)

NAME = "geometric-following"
REFERENCE_SIDE = 224


class GeometricParameters(ResponseParameters):
    """Parameters of ``geometric-following``; the defaults are the robust form."""

    shift: int = Field(16, ge=0, description="pixels of a shift, for a shorter side of 224; 0: no shifts")
    scaled: bool = Field(True, description="shifts grow with the picture's shorter side; else they are in pixels")
    margin: int = Field(
        1, ge=0, description="pixels dropped where the valid crop of a shift ends in lost content: there, the two "
        "pictures have different neighbours"
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Transform:
    """A flip along ``flip`` (-1 left-right, -2 top-bottom), ``turns`` quarter turns counter-clockwise, or a shift
    ``(dx, dy)`` to the right and down, of which one is given; none is the identity."""

    name: str
    flip: int = 0
    turns: int = 0
    shift: tuple[int, int] = (0, 0)

    def moved(self, grid: Tensor) -> Tensor:
        """``(..., H, W)`` transformed; what a shift uncovers is filled with the border's values."""
        if self.flip:
            return grid.flip(self.flip)
        if self.turns:
            return torch.rot90(grid, self.turns, (-2, -1)).contiguous()
        rows, columns = (
            (torch.arange(n, device=grid.device) - by).clamp(0, n - 1)
            for n, by in zip(grid.shape[-2:], self.shift[::-1], strict=True)
        )
        return grid[..., rows[:, None], columns]

    def undone(self, grid: Tensor) -> Tensor:
        """The inverse of :meth:`moved`; of a shift, up to its valid crop."""
        back = Transform("", self.flip, -self.turns, (-self.shift[0], -self.shift[1]))
        return back.moved(grid)

    def points(self, points: Tensor, size: tuple[int, int]) -> Tensor:
        """Landmarks ``(L, 2)``, x and y, of a picture of ``size`` (H, W), moved along."""
        x, y = points[:, 0], points[:, 1]
        height, width = size
        if self.flip:
            x, y = (width - 1 - x, y) if self.flip == -1 else (x, height - 1 - y)
        elif self.turns:
            x, y = (y, width - 1 - x) if self.turns == 1 else (height - 1 - y, x)
        return torch.stack([x + self.shift[0], y + self.shift[1]], dim=1)

    def valid(self, grid: Tensor, margin: int) -> Tensor:
        """The part of an undone (or the clean) map whose content is in both pictures, less the margin."""
        height, width = grid.shape[-2:]
        (top, bottom), (left, right) = (
            _kept(n, by, margin) for n, by in zip((height, width), self.shift[::-1], strict=True)
        )
        return grid[..., top:bottom, left:right]


def _kept(n: int, by: int, margin: int) -> tuple[int, int]:
    """First and last + 1 of n places that a shift by ``by`` leaves in the picture."""
    if by == 0:
        return 0, n
    return (0, max(0, n - by - margin)) if by > 0 else (min(n, margin - by), n)


IDENTITY = Transform("identity")
FLIPS = (Transform("flip-lr", flip=-1), Transform("flip-tb", flip=-2))
TURNS = (Transform("turn-cw", turns=-1), Transform("turn-ccw", turns=1))


def shifts(pixels: int) -> tuple[Transform, ...]:
    """The eight shifts by ``pixels``, x first: (-,-), (-,0), (-,+), (0,-), (0,+), (+,-), (+,0), (+,+)."""
    steps = ((dx, dy) for dx, dy in product((-pixels, 0, pixels), repeat=2) if dx or dy)
    return tuple(Transform(f"shift{dx:+d}{dy:+d}", shift=(dx, dy)) for dx, dy in steps)


def transforms(size: tuple[int, int], shift: int, scaled: bool) -> tuple[Transform, ...]:
    """Two flips, eight shifts, two quarter turns, in the original's order, as far as pictures of ``size`` take them:
    turns only of square ones, shifts only by less than a side."""
    pixels = max(1, round(shift * min(size) / REFERENCE_SIDE)) if scaled and shift else shift
    along = shifts(pixels) if 0 < pixels < min(size) else ()
    return (*FLIPS, *along, *(TURNS if size[0] == size[1] else ()))


def transform_view(transform: Transform) -> View:
    """The transform of image, mask and landmarks as a view."""

    def apply(
        image: Tensor, mask: Tensor | None, landmarks: Tensor | None
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        size = (image.shape[-2], image.shape[-1])
        return (
            transform.moved(image),
            None if mask is None else transform.moved(mask),
            None if landmarks is None else transform.points(landmarks, size),
        )

    return View(f"salience-{transform.name}", apply)


class GeometricFollowing:
    """Similarity between the picture's map and the transformed picture's map, brought back.

    ``s_T = similarity(M(x), T^-1 M(T x))`` in [-1, 1]; higher = the map follows. An item a transform of Explain To Me
    (Crum et al., IEEE TAI 2023): two flips, eight shifts by 16 px of 224 with replicated borders, compared on the crop
    that both pictures show, two quarter turns (left out where the detector's input is not square). A shift is half a
    cell of a 7x7 map, so shifts are compared on upsampled maps whatever ``size`` says. Beside each: ``null``, the
    similarity without bringing the map back, ``s0 = similarity(M(x), M(T x))`` at the same places: what a map scores
    that stays where it is; ``corrected`` ``(s - s0) / (1 - s0)``: 1 follows, 0 no better than not to bring it back,
    no value for maps that are their own mirror image; ``change``, the detector's own response, since a map can only be
    asked to follow where the detector is indifferent to the transform (Crabbe & van der Schaar, NeurIPS 2023);
    ``flip`` of the verdict.

    Parameters default to the robust form: float maps, stretched on the part that is compared, the class fixed on the
    clean picture, Pearson's correlation. ``geometric-following-explain2me`` is the original: upsampled 8-bit maps,
    SSIM, each picture's own likeliest class, shifts of 16 px at every size, the whole valid crop. The original's way of
    bringing maps back is not public; it is inferred from the sizes that it stores.
    """

    Parameters = GeometricParameters
    scores = following_specs(
        NAME,
        "the map and the transformed picture's map brought back, one item a transform",
        "the same two maps without bringing one back",
        "a symmetric map that ignores the detector follows perfectly: the centre prior scores 1",
    )

    def __init__(self, parameters: GeometricParameters) -> None:
        self.parameters = parameters

    def score(self, case: MapCase) -> Programme[Scores]:
        p = self.parameters
        clean = yield from clean_map(case, p.class_rule)
        if isinstance(clean, str):
            return Scores.undefined(self.scores, clean)
        chosen = transforms((case.picture.image.shape[-2], case.picture.image.shape[-1]), p.shift, p.scaled)
        found = yield from responses(case, [transform_view(t) for t in chosen], p.class_rule)
        rows = [self._following(case, clean, t, r) for t, r in zip(chosen, found, strict=True)]
        return Scores(following_scores(NAME, rows))

    def _following(self, case: MapCase, clean: Explanation, transform: Transform, response: Response) -> Following:
        similarity, null = self._alike(clean, transform, response.explanation)
        target = clean_class(case, self.parameters.class_rule)
        return Following(
            transform.name,
            similarity,
            null,
            abs(moved(case.clean, response.probabilities, target)),
            flipped(case.clean, response.probabilities, case.detector.facts),
        )

    def _alike(self, clean: Explanation, transform: Transform, changed: Explanation) -> tuple[Measured, Measured]:
        """The similarity with the map brought back, and the null without."""
        p = self.parameters
        if changed.status != "ok":
            reason = f"the transformed picture has no map: {changed.reason}"
            return reason, reason
        size: MapSize = "upscaled" if any(transform.shift) else p.size
        still, other = (shown_map(e, size, p.quantised) for e in (clean, changed))
        return (
            following(still, other, transform, p),
            compare(transform.valid(still, p.margin), transform.valid(other, p.margin), p.similarity, p.quantised),
        )

    def passes(self, query: PassQuery) -> Passes:
        """A pass and a map for each transform. A bound: views that other measures share are explained once."""
        p = self.parameters
        n = len(transforms(query.facts.input_size, p.shift, p.scaled))
        said = response_passes(query, n, n, p.class_rule)
        return Passes(said.forward, said.backward, exact=False)


def following(still: Tensor, other: Tensor, transform: Transform, parameters: GeometricParameters) -> Measured:
    """``similarity(still, T^-1 other)`` on the valid crop of two ``(h, w)`` maps in their form of comparison."""
    one, two = (transform.valid(m, parameters.margin) for m in (still, transform.undone(other)))
    return compare(one, two, parameters.similarity, parameters.quantised)
